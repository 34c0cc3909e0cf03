"""ONNX: a network as one file that other programs run; for prediction only."""
