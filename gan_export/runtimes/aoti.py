"""AOTInductor packages, loaded by torch.  Loading runs code from the file: only for a file that the user named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gan_export.errors import GanExportError, UnavailableError, printable
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

# Compiled code reads this at its first call: without it, inputs of other sizes are read beyond their ends.
_CHECK_INPUTS = "AOTI_RUNTIME_CHECK_INPUTS"
_OTHER_NAMES = {"fma": "fma3"}  # the compiler's names of instructions -> torch's


@dataclass(frozen=True, slots=True)
class AotiRuntime:
    """torch._inductor.aoti_load_package; needs no compiler."""

    name: str = "aotinductor"
    title: str = "AOTInductor"
    format: str = "aoti"
    devices: tuple[str, ...] = ("cpu", "cuda")

    def availability(self, device: str = "cpu") -> Availability:
        return torch_availability(device)

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> TorchSession | SamplerSession:
        """Load a package as `Runtime.load` does.

        Also raises UnavailableError for code that this processor or GPU can't run.
        """
        require_available(self, device)
        import torch

        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} is no file")
        manifest = manifests.read_manifest(path, "aoti") if manifests.detect_format(path) == "aoti" else None
        if manifest is None:
            raise GanExportError(f"{printable(str(path))} is no AOTInductor package of gan-export's")
        made_for = manifest.options.get("device", "cpu")
        if made_for != device:
            raise GanExportError(f"{printable(path.name)} was compiled for {made_for}; use device={made_for}")
        _refuse_foreign(path, manifest.options.get("isa", ()), device)
        prepare_torch(device, threads)
        # in an older torch without this setting, the check would limit batches too
        if hasattr(torch._inductor.config.aot_inductor, "check_upperbound"):
            os.environ[_CHECK_INPUTS] = "1"
        try:
            module = torch._inductor.aoti_load_package(str(path))
        except Exception as e:  # its reader has no exception type of its own
            why = printable(" ".join(str(e).split()) or type(e).__name__, limit=200)
            raise GanExportError(f"{printable(str(path))}: torch can't load it: {why}") from e
        inputs = [p.name for p in manifest.signature.inputs]
        return artifact_session(module, session_info(self.name, device), manifest, inputs, torch.from_numpy)


def _refuse_foreign(path: Path, needed: Iterable[str], device: str) -> None:
    """Raise UnavailableError if the code uses instructions that this machine doesn't have."""
    import torch

    here = {_plain(name) for name, there in torch.cpu.get_capabilities().items() if there is True}
    lacking = [n for n in needed if not n.startswith("sm_") and _plain(_OTHER_NAMES.get(n, n)) not in here]
    if lacking:
        raise UnavailableError(
            f"{printable(path.name)} was compiled for a processor with {printable(', '.join(lacking))}, which this one "
            "lacks; export it on this machine, or use onnx, which runs anywhere"
        )
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        for name in needed:
            gpu = re.fullmatch(r"sm_(\d+)(\d)", name)
            if gpu and (int(gpu[1]) != major or int(gpu[2]) > minor):
                raise UnavailableError(
                    f"{printable(path.name)} was compiled for a GPU of {name}, and this one is sm_{major}{minor}; "
                    "export it on this machine"
                )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


AOTINDUCTOR = AotiRuntime()
