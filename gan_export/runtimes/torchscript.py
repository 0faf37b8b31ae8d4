"""TorchScript by plain `torch.jit.load`, only for a file that the user named as an artifact."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from gan_export.errors import GanExportError, first_line, printable
from gan_export.formats import manifest as manifests
from gan_export.runtimes.base import Availability, require_available
from gan_export.runtimes.builtin_sampler import SamplerSession
from gan_export.runtimes.torch_session import (
    TorchSession,
    artifact_session,
    prepare_torch,
    session_info,
    torch_availability,
)


@dataclass(frozen=True, slots=True)
class TorchScriptRuntime:
    """torch.jit.load.  Loading runs code from the file: only for a file that the user named."""

    name: str = "torchscript"
    title: str = "TorchScript"
    format: str = "torchscript"
    devices: tuple[str, ...] = ("cpu", "cuda")

    def availability(self, device: str = "cpu") -> Availability:
        return torch_availability(device)

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> TorchSession | SamplerSession:
        require_available(self, device)
        import torch

        prepare_torch(device, threads)
        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of changes to torch.jit at every load
            try:
                module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError) as e:
                raise GanExportError(f"{printable(str(path))} is no TorchScript file: {first_line(e, 200)}") from e
        inputs = [a.name for a in module.forward.schema.arguments if a.name != "self"]
        manifest = manifests.read_manifest(path, "torchscript")
        return artifact_session(module, session_info(self.name, device), manifest, inputs, int)


TORCHSCRIPT = TorchScriptRuntime()
