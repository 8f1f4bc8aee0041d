"""Texts as inputs: tokenizers of our own, and what reaches a model. No torch, no other library."""
