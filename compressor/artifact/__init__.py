"""The self-describing ONNX file: what it says of itself, how it wants its inputs, how it runs. No torch."""
