"""ONNX files as a family of models: they answer, and are never trained."""
