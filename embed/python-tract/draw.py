"""Generate images from latents by tract instead of ONNX Runtime.

Usage: python draw.py g.onnx latents.npy images.npy [LABEL]
"""

import argparse
import re

import numpy as np
import tract


def draw(model: str, z: np.ndarray, label: int | None = None) -> np.ndarray:
    """Return images of latents z, float32 (N, nz), as uint8 (N, H, W, C); without a label, label i mod classes."""
    read = tract.onnx().load(model)
    if read.input_name(0) != "z":
        raise ValueError(f"{model} takes no latents; tract runs no sampler graph")
    graph = read.into_model()
    # tract ends the process for a label that doesn't exist, so it is checked here by the manifest, JSON
    manifest = graph.property("onnx.metadata_props.gan-export.manifest").dump()
    of_labels = re.search(r'"classes":(\d+)', manifest)
    classes = int(of_labels[1]) if of_labels else 0
    # of a manifest of version 1, or of version 2's signature
    nz = int(re.search(r'(?:"nz":|"kind":"latent".*?"shape":\[)(\d+)', manifest)[1])
    if z.ndim != 2 or not len(z) or z.shape[1] != nz:
        raise ValueError(f"latents of shape (N, {nz}) are needed, not {z.shape}")
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"label {label}: " + (f"must be 0 to {classes - 1}" if classes else "this generator has none"))
    feeds = [z]
    if classes:
        feeds.append(np.arange(len(z)) % classes if label is None else np.full(len(z), label))
    image = graph.into_runnable().run(feeds)[0].to_numpy()
    if image.dtype == np.uint8:  # with --uint8: (N, H, W, C)
        return image
    span = re.search(r'"range":\[(.+?),(.+?)\]', manifest)
    low, high = map(float, span.groups() if span else (-1, 1))
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
    try:
        z = np.load(args.latents).astype(np.float32)
        np.save(args.pictures, draw(args.model, z, args.label))
    except Exception as e:  # tract's errors have no other base class in common, and contain a stack trace
        parser.error(" ".join(str(e).split("Stack backtrace")[0].split()))
