"""Exports for other runtimes: ONNX and StableHLO."""
