"""Models of any family: what they are, their weights, their cost, where features are read, checkpoints."""
