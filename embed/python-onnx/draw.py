"""Generate images from latents with only onnxruntime and NumPy.

Usage: python draw.py g.onnx latents.npy images.npy [LABEL]
"""

import argparse
import json

import numpy as np
import onnxruntime


def draw(model: str, z: np.ndarray, label: int | None = None) -> np.ndarray:
    """Return images of latents z, float32 (N, nz), as uint8 (N, H, W, C); without a label, label i mod classes."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    signature = json.loads(session.get_modelmeta().custom_metadata_map["gan-export.manifest"])["signature"]
    classes, feeds = sum(port.get("classes", 0) for port in signature["inputs"]), {"z": z}
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"label {label}: " + (f"must be 0 to {classes - 1}" if classes else "this generator has none"))
    if classes:
        feeds["label"] = np.arange(len(z)) % classes if label is None else np.full(len(z), label)
    image = session.run(None, feeds)[0]
    if image.dtype == np.uint8:  # with --uint8: (N, H, W, C)
        return image
    low, high = signature["outputs"][0].get("range", (-1, 1))
    if (low, high) != (-1, 1):  # with --raw; (N, C, H, W) in [-1, 1] otherwise
        image = (image - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1)
    pixels = np.clip(np.floor(image * np.float32(127.5) + np.float32(128)), 0, 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "latents", "pictures"):
        parser.add_argument(name)
    parser.add_argument("label", nargs="?", type=int)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)  # errors are raised too
    try:
        z = np.load(args.latents).astype(np.float32)
        if z.ndim != 2 or not len(z):
            raise ValueError(f"{args.latents}: rows of latents, (N, nz), are needed")
        np.save(args.pictures, draw(args.model, z, args.label))
    except Exception as e:  # onnxruntime's errors have no other base class in common
        parser.error(str(e))
