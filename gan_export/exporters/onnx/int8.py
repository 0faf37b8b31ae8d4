"""An ONNX generator in int8: static, calibrated on prior latents, per channel, sensitive layers left as they are.

What is sensitive is measured: each layer is quantised alone, and those that harm the worst picture most stay float32,
one after the other, until every picture is good enough.  The mean of many pictures wouldn't do: of a generator that
was never trained, single ones lie 4 dB below it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export import images
from gan_export._lib import untracked
from gan_export.errors import GanExportError
from gan_export.exporters.base import suppress_warnings
from gan_export.graph.signature import Array, Signature

if TYPE_CHECKING:
    import onnx

    from gan_export.formats.manifest import Manifest

QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CALIBRATION = 128  # latents that ranges are taken from; their seed is neither parity's nor the reference pictures'
CALIBRATION_SEED = 3
MIN_PSNR_DB = 30.0  # dB of the worst picture: two above what an export is held to, since other latents differ
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Quantised:
    """A graph with quantised layers.

    kept: names of the layers that stayed in float32; versions: of what quantised it
    """

    model: onnx.ModelProto
    kept: tuple[str, ...]
    versions: dict[str, str]

    def noted(self, manifest: Manifest) -> Manifest:
        """The manifest, which says which layers were kept."""
        if not self.kept:
            return manifest
        return replace(manifest, options={**manifest.options, "kept_fp32": list(self.kept)})


def quantize_int8(model: onnx.ModelProto, signature: Signature) -> Quantised:
    """The graph with as many layers quantised as draw every picture well enough.

    Raises GanExportError where not even one layer can be quantised.
    """
    onnxruntime = untracked.onnxruntime()

    versions = {"onnxruntime": onnxruntime.__version__}
    names = [node.name for node in model.graph.node if node.op_type in QUANTISED]
    if not names:
        raise GanExportError("int8: no layer of this generator can be quantised")
    wanted = _bytes(model, signature)

    def error(graph: onnx.ModelProto) -> float:
        """The mean square of the worst picture."""
        return float(np.mean((_bytes(graph, signature).astype(np.float64) - wanted) ** 2, axis=1).max())

    whole = _quantise(model, signature, names)
    if _decibels(error(whole)) >= MIN_PSNR_DB:
        return Quantised(whole, (), versions)
    harm = {name: error(_quantise(model, signature, [name])) for name in names}
    kept: list[str] = []
    for name in sorted(names, key=lambda name: -harm[name])[:-1]:
        kept.append(name)
        candidate = _quantise(model, signature, [n for n in names if n not in kept])
        if _decibels(error(candidate)) >= MIN_PSNR_DB:
            return Quantised(candidate, tuple(n for n in names if n in kept), versions)
    raise GanExportError(
        f"int8: no choice of layers draws every picture within {MIN_PSNR_DB:g} dB; use --precision fp16"
    )


def _quantise(model: onnx.ModelProto, signature: Signature, names: Collection[str]) -> onnx.ModelProto:
    import onnx
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _inputs(signature)

        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            return next(self._batches, None)

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory(prefix="gan-int8-") as folder:
        target = Path(folder) / "model.onnx"
        with suppress_warnings():
            q.quantize_static(
                copy,
                str(target),
                Reader(),
                quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_quantize=list(names),
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                # the next layer's input is quantised anyway, behind the activation
                extra_options={"OpTypesToExcludeOutputQuantization": list(QUANTISED)},
            )
        return onnx.load(target)


def _inputs(signature: Signature) -> Iterator[dict[str, Array]]:
    for start in range(0, CALIBRATION, _BATCH):
        yield signature.feeds(CALIBRATION_SEED, range(start, start + _BATCH))


def _bytes(model: onnx.ModelProto, signature: Signature) -> npt.NDArray[np.uint8]:
    """Every output of every image as bytes: (CALIBRATION, values)."""
    onnxruntime = untracked.onnxruntime()

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = []
    for feeds in _inputs(signature):
        made = session.run([p.name for p in signature.outputs], feeds)
        parts = [
            array if array.dtype == np.uint8 else images.levels(array, port.range)
            for port, array in zip(signature.outputs, made, strict=True)
        ]
        batches.append(np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1))
    return np.concatenate(batches)


def _decibels(square: float) -> float:
    return 10.0 * math.log10(255.0**2 / square) if square else math.inf
