"""Where samples come from and how they reach a model: sources, splits, views, loaders."""
