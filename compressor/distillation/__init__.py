"""The teacher's care, the chain of stages, and the one training loop."""
