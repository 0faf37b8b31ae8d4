"""ONNX in float32, float16 and int8, with or without a sampler."""
