"""torch → ONNX, and the gate that an exported file must pass."""
