"""The smallest files of each kind, made by hand so that any string in them can be chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_export.arch.layers import Activation, Linear, Reshape
from gan_export.arch.spec import SPEC_KEY, Chain, GeneratorSpec


def small_spec() -> GeneratorSpec:
    """4 normal latents to a 1 x 2 x 2 image."""
    c = Chain()
    c.add(Linear, "fc", in_features=4, out_features=4)
    c.add(Reshape, "image", shape=(1, 2, 2))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec("dcgan", 4, "normal", (1, 2, 2), (-1.0, 1.0), tuple(c))


def spec_of() -> dict[str, Any]:
    """`small_spec` as JSON data."""
    return json.loads(json.dumps(small_spec().to_json()))  # type: ignore[no-any-return]


def weights_of(names: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Small fixed values for each name."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in names.items()}


def safetensors_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The format by its README: eight bytes of length, a JSON header, the values."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())


def own_safetensors(path: Path, spec: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Path:
    """A file that calls itself gan-export's own, with `spec` in it and the weights that the first layer wants."""
    name = spec["layers"][0]["name"]
    tensors = weights_of({f"{name}.weight": (4, 4), f"{name}.bias": (4,)})
    path.write_bytes(safetensors_bytes(tensors, {SPEC_KEY: json.dumps(spec), **(metadata or {})}))
    return path
