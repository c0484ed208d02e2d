"""A Program as ONNX nodes that compute the same integers: `pip install 'picojoule[onnx]'`."""
