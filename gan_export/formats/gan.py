"""The C engine's own `.gan` files: docs/gan-file-format.md."""

from __future__ import annotations

import mmap
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from gan_export.errors import GanExportError
from gan_export.formats import gan_header
from gan_export.formats.base import Format, Patch
from gan_export.formats.bounds import BF16, FLOAT32, FP16
from gan_export.formats.probe import Probe
from gan_export.graph.ports import Port, dim_parts
from gan_export.graph.views import start_of, takes_image

if TYPE_CHECKING:
    from gan_export.formats.manifest import Manifest

GAN_MAGIC = b"\x89GAN\r\n\x1a\n"
_LEAST = 92  # bytes of a file before its manifest
_DATA = 40  # in the header: the offset of the data, which the first checksum ends before


def _detect(probe: Probe) -> bool:
    return probe.head.startswith(GAN_MAGIC)


def _manifest(path: Path) -> bytes | None:
    """Return the manifest; its offset and size are two u64 at byte 24."""
    with open(path, "rb") as f:
        head = f.read(40)
        if len(head) < 40:
            return None
        offset, size = struct.unpack_from("<QQ", head, 24)
        f.seek(0, 2)
        if offset < _LEAST or offset + size > f.tell():
            raise GanExportError("a .gan file that is cut off")
        f.seek(offset)
        return f.read(size)


def _agrees(path: Path, manifest: Manifest) -> bool:
    with open(path, "rb") as f:
        there = gan_header.read(f)
    types = ("fp32", "fp16", "bf16")
    stored = types.index(manifest.precision) if manifest.precision in types else len(types)
    signature = manifest.signature
    symbols = list(signature.sizes)

    def dims(port: Port) -> gan_header.Dims:
        return tuple((symbols.index(s) + 1 if s else 0, n, d) for s, n, d in map(dim_parts, port.shape))

    further = tuple(
        gan_header.Further(p.kind, p.name, dims(p))
        for p in signature.inputs
        if p.kind not in ("latent", "label", "image")
    )
    (image,) = signature.outputs
    sides, interval = dims(image), _stored(image.range)
    if takes_image(signature):
        given = signature.inputs[0]
        sizes = tuple((s.least, s.multiple, s.most) for s in signature.sizes.values())
        taken = gan_header.Taken(dims(given), _stored(given.range), sizes)
        return there == gan_header.Header(0, 0, 0, sides, interval, stored, taken, further)
    start = tuple(p for p in signature.inputs if p.kind in ("latent", "label"))
    if not start:
        return there == gan_header.Header(0, 0, 0, sides, interval, stored, further=further)
    of = start_of(replace(signature, inputs=start), "a .gan file")
    prior = ("normal", "uniform").index(of.prior)
    return there == gan_header.Header(of.nz, prior, of.classes, sides, interval, stored, further=further)


def _stored(range: tuple[float, float] | None) -> tuple[float, float]:
    low, high = (np.float32(v).item() for v in range or (-1.0, 1.0))
    return low, high


def _sums(f: BinaryIO, data: mmap.mmap, patch: Patch) -> tuple[Patch, ...]:
    """Return the header's checksum of the bytes before the data, updated for the patch."""
    (end,) = struct.unpack_from("<Q", data, _DATA)
    if end > len(data):
        raise ValueError("its data is outside the file")
    return (Patch(*gan_header.patched_sums(data[:end], patch.at, patch.data, end)),)


GAN = Format(
    name="gan",
    exporter="native",
    detect=_detect,
    manifest=_manifest,
    tolerances={"fp32": FLOAT32, "fp16": FP16, "bf16": BF16},
    sums=_sums,
    agrees=_agrees,
)
