"""`.pt2` files, loaded by torch.export.load after `pt2_check` has verified that loading runs no code from them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.checkpoint.containers import read_file
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.runtimes import pt2_check
from gan_export.runtimes.base import Availability, Shapes, require_available, without_batch
from gan_export.runtimes.builtin_sampler import SamplerSession
from gan_export.runtimes.torch_session import (
    TorchSession,
    artifact_session,
    prepare_torch,
    session_info,
    torch_availability,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True)
class Pt2Runtime:
    """The program as torch runs it operator by operator; needs no compiler."""

    name: str = "pt2"
    title: str = "torch.export"
    format: str = "pt2"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if device != "cpu":
            return Availability(False, "a .pt2 is run on the CPU only; use torchscript for device=cuda")
        return torch_availability(device)

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> TorchSession | SamplerSession:
        require_available(self, device)
        import torch

        prepare_torch(device, threads)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        snapshot = read_file.read_file(path)  # the checked bytes are the loaded ones
        try:
            pt2_check.check(snapshot.data)
        except GanExportError as e:
            raise type(e)(f"{printable(str(path))}: {e}") from None
        try:
            program = torch.export.load(io.BytesIO(snapshot.data))
            module = program.module()
        except Exception as e:  # its reader has no exception type of its own
            why = printable(" ".join(str(e).split()) or type(e).__name__, limit=200)
            raise GanExportError(f"{printable(str(path))}: torch.export can't load it: {why}") from e
        manifest = manifests.read_manifest(path, "pt2")
        inputs = tuple(str(name) for name in program.graph_signature.user_inputs)
        info = session_info(self.name, device)
        outputs = [p.name for p in manifest.signature.outputs] if manifest else ["image"]
        return artifact_session(module, info, manifest, inputs, torch.from_numpy, shapes=_shapes(program, outputs))


def _shapes(program: ExportedProgram, outputs: Sequence[str]) -> Shapes:
    """Return the shapes of the program's traced example values, in which a free dimension is a symbol."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    found = program.graph_signature
    inputs = {str(name): without_batch(getattr(values.get(str(name)), "shape", ())) for name in found.user_inputs}
    shapes = [without_batch(getattr(values.get(str(name)), "shape", ())) for name in found.user_outputs]
    return Shapes(inputs, dict(zip(outputs, shapes, strict=False)))


PT2 = Pt2Runtime()
