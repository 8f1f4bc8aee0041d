"""Several teachers as one: a family of models made of others."""
