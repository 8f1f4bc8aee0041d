"""The only room that knows timm's models: names, creation, weights, taps, checkpoints, cost."""
