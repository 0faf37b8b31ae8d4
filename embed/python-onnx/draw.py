"""Pictures of latents with onnxruntime and NumPy alone: python draw.py g.onnx latents.npy pictures.npy."""

import json
import sys

import numpy as np
import onnxruntime

model, latents, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
facts = json.loads(session.get_modelmeta().custom_metadata_map["gan-export.manifest"])["facts"]
z = np.load(latents).astype(np.float32)  # (N, nz); gan_export.latents.draw gives those of a seed
feed = {"z": z} | ({"label": np.arange(len(z)) % facts["classes"]} if facts["classes"] else {})
image = session.run(None, feed)[0]  # (N, C, H, W) in [-1, 1]
pixels = np.clip(np.floor(image * np.float32(127.5) + np.float32(128)), 0, 255).astype(np.uint8)
np.save(out, pixels.transpose(0, 2, 3, 1))
