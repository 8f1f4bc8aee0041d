"""The page of `compress try`: what lies in its folder, onnxruntime-web, the local server. No torch."""
