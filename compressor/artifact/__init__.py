"""The self-describing ONNX file: what it says of itself, how it wants its images, how it runs. No torch."""
