"""No file costs more than its size allows, and no budget refuses what is honest."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.checkpoint import read
from gan_export.errors import GanExportError, first_line, last_line, printable

from .costs import Cost, allowed_memory
from .makers import Calls, generator, prefixed, same_weights, saved, torch_zip
from .recipes import TEXTS, Recipe, made

NET = generator()
STATE = prefixed(NET.state_dict())
SLACK = 3  # a machine that other tests share; the search itself allows none


def costs(*paths: Path) -> list[Cost]:
    """What reading each takes, in a process without torch, a fork each."""
    command = [sys.executable, "-m", "tests.checkpoint.costs", "--read", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [Cost(**json.loads(line)) for line in done.stdout.splitlines()]


def bounded(cost: Cost) -> None:
    """Within what a file of its size may cost, and read or refused in one line."""
    assert cost.end == "read" or cost.end.endswith("Error"), cost
    assert not cost.end.startswith("CRASHED"), cost
    time_share, memory_share = cost.share
    assert time_share < SLACK, cost
    assert memory_share < 1, cost


# -- files that are known to have cost too much


def _record(state: bytes) -> bytes:
    return b"cm\nM\n)R" + state + b"b"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _table(items: bytes) -> bytes:
    return b"}(" + items + b"u"


_PARTS = _text("_parameters") + b"}"


def a_module_in_itself(width: int) -> bytes:
    """Each of its children is itself."""
    children = b"".join(_text(str(i)) + b"h\x01" for i in range(width))
    inner = b"}q\x02(" + children + b"u"
    return torch_zip(b"\x80\x02cm\nM\n)Rq\x01" + _table(_text("_modules") + inner + _PARTS) + b"b.")


def records_that_share_a_table(count: int) -> bytes:
    """Many modules with one `_modules`, which holds them all."""
    records = b"".join(_text(str(i)) + _record(_table(_text("_modules") + b"h\x00" + _PARTS)) for i in range(count))
    return torch_zip(b"\x80\x02}q\x00(" + records + b"u0h\x00.")


def wide_modules(width: int) -> bytes:
    """A module of many parts, each of them one other of many parts, each of them one."""
    value = _record(_table(_text("_modules") + b"}" + _PARTS)) + b"q\x000"
    for level in range(3):
        children = b"".join(_text(str(i)) + b"h" + bytes([level]) for i in range(width))
        value += _record(_table(_text("_modules") + _table(children) + _PARTS)) + b"q" + bytes([level + 1]) + b"0"
    return torch_zip(b"\x80\x02" + value + b"h\x03.")


def names_of_memoised_parts(length: int) -> bytes:
    parts = b"".join(_text(chr(97 + i % 26) + str(i)) + b"r" + struct.pack("<I", i) + b"0" for i in range(2, 2000))
    long = _text("a" * length) + b"q\x000"
    return torch_zip(
        b"\x80\x04"
        + long
        + parts
        + b"".join(b"h\x00j" + struct.pack("<I", i) + b"\x930" for i in range(2, 2000))
        + b"N."
    )


def a_name_of(length: int) -> bytes:
    """In the place of a tensor's type in a safetensors header, which is shown."""
    raw = json.dumps(
        {"\x1b" * (length // 6): {"dtype": "\x1b" * (length // 6), "shape": [], "data_offsets": [0, 0]}}
    ).encode()
    return struct.pack("<Q", len(raw)) + raw


def headers_of(text: str, count: int) -> bytes:
    raw = ('{"a":[' + text * count + "0]}").encode()
    return struct.pack("<Q", len(raw)) + raw


def a_million_tensors() -> bytes:
    one = ",".join(f'"{i}":{{"dtype":"F32","shape":[],"data_offsets":[{4 * i},{4 * i + 4}]}}' for i in range(1_000_000))
    raw = ("{" + one + "}").encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(4_000_000)


def latents(nz: int) -> bytes:
    """A file of gan-export's own without weights, from a latent of that size."""
    layers = [
        {"op": "Reshape", "name": "a", "inputs": ["z"], "shape": [1, nz // 10_000, 10_000]},
        {"op": "Crop", "name": "b", "inputs": ["a"], "top": 0, "left": 0, "height": 4, "width": 4},
    ]
    spec = {"arch": "dcgan", "nz": nz, "prior": "normal", "image": [1, 4, 4], "range": None, "layers": layers}
    raw = json.dumps({"__metadata__": {"gan-export.spec": json.dumps(spec)}}).encode()
    return struct.pack("<Q", len(raw)) + raw


def equal_keys(length: int, count: int) -> bytes:
    """One long key set again and again by another text that is equal to it."""
    key = _text("k" * length)
    return torch_zip(b"\x80\x02" + key + b"q\x000" + key + b"q\x010}h\x00Ns" + b"h\x01Ns" * count + b".")


_GETATTR = b"\x80\x02cbuiltins\ngetattr\nq\x000"


def getters_of_dots(length: int, count: int) -> bytes:
    """One tuple of dotted names given to getattr again and again: each could reach for what runs code."""
    name = _text("a." * (length // 2))
    return torch_zip(_GETATTR + b"(" + name * 8 + b"tq\x010" + b"h\x00h\x01R0" * count + b"N.")


def getters_of_equals(length: int, count: int) -> bytes:
    """One long name given to getattr again and again, after another text that is equal to it."""
    name = _text("k" * length) + b"\x85"
    calls = b"h\x00h\x01R0" + b"h\x00h\x02R0" * count
    return torch_zip(_GETATTR + name + b"q\x010" + name + b"q\x020" + calls + b"N.")


def getters_of_others(count: int) -> bytes:
    """As many names as fit, each given to getattr once."""
    names = b"".join(b"h\x00" + _text(f"{i:x}" + "." * 190) + b"\x85R0" for i in range(count))
    return torch_zip(_GETATTR + names + b"N.")


def shared_keys(places: int, count: int, stem: str = "layer") -> bytes:
    """State dicts that share their keys and a tensor."""
    keys = b"".join(_text(f"{stem}{i}.weight") + b"r" + struct.pack("<I", i) + b"0" for i in range(2, count))
    storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQK\x00"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"(K\x02K\x02K\x02K\x02t(K\x08K\x04K\x02K\x01t\x89}tRq\x010"
    )
    table = b"}(" + b"".join(b"j" + struct.pack("<I", i) + b"h\x01" for i in range(2, count)) + b"u"
    top = b"}(" + b"".join(_text(f"ema{i}") + table for i in range(places)) + b"u"
    return torch_zip(b"\x80\x02" + keys + tensor + top + b".", {"0": bytes(64)})


BREAKERS: dict[str, Callable[[], bytes]] = {
    "a module in itself": lambda: a_module_in_itself(120),
    "a wider module in itself": lambda: a_module_in_itself(400),
    "records that share a table": lambda: records_that_share_a_table(200),
    "wide modules": lambda: wide_modules(400),
    "names of memoised parts": lambda: names_of_memoised_parts(4_000_000),
    "a name of 30 MB": lambda: a_name_of(30_000_000),
    "lists in a header": lambda: headers_of("[],", 5_000_000),
    "tables in a header": lambda: headers_of("{},", 5_000_000),
    "numbers in a header": lambda: headers_of("0.5,", 5_000_000),
    "a million tensors": a_million_tensors,
    "a latent of 10^8": lambda: latents(10**8),
    "64 state dicts that share keys": lambda: shared_keys(64, 10_000),
    "64 state dicts that share long keys": lambda: shared_keys(64, 3_000, "1a" * 300),
    "640,000 keys": lambda: shared_keys(1, 640_000),
    "keys with many numbers": lambda: shared_keys(1, 4_000, TEXTS[1](900)),
    "equal keys": lambda: equal_keys(1_000_000, 400_000),
    "getters of dots": lambda: getters_of_dots(200, 700_000),
    "getters of equals": lambda: getters_of_equals(1_000_000, 400_000),
    "getters of others": lambda: getters_of_others(40_000),
    "escapes": lambda: b"(" + b"S'" + b"\\q" * 500_000 + b"'\n" + b"l.",
}  # fmt: skip


REFUSED = (
    "records that share a table", "lists in a header", "tables in a header", "a million tensors", "640,000 keys",
    "getters of dots", "getters of equals",
)  # fmt: skip


QUICK = (
    "a module in itself", "a wider module in itself", "wide modules", "names of memoised parts", "a latent of 10^8",
    "keys with many numbers", "escapes", "records that share a table", "lists in a header",
    "getters of dots", "getters of equals", "getters of others",
)  # fmt: skip


@pytest.mark.parametrize(
    "names", [QUICK, pytest.param(tuple(n for n in BREAKERS if n not in QUICK), marks=pytest.mark.long)]
)
def test_known_breakers(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = []
    for i, name in enumerate(names):
        paths.append(tmp_path / f"{i}")
        paths[-1].write_bytes(BREAKERS[name]())
    for name, cost in zip(names, costs(*paths), strict=True):
        bounded(cost)
        if name in REFUSED:
            assert cost.end == "BudgetError", (name, cost)


WORST: tuple[Recipe, ...] = tuple(json.loads(Path(__file__).with_name("worst.json").read_text()))


@pytest.mark.parametrize("recipe", [WORST[0], *(pytest.param(r, marks=pytest.mark.long) for r in WORST[1:])])
def test_the_worst_that_the_search_found(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "f").write_bytes(made(recipe))
    bounded(*costs(tmp_path / "f"))


def test_long_texts_are_cut_before_they_are_escaped() -> None:
    """300 bytes a character, had it been escaped whole: this would take minutes and gigabytes."""
    import tracemalloc

    text = "\x1b" * 20_000_000
    error = ValueError(text)
    tracemalloc.start()
    assert len(printable(text)) == 200
    assert len(first_line(error)) <= 300
    assert len(last_line(error)) <= 300
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_a_spent_budget_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "g.pth").write_bytes(records_that_share_a_table(200))
    with pytest.raises(GanExportError, match="the limit for a file of its size") as info:
        read(tmp_path / "g.pth")
    assert str(info.value).isprintable()


# -- honest files


@pytest.mark.long
def test_ten_thousand_keys_beside_the_generator(tmp_path: Path) -> None:
    """A training state whose other network, with its optimiser, has 10,000 parameters."""
    other = {f"layer{i}.weight": torch.zeros(4, 4) for i in range(10_000)}
    moments = {
        i: {"step": torch.tensor(1.0), "exp_avg": t, "exp_avg_sq": t.clone()} for i, t in enumerate(other.values())
    }
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-4, "params": list(range(10_000))}]}
    path = saved(tmp_path / "g.pth", {"netG": STATE, "netE": other, "optimizerE": optimizer, "epoch": 3})
    same_weights(read(path), NET)
    bounded(*costs(path))


class Persistent:
    """Pickles as StyleGAN's networks do: the source of its class, and its attributes."""

    def __init__(self, module: nn.Module, source: str) -> None:
        self.meta = {
            "type": "class", "version": 6, "module_src": source, "class_name": type(module).__name__,
            "state": module.__dict__,
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,)


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("nothing that a file names is called")


@pytest.mark.long
def test_a_persistence_layout_of_400_mb(tmp_path: Path) -> None:
    """Three networks, and a plain generator beside them, which is read."""
    source = "class Generator: ...\n" * 5000
    networks = {}
    for name in ("G", "D", "G_ema"):
        layers = [nn.Linear(1024, 1024) for _ in range(32)]
        networks[name] = Persistent(nn.Sequential(*layers), source)
    raw = pickle.dumps({**networks, "training_set_kwargs": {"path": "x"}, "netG": STATE}, 4)
    raw = raw.replace(f"{__name__}".encode(), b"t" * len(__name__))
    assert len(raw) > 400_000_000
    path = tmp_path / "network.pkl"
    path.write_bytes(raw)
    del raw, networks
    checkpoint = read(path)
    same_weights(checkpoint, NET)
    assert f"{'t' * len(__name__)}._reconstruct_persistent_obj" in checkpoint.source.records
    (cost,) = costs(path)
    assert cost.end == "read"
    assert cost.memory < allowed_memory(cost.size)
    assert cost.seconds < SLACK * (1 + cost.size / 10_000_000)


@pytest.mark.long
def test_a_file_of_2_gb(tmp_path: Path) -> None:
    """The generator, and 2 GB of another network that are a hole in the file."""
    rows = 1 << 29
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as f:
        entries: dict[str, Any] = {}
        at = 0
        arrays = {f"generator.{k}": v.numpy() for k, v in STATE.items() if v.ndim}
        for key, array in arrays.items():
            entries[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
        entries["discriminator.big.weight"] = {"dtype": "F32", "shape": [rows, 1], "data_offsets": [at, at + 4 * rows]}
        body = json.dumps(entries).encode()
        f.write(struct.pack("<Q", len(body)) + body)
        for array in arrays.values():
            f.write(np.ascontiguousarray(array).tobytes())
        f.truncate(f.tell() + 4 * rows)
    same_weights(read(path), NET)
    (cost,) = costs(path)
    assert cost.end == "read"
    assert cost.memory < allowed_memory(cost.size)


def test_zip_of_many_storages(tmp_path: Path) -> None:
    """10,000 tensors with a storage each: an archive of as many entries."""
    path = saved(
        tmp_path / "g.pth", {"netG": STATE, "netE": {f"l{i}.weight": torch.zeros(2, 2) for i in range(20_000)}}
    )
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) > 10_000
    same_weights(read(path), NET)


def test_calls_that_are_kept(tmp_path: Path) -> None:
    value = {"netG": STATE, "x": Calls(list, ((1, 2),))}
    same_weights(read(saved(tmp_path / "g.pth", value)), NET)
