"""Tensors and archives that claim what isn't there."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_export.checkpoint import read
from gan_export.errors import GanExportError, NotRecognizedError

from .makers import Calls, generator, prefixed, refused, saved, torch_stream, torch_zip

STATE = prefixed(generator().state_dict())

# -- tensors that claim what isn't there


class Stored:
    """Pickles to a persistent id."""

    def __init__(self, *identity: Any) -> None:
        self.identity = identity


class Forger(pickle.Pickler):
    def persistent_id(self, obj: object) -> Any:
        return obj.identity if isinstance(obj, Stored) else None


def forged(
    *tensors: tuple[Any, ...], form: str = "zip", size: int = 64, claimed: Any = None, kind: Any = torch.FloatStorage
) -> bytes:
    """A state dict of tensors (offset, shape, strides) in one storage of `size` floats."""
    out = io.BytesIO()
    storage = Stored("storage", kind, "0", "cpu", size if claimed is None else claimed)
    value = {
        f"main.{i}.weight": Calls(torch._utils._rebuild_tensor_v2, (storage, *t, False, OrderedDict()))
        for i, t in enumerate(tensors)
    }
    Forger(out, 2).dump(value)
    return {"zip": torch_zip, "stream": torch_stream}[form](out.getvalue(), {"0": bytes(4 * size)})


BAD_WINDOWS: dict[str, tuple[Any, ...]] = {
    "terabytes": (0, (10**6, 10**6), (10**6, 1)),
    "overflows 64 bits": (0, (2**40, 2**40), (2**40, 1)),
    "beyond the end": (1, (8, 8), (8, 1)),
    "negative offset": (-1, (8,), (1,)),
    "negative stride": (63, (8,), (-1,)),
    "negative size": (0, (-8, -8), (8, 1)),
    "huge stride": (0, (2, 2), (2**61, 1)),
    "overlapping": (0, (8, 8), (1, 1)),
    "one element seen a million times": (0, (1000, 1000), (0, 0)),
    "strides missing": (0, (8, 8), (1,)),
    "too many dimensions": (0, (1,) * 40, (1,) * 40),
    "no integers": (0, (8.0, 8), (8, 1)),
    "bool": (0, (True, 8), (8, 1)),
    "text offset": ("0", (8, 8), (8, 1)),
    "huge offset": (2**70, (8, 8), (8, 1)),
}


@pytest.mark.parametrize("form", ["zip", "stream"])
@pytest.mark.parametrize("name", BAD_WINDOWS)
def test_forged_windows(tmp_path: Path, name: str, form: str) -> None:
    refused(tmp_path / "g.pth", forged(BAD_WINDOWS[name], form=form), "damaged or forged")


@pytest.mark.parametrize("form", ["zip", "stream"])
@pytest.mark.parametrize("claimed", [10**12, 65, -1, 2**62, 2**70, "64", None.__class__, 1.0])
def test_forged_storages(tmp_path: Path, claimed: Any, form: str) -> None:
    refused(tmp_path / "g.pth", forged((0, (8, 8), (8, 1)), form=form, claimed=claimed), "damaged|forged|cut off")


@pytest.mark.parametrize("kind", [torch.nn.Linear, torch.float32, "FloatStorage", None])
def test_storages_of_no_type(tmp_path: Path, kind: Any) -> None:
    refused(tmp_path / "g.pth", forged((0, (8, 8), (8, 1)), kind=kind), "unknown type")


@pytest.mark.parametrize("axes", [(0, 0), (1,), (0, 2), (0, -1), (False, True), ("0", 1), [1, 0], 7, (10**400, 0)])
def test_arrays_with_other_axes_than_their_shape(tmp_path: Path, axes: Any) -> None:
    array = Calls(np._core.numeric._frombuffer, (bytes(24), np.dtype("<f4"), (2, 3), "K", axes))
    refused(tmp_path / "g.pkl", pickle.dumps({"main.0.weight": array}, 5), "damaged or forged")


def test_the_forger_makes_good_files_too(tmp_path: Path) -> None:
    refused(tmp_path / "g.pth", forged((0, (8, 8), (8, 1))), "no known architecture", NotRecognizedError)


def test_weights_that_share_their_bytes(tmp_path: Path) -> None:
    """Seven layers on one storage would take seven times the file."""
    size = 1536 * 1536 * 16
    storage = torch.zeros(size)
    state: dict[str, torch.Tensor] = {}
    for i in range(7):
        state[f"main.{3 * i}.weight"] = storage.view(1536, 1536, 4, 4)
        state |= {f"main.{3 * i + 1}.{p}": torch.ones(1536) for p in ("weight", "bias", "running_mean", "running_var")}
    state["main.21.weight"] = torch.zeros(1536, 3, 4, 4)
    saved(tmp_path / "g.pth", state)
    with pytest.raises(GanExportError, match="far more than the file"):
        read(tmp_path / "g.pth")


# -- zip archives


def rezip(path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            change(new, name, old.read(name))
    return out.getvalue()


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pth", STATE)

    def bomb(new: zipfile.ZipFile, name: str, raw: bytes) -> None:
        new.writestr(name, bytes(1 << 26) if name.endswith("data.pkl") else raw, zipfile.ZIP_DEFLATED)

    raw = rezip(path, bomb)
    assert len(raw) < 1 << 22
    refused(path, raw, "compressed entries")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entries(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pth", STATE)

    def twice(new: zipfile.ZipFile, name: str, raw: bytes) -> None:
        new.writestr(name, raw)
        if name.endswith("data.pkl"):
            new.writestr(name, b"\x80\x02}.")

    refused(path, rezip(path, twice), "two entries are called")


def central(raw: bytes) -> list[int]:
    """Where the entries of the central directory begin."""
    at, found = raw.rfind(b"PK\x01\x02"), []
    at = raw.find(b"PK\x01\x02")
    while at >= 0:
        found.append(at)
        at = raw.find(b"PK\x01\x02", at + 4)
    return found


FIELDS: dict[str, tuple[int, str, int, str]] = {  # offset in a directory entry, format, value, answer
    "size": (24, "<I", 0x7FFFFFFF, "claims|compressed"),
    "packed size": (20, "<I", 0x7FFFFFFF, "claims|compressed"),
    "header beyond the end": (42, "<I", 0x7FFFFFFF, "no header"),
    "header of another": (42, "<I", 0, "another name|overlaps"),
    "encrypted": (8, "<H", 1, "encrypted"),
    "compressed": (10, "<H", 8, "another name"),
    "checksum": (16, "<I", 12345, "checksum"),
    "name's length": (28, "<H", 0xFFFF, "damaged"),
    "zip64 without the field": (24, "<I", 0xFFFFFFFF, "claims|compressed|damaged"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_forged_directories(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "g.pth", STATE)
    raw = bytearray(rezip(path, lambda new, n, data: new.writestr(n, data)))
    offset, form, value, match = FIELDS[name]
    for at in central(bytes(raw))[1:] if "another" in name else central(bytes(raw)):
        struct.pack_into(form, raw, at + offset, value)
    refused(path, bytes(raw), match)


def test_overlapping_entries(tmp_path: Path) -> None:
    """One entry's bytes hold another entry, header and all."""
    inner = (
        b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, zlib.crc32(b"data"), 4, 4, 3, 0) + b"a/b" + b"data"
    )
    outer = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, zlib.crc32(inner), len(inner), len(inner), 10, 0)
    body = outer + b"a/data.pkl" + inner
    entries = b""
    for name, size, crc, at in (
        (b"a/data.pkl", len(inner), zlib.crc32(inner), 0),
        (b"a/b", 4, zlib.crc32(b"data"), 40),
    ):
        entries += (
            b"PK\x01\x02"
            + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, at)
            + name
        )
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(entries), len(body), 0)
    refused(tmp_path / "g.pth", body + entries + end, "overlaps another")


def test_an_archive_that_claims_a_million_entries(tmp_path: Path) -> None:
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 10**9, 10**9, 10**12, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 4, 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    refused(tmp_path / "g.pth", b"PK\x03\x04" + end64 + locator + end, "entries")
