"""Exported models: ONNX graphs of a model's parts, and running them without PyTorch and ESPnet."""
