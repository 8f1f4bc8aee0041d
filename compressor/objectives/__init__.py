"""Pure loss functions, one table of them, and the weighted objective that a stage minimises."""
