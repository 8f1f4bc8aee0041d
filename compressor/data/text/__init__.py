"""Texts: how they are read and varied."""
