"""Put an image through a generator of images with only onnxruntime, NumPy and Pillow.

Usage: python apply.py g.onnx photo.jpg out.png
"""

import argparse
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def apply(model: str, image: np.ndarray) -> np.ndarray:
    """Return what the model makes of an image, uint8 (H, W, C): uint8 (H', W', C').

    An image of a size that the model doesn't take is padded by reflection, and the result is cropped back.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    manifest = session.get_modelmeta().custom_metadata_map.get("gan-export.manifest")
    signature = json.loads(manifest)["signature"] if manifest else {"inputs": [{"kind": "none"}]}
    takes, *others = signature["inputs"]
    if takes["kind"] != "image" or others:
        raise ValueError(f"{model}: a file of gan-export onnx that takes one image is needed")
    channels = takes["shape"][0]
    if image.shape[2] != channels:
        raise ValueError(f"an image of {image.shape[2]} channels, {channels} are needed")
    height, width = image.shape[:2]
    rows, columns = takes["shape"][1:]
    lacking = size_of(signature, rows, height) - height, size_of(signature, columns, width) - width
    padded = np.pad(image, ((0, lacking[0]), (0, lacking[1]), (0, 0)), mode="reflect")[None]
    if session.get_inputs()[0].type == "tensor(float)":  # not with --uint8
        low, high = takes["range"]
        scaled = padded.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
        made = as_bytes(session.run(None, {takes["name"]: scaled.transpose(0, 3, 1, 2)})[0], signature)
    else:
        made = session.run(None, {takes["name"]: padded})[0]
    scale = made.shape[1] / padded.shape[1]
    return made[0, : round(height * scale), : round(width * scale)]


def size_of(signature: dict, dim: int | str, side: int) -> int:
    """Return the least size that a dimension of the input takes and that `side` fits into."""
    least, multiple, most = signature["sizes"][dim] if isinstance(dim, str) else (dim, dim, dim)
    size = -(-max(side, least) // multiple) * multiple
    if size > most:
        raise ValueError(f"an image with a side of {side} pixels: must be at most {most}")
    return size


def as_bytes(values: np.ndarray, signature: dict) -> np.ndarray:
    """Return float32 (N, C, H, W) in the output's range as uint8 (N, H, W, C)."""
    low, high = signature["outputs"][0].get("range", (-1, 1))
    unit = (values - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1)
    return np.clip(np.floor(unit * np.float32(127.5) + np.float32(128)), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "image", "out"):
        parser.add_argument(name)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)  # errors are raised too
    try:
        with Image.open(args.image) as opened:
            made = apply(args.model, np.asarray(ImageOps.exif_transpose(opened).convert("RGB")))
        Image.fromarray(made).save(args.out)
    except Exception as e:  # onnxruntime's and Pillow's errors have no other base class in common
        parser.exit(2, f"{parser.prog}: {str(e).splitlines()[0] if str(e) else type(e).__name__}\n")
