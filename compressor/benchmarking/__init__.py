"""Latency, load time and memory of ONNX files, each measured in child processes of its own. No torch."""
