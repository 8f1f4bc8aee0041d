"""Turn a large, accurate timm teacher into a small, fast, deployable student."""

__version__ = "0.1.0"
