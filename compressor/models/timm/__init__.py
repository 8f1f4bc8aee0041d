"""The family of timm's image classifiers: names, creation, pretrained weights, taps. Only these files know timm's models."""
