"""Predictors (PyTorch or artifact) → predictions → metrics; the same code for both."""
