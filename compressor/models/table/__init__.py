"""Tables of probabilities as a family of models: they answer for the files they list."""
