"""A session for anything that torch can call: an eager module, a compiled one, loaded TorchScript."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gan_export._lib.extras import install_line
from gan_export.errors import GanExportError, last_line, printable
from gan_export.graph.signature import Array, Feeds
from gan_export.runtimes import memory
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Outputs,
    SessionInfo,
    Shapes,
    checked_feeds,
)
from gan_export.runtimes.builtin_sampler import SamplerSession, is_seeded
from gan_export.runtimes.cuda import cuda_availability

if TYPE_CHECKING:
    import torch

    from gan_export.formats.manifest import Manifest

Call = Callable[..., "torch.Tensor | Sequence[torch.Tensor]"]


def torch_availability(device: str) -> Availability:
    """Return whether torch is installed and can use `device`."""
    if importlib.util.find_spec("torch") is None:
        return Availability(False, f"torch is not installed; {install_line(['torch'])}")
    if device == "cuda":
        import torch

        if torch.version.cuda is None:
            return Availability(False, "this torch is the CPU build; install a CUDA build of torch, or use device=cpu")
        return cuda_availability()
    return AVAILABLE


def compiler_availability() -> Availability:
    """Return whether there is a C++ compiler, which torch.compile needs for the CPU."""
    if any(shutil.which(name) for name in ("g++", "clang++", "cl")):
        return AVAILABLE
    return Availability(False, "torch.compile needs a C++ compiler (g++ or clang++), and none is on the path")


def prepare_torch(device: str, threads: int | None) -> None:
    """Set the process-wide options of all torch runtimes: threads, and full float32 on CUDA."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


@dataclass(frozen=True, slots=True)
class TorchBound:
    """Inputs on the device, and the last outputs there."""

    session: TorchSession
    inputs: tuple[torch.Tensor | int, ...]
    last: list[torch.Tensor]

    def __call__(self) -> None:
        self.last[:] = self.session.forward(*self.inputs)

    def outputs(self) -> Outputs:
        return self.session.named(self.last)


class TorchSession:
    """A session of a `call` that takes tensors on the device in the order of `inputs`.

    It returns a tensor or a tuple, in the order of `outputs`.
    """

    def __init__(
        self,
        call: Call,
        info: SessionInfo,
        inputs: Sequence[str],
        outputs: Sequence[str] = ("image",),
        shapes: Shapes | None = None,
    ) -> None:
        self._call: Call | None = call
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._shapes = shapes or Shapes(dict.fromkeys(inputs))
        self._info = info

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def run(self, feeds: Feeds) -> Outputs:
        return self.named(self.forward(*self._to_device(feeds)))

    def bind(self, feeds: Feeds) -> TorchBound:
        inputs = self._to_device(feeds)
        return TorchBound(self, inputs, self.forward(*inputs))

    def named(self, tensors: Sequence[torch.Tensor]) -> Outputs:
        """Return the tensors of `forward` in host memory, by name."""
        if len(tensors) != len(self._outputs):
            names = ", ".join(self._outputs)
            raise GanExportError(f"{self._info.runtime} returned {len(tensors)} arrays instead of {names}")
        return {name: _to_numpy(tensor) for name, tensor in zip(self._outputs, tensors, strict=True)}

    def close(self) -> None:
        self._call = None

    def forward(self, *inputs: torch.Tensor | int) -> list[torch.Tensor]:
        """Run once on inputs on the device, and return when the outputs are there too."""
        import torch

        if self._call is None:
            raise GanExportError(f"{self._info.runtime}: the session is closed")
        with torch.inference_mode():
            try:
                result = self._call(*inputs)
                if self._info.device == "cuda":
                    torch.cuda.synchronize()
            except torch.OutOfMemoryError:
                raise GanExportError("out of memory on the device; use a smaller batch") from None
            except (RuntimeError, IndexError) as e:  # torch raises IndexError for a dimension that doesn't exist
                memory.check(e)
                raise GanExportError(f"{self._info.runtime} can't run this model: {last_line(e)}") from e
        return [result] if isinstance(result, torch.Tensor) else list(result)

    def _to_device(self, feeds: Feeds) -> tuple[torch.Tensor, ...]:
        import torch

        arrays = checked_feeds(feeds, self._inputs).values()
        return tuple(torch.from_numpy(array).to(self._info.device) for array in arrays)


@dataclass(frozen=True, slots=True)
class NamedInputs:
    """A session of inputs by name: arrays become tensors on the device, integers what `number` returns."""

    session: TorchSession
    number: Callable[[Any], torch.Tensor | int]

    @property
    def info(self) -> SessionInfo:
        return self.session.info

    def shapes(self) -> Shapes:
        return self.session.shapes()

    def run(self, feeds: Feeds) -> Outputs:
        return self.bind(feeds).outputs()

    def bind(self, feeds: Feeds) -> TorchBound:
        import torch

        device = self.session.info.device
        inputs = tuple(torch.from_numpy(v).to(device) if v.ndim else self.number(v) for v in feeds.values())
        try:
            return TorchBound(self.session, inputs, self.session.forward(*inputs))
        except torch.jit.Error as e:  # raised by a scripted module itself
            raise GanExportError(printable(str(e).strip().splitlines()[-1])) from e

    def close(self) -> None:
        self.session.close()


def artifact_session(
    module: Call,
    info: SessionInfo,
    manifest: Manifest | None,
    inputs: Sequence[str],
    number: Callable[[Any], Any],
    *,
    shapes: Shapes | None = None,
) -> TorchSession | SamplerSession:
    """Return the session of a loaded artifact whose forward takes `inputs`: those of its signature, or a seed.

    number: converts the integers of an artifact that takes a seed; shapes: what the artifact reports, if it does
    """
    outputs: Sequence[str] = ("image",)
    if manifest is not None:
        info = replace(info, output=manifest.output, precision=manifest.precision)
        outputs = [p.name for p in manifest.signature.outputs]
        if not is_seeded(inputs) and len(inputs) == len(manifest.signature.inputs):
            inputs = [p.name for p in manifest.signature.inputs]  # a trace may have other argument names
    session = TorchSession(module, info, inputs, outputs, shapes)
    return SamplerSession(NamedInputs(session, number), conditional=len(inputs) > 3) if is_seeded(inputs) else session


def session_info(runtime: str, device: str, precision: str = "fp32") -> SessionInfo:
    """Return the properties of a torch runtime, with the current settings of its process."""
    import torch

    return SessionInfo(
        runtime=runtime,
        version=torch_version(),
        device=device,
        provider=capability(device),
        threads=torch.get_num_threads(),
        precision=precision,
    )


def torch_version() -> str:
    """Return the version of the installed torch, with its build tag."""
    return importlib.metadata.version("torch")


def capability(device: str) -> str:
    """Return what executes torch's kernels, as torch calls it: the CPU's vector extension or the GPU's name."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()


def _to_numpy(tensor: torch.Tensor) -> Array:
    if tensor.dtype.is_floating_point:
        tensor = tensor.float()
    array: Array = tensor.contiguous().cpu().numpy()
    return array
