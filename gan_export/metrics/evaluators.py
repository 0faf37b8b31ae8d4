"""Evaluators of images: one per name, and any classifier in an ONNX file.

All other modules get an evaluator by name from `find`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gan_export._lib import untracked
from gan_export._lib.fs import sha256_file
from gan_export._lib.registry import Registry, hint
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.metrics.distances import Bytes, Floats

if TYPE_CHECKING:
    from torch import nn

Labels = npt.NDArray[np.int64]


class Evaluator(Protocol):
    """An extractor of image features; it may also implement `Classifies` and `Measures`."""

    @property
    def name(self) -> str:
        """Its name in records: for a file, with a hash of the content."""
        ...

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise GanExportError unless it reads images of `shape`, (C, H, W)."""
        ...

    def features(self, images: Bytes) -> Floats:
        """Return the features (N, D) of images uint8 (N, H, W, C)."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """An evaluator that is a classifier."""

    def classify(self, images: Bytes) -> Floats:
        """Return the probability of each class, (N, K), of images uint8 (N, H, W, C)."""
        ...


class Report(Protocol):
    """Figures of a set of images."""

    def to_json(self) -> dict[str, object]: ...


@runtime_checkable
class Measures(Protocol):
    """An evaluator that has real images to compare with."""

    def evaluate(self, images: Bytes, labels: Labels | None = None) -> Report:
        """Measure images uint8 (N, H, W, C), whose labels, if any, are `labels` (N,)."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """An evaluator that is a network of torch, which a generator can learn from."""

    def check(self, shape: tuple[int, int, int]) -> None: ...

    def network(self) -> nn.Module:
        """Return a module from images float32 (N, C, H, W) in [-1, 1] to their features (N, D), on the CPU."""
        ...


@dataclass(frozen=True, slots=True)
class NamedEvaluator:
    """An entry of `EVALUATORS`; `load` is called each time a command needs the evaluator."""

    name: str
    load: Callable[[], Evaluator]


def _digits() -> Evaluator:
    from gan_export.metrics.digits import Digits

    return Digits()


def _inception() -> Evaluator:
    from gan_export.metrics.inception import Inception

    return Inception()


EVALUATORS: Registry[NamedEvaluator] = Registry(
    "evaluator", (NamedEvaluator("digits", _digits), NamedEvaluator("inception", _inception))
)


@linked(Topic.FEATURES)
def find(name: str, weights: Path | None = None) -> Evaluator:
    """Return the evaluator named `name`, or the network in the ONNX file at that path.

    weights: the file of weights of the evaluator `inception`
    """
    if weights is not None:
        if name != "inception":
            raise GanExportError(f"weights={printable(weights.name)}: only the evaluator inception takes it")
        from gan_export.metrics.inception import Inception

        return Inception(weights)
    names = EVALUATORS.names
    if name in names:
        return EVALUATORS.find(name).load()
    if name.endswith(".onnx"):
        return OnnxEvaluator(Path(name))
    raise GanExportError(
        f"there is no evaluator {printable(name)}; {hint(name, names)}, or use the path of an .onnx file"
    )


class OnnxEvaluator:
    """A classifier in an ONNX file, run by ONNX Runtime on one thread of the CPU.

    Its one input is (N, C, H, W) with N free: float32 in [-1, 1], or uint8.  Its first output is (N, K): probabilities
    if it has that name, else logits.  An output named `features`, (N, D), is used as features if there is one.
    """

    def __init__(self, path: Path) -> None:
        onnxruntime = untracked.onnxruntime()

        if not path.is_file():
            raise GanExportError(f"{printable(str(path))} doesn't exist; name the ONNX file of a classifier")
        self.name = f"{printable(path.name)} {sha256_file(path)}"
        self._shown = printable(str(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # the parsers and kernels of ONNX Runtime raise many types
            raise GanExportError(f"{self._shown}: ONNX Runtime can't load it: {printable(str(e), 200)}") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._outputs = [o.name for o in outputs]
        free = len(inputs) == 1 and len(inputs[0].shape) == 4 and not isinstance(inputs[0].shape[0], int)
        if not free or inputs[0].type not in ("tensor(float)", "tensor(uint8)"):
            held = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise GanExportError(
                f"{self._shown} has the inputs {printable(held) or 'none'}; it must have one input (N, C, H, W) with N "
                "free, float32 or uint8"
            )
        self._input = inputs[0]

    def check(self, shape: tuple[int, int, int]) -> None:
        """Check the shape of images; see `Evaluator.check`."""
        wanted = self._input.shape[1:]
        if any(isinstance(w, int) and w != s for w, s in zip(wanted, shape, strict=True)):
            ours, theirs = ("x".join(map(str, s)) for s in (shape, wanted))
            raise GanExportError(f"{self._shown} reads images of {printable(theirs)}, not of {ours}")

    def features(self, images: Bytes) -> Floats:
        """Return features; see `Evaluator.features`."""
        return self._run(images, "features" if "features" in self._outputs else self._outputs[0])

    def classify(self, images: Bytes) -> Floats:
        """Return probabilities; see `Classifies.classify`."""
        name = self._outputs[0]
        given = self._run(images, name)
        if name == "probabilities":
            return given
        raised = np.exp(given - given.max(1, keepdims=True))
        return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)

    def _run(self, images: Bytes, output: str) -> Floats:
        x: npt.NDArray[Any] = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        if self._input.type == "tensor(float)":
            x = x.astype(np.float32) / np.float32(127.5) - np.float32(1)
        try:
            given = np.asarray(self._session.run([output], {self._input.name: x})[0])
        except Exception as e:
            raise GanExportError(f"{self._shown}: ONNX Runtime can't run it: {printable(str(e), 200)}") from None
        if given.ndim != 2 or len(given) != len(images) or given.shape[1] < 1:
            raise GanExportError(f"{self._shown}: {printable(output)} is {given.shape}; it must be ({len(images)}, K)")
        return given.astype(np.float32)
