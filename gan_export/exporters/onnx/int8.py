"""Quantize an ONNX generator to int8: static, per channel, calibrated on prior latents; sensitive layers stay float32.

Sensitivity is measured: each layer is quantized by itself, and the layers that harm the worst image most stay float32,
one after the other, until every image is good enough.  The mean of many images wouldn't do: single images of an
untrained generator are 4 dB worse than it.
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
from gan_export.graph.views import takes_image

if TYPE_CHECKING:
    import onnx

    from gan_export.formats.manifest import Manifest

QUANTIZED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CALIBRATION = 128  # latents for calibration; their seed is neither verification's nor that of the reference images
CALIBRATION_SEED = 3
MIN_PSNR_DB = 30.0  # dB of the worst image: two more than verification requires, because other latents differ
_BATCH = 32
_MOST_AT_ONCE = 1 << 20  # values of the output: the layers before it may have ten times as many


@dataclass(frozen=True, slots=True)
class Quantized:
    """A graph with quantized layers.

    kept: names of the layers that stayed in float32; versions: of the quantizer
    """

    model: onnx.ModelProto
    kept: tuple[str, ...]
    versions: dict[str, str]

    def noted(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the names of the layers that stayed in float32."""
        if not self.kept:
            return manifest
        return replace(manifest, options={**manifest.options, "kept_fp32": list(self.kept)})


def check_sampled(signature: Signature) -> None:
    """Raise GanExportError for a generator whose inputs have no known distribution to calibrate its layers with."""
    if takes_image(signature):
        raise GanExportError("precision=int8 doesn't support a generator that takes images; leave it out")
    if not signature.is_sampled:
        raise GanExportError(
            "precision=int8 doesn't support a generator that starts from w: int8 is calibrated with random inputs, and "
            "the distribution of w is unknown; export it from z (leave input= and part= out), or use precision=fp16"
        )


def quantize_int8(model: onnx.ModelProto, signature: Signature) -> Quantized:
    """Return the graph with as many layers quantized as keep every image good enough.

    signature: of a generator that `check_sampled` accepts
    Raises GanExportError if not even one layer can be quantized.
    """
    onnxruntime = untracked.onnxruntime()

    versions = {"onnxruntime": onnxruntime.__version__}
    names = [node.name for node in model.graph.node if node.op_type in QUANTIZED]
    if not names:
        raise GanExportError("int8: no layer of this generator can be quantized")
    wanted = _bytes(model, signature)

    def error(graph: onnx.ModelProto) -> float:
        """Return the mean square error of the worst image."""
        made = _bytes(graph, signature)
        return max(float(np.mean((a.astype(np.float64) - b) ** 2)) for a, b in zip(made, wanted, strict=True))

    whole = _quantize(model, signature, names)
    if _decibels(error(whole)) >= MIN_PSNR_DB:
        return Quantized(whole, (), versions)
    harm = {name: error(_quantize(model, signature, [name])) for name in names}
    kept: list[str] = []
    for name in sorted(names, key=lambda name: -harm[name])[:-1]:
        kept.append(name)
        candidate = _quantize(model, signature, [n for n in names if n not in kept])
        if _decibels(error(candidate)) >= MIN_PSNR_DB:
            return Quantized(candidate, tuple(n for n in names if n in kept), versions)
    raise GanExportError(
        f"int8: even with one quantized layer, an image is worse than {MIN_PSNR_DB:g} dB; use precision=fp16"
    )


def _quantize(model: onnx.ModelProto, signature: Signature, names: Collection[str]) -> onnx.ModelProto:
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
                op_types_to_quantize=list(QUANTIZED),
                nodes_to_quantize=list(names),
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                # the next layer's input is quantized anyway, after the activation
                extra_options={"OpTypesToExcludeOutputQuantization": list(QUANTIZED)},
            )
        return onnx.load(target)


def _inputs(signature: Signature) -> Iterator[dict[str, Array]]:
    values = sum(math.prod(shape) for shape in signature.output_shapes(1).values())
    batch = min(_BATCH, max(1, _MOST_AT_ONCE // values))
    for start in range(0, CALIBRATION, batch):
        yield signature.feeds(CALIBRATION_SEED, range(start, min(start + batch, CALIBRATION)))


def _bytes(model: onnx.ModelProto, signature: Signature) -> npt.NDArray[np.uint8]:
    """Return every output of every image as bytes: (CALIBRATION, values)."""
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
