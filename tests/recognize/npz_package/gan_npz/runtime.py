"""Runs an .npz file by PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_export.graph.spec import GeneratorSpec
from gan_export.runtimes.base import Availability, require_available, shapes_of
from gan_export.runtimes.torch_session import TorchSession, prepare_torch, session_info, torch_availability
from gan_npz.format import MANIFEST, SPEC


@dataclass(frozen=True, slots=True)
class NpzRuntime:
    """As `Runtime`."""

    name: str = "npz"
    title: str = "PyTorch on a NumPy archive"
    format: str = "npz"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        return torch_availability(device)

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> TorchSession:
        require_available(self, device)
        prepare_torch(device, threads)
        from gan_export.graph.torch_module import build_module

        with np.load(path, allow_pickle=False) as held:
            spec = GeneratorSpec.from_json(json.loads(bytes(held[SPEC])))
            weights = {name: held[name] for name in held.files if name not in (SPEC, MANIFEST)}
        shapes, info = shapes_of(spec.signature), session_info(self.name, device)
        return TorchSession(build_module(spec, weights), info, *spec.signature.names(), shapes)
