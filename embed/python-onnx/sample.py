"""Generate images of a seed by a sampler graph: python sample.py g.sampler.onnx SEED COUNT images.npy [LABEL]."""

import argparse

import numpy as np
import onnxruntime

MOST = 4096  # images at once; for later ones, use a later start


def sample(model: str, seed: int, count: int, label: int | None = None) -> np.ndarray:
    """Return the seed's first images, uint8 (count, H, W, C); without a label, labels are random if there are any."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {"seed": np.array(seed), "start": np.array(0), "count": np.array(count)}
    if "label" in [i.name for i in session.get_inputs()]:
        feeds["label"] = np.array([-1 if label is None else label])
    elif label is not None:
        raise ValueError(f"label {label}: this generator has none")
    return session.run(None, feeds)[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("pictures")
    parser.add_argument("label", nargs="?", type=int)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)  # errors are raised too
    try:
        if not 0 <= args.seed < 2**63 or not 1 <= args.count <= MOST:
            raise ValueError(f"the seed must be 0 to 2^63-1, and the count 1 to {MOST}")
        np.save(args.pictures, sample(args.model, args.seed, args.count, args.label))
    except Exception as e:  # onnxruntime's errors have no other base class in common
        parser.error(str(e))
