"""Pickles that grow when they are read, and state dicts that are strange: bounded in time and memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_export.checkpoint import read
from gan_export.errors import GanExportError

from .guard import nothing_runs
from .makers import FORMATS, generator, prefixed, saved

STATE = prefixed(generator().state_dict())

# -- pickles that grow

COLLIDING = b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(1, 150_000))
MEBIBYTE = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
BOMBS: dict[str, bytes] = {
    "deep lists": b"\x80\x02" + b"]" * 900_000 + b"a" * 899_999 + b".",
    "deep tuples": b"\x80\x02N" + b"\x85" * 1_900_000 + b".",
    "deep dicts": b"\x80\x02" + b"}K\x00" * 500_000 + b"N" + b"s" * 500_000 + b".",
    "doubling tuples": b"\x80\x02)" + b"2\x86" * 100_000 + b".",
    "doubling tuples as a key": b"\x80\x02})" + b"2\x86" * 1000 + b"Ns.",
    "doubling lists": b"\x80\x02]" + b"2a" * 100_000 + b".",
    "doubling dict": b"\x80\x02}" + b"(X\x01\x00\x00\x00a}2}u" * 10 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dict in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "integers that collide": b"\x80\x02}(" + COLLIDING + b"u.",
    "a huge integer": b"\x80\x02\x8b" + struct.pack("<i", 1 << 24) + b"\x7f" * (1 << 24) + b".",
    "a huge decimal": b"L" + b"9" * 1_000_000 + b"L\n.",
    "a huge float": b"F" + b"9" * 1_000_000 + b"\n.",
    "a string beyond the end": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"a.",
    "bytes beyond the end": b"\x80\x04\x8e" + struct.pack("<Q", (1 << 64) - 1) + b"a.",
    "a frame beyond the end": b"\x80\x04\x95" + struct.pack("<Q", (1 << 64) - 1) + b"N.",
    "a memo beyond everything": b"\x80\x02Nr\xff\xff\xff\xff.",
    "strings copied": b"\x80\x02" + MEBIBYTE + b"q\x000(" + b"c_codecs\nencode\nh\x00\x85R" * 100_000 + b"l.",
    "lists copied": b"\x80\x02(" + b"N" * 100_000 + b"lq\x000(" + b"cbuiltins\nset\nh\x00\x85R" * 100_000 + b"l.",
    "arguments copied": b"\x80\x02(" + b"N" * 200_000 + b"tq\x000(" + b"ctorch\nSize\nh\x00R0" * 100_000 + b"l.",
    "records": b"\x80\x02(" + b"ca\nb\n)R" * 300_000 + b"l.",
    "empty sets": b"\x80\x04(" + b"\x8f" * 1_900_000 + b"l.",
    "operations": b"\x80\x02" + b"N0" * 2_000_000 + b"N.",
    "out of band": b"\x80\x05\x97.",
    "extension": b"\x80\x02\x82\x01.",
    "long lines": b"S'" + b"a" * 3_000_000 + b"'\n.",
    "marks": b"\x80\x02" + b"(" * 1_900_000 + b".",
    "no stop": b"\x80\x02" + b"N" * 1000,
    "empty stack": b"\x80\x02.",
    "left over": b"\x80\x02NN.",
    "build on a mark": b"\x80\x02(}b.",
}  # fmt: skip

MEASURE = textwrap.dedent("""
    import sys, time
    from gan_export.checkpoint import read
    from gan_export.errors import GanExportError
    for path in sys.argv[1:]:
        begin = time.process_time()
        try:
            read(path)
            end = "read"
        except GanExportError as e:
            end = "refused" if str(e).isprintable() else "unprintable"
        with open("/proc/self/status") as status:  # VmHWM: unlike ru_maxrss it holds nothing of the parent
            most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
        print(path.rsplit("/", 1)[1], end, time.process_time() - begin, most)
""")


def measured(paths: list[Path]) -> list[tuple[str, str, float, float]]:
    """(name, how it ended, seconds, MiB at most so far) of each file, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.rsplit(" ", 3) for line in done.stdout.splitlines()]
    assert len(rows) == len(paths)
    return [(n, e, float(s), float(m)) for n, e, s, m in rows]


QUICK = [n for n in BOMBS if n not in ("deep tuples", "deep lists", "deep dicts", "records", "empty sets")]


@pytest.mark.parametrize(
    ("form", "names"),
    [("zip", QUICK), *(pytest.param(f, list(BOMBS), marks=pytest.mark.long) for f in FORMATS)],
    ids=["quick", *FORMATS],
)
def test_pickle_bombs(tmp_path: Path, form: str, names: list[str]) -> None:
    paths = []
    for i, name in enumerate(names):
        paths.append(tmp_path / f"{i} {name}")
        paths[-1].write_bytes(FORMATS[form](BOMBS[name]))
    largest = max(p.stat().st_size for p in paths) / 2**20
    for name, end, seconds, memory in measured(paths):
        assert end == "refused", name
        assert seconds < 10, (name, seconds)
        assert memory < 2 * largest + 1024, (name, memory)


# -- state dicts that are strange


def strange(tmp_path: Path, state: dict[Any, Any]) -> None:
    """The file is read, or refused in one line; every message is printable."""
    path = saved(tmp_path / "g.pth", state)
    begin = time.process_time()
    with nothing_runs():
        try:
            reading = read(path).reading
            messages = [*reading.notes, *(a.option for a in reading.alternatives)]
        except GanExportError as e:
            messages = [str(e)]
    assert all(line.isprintable() and len(line) < 4000 for line in messages)
    assert time.process_time() - begin < 10


def test_ten_thousand_keys(tmp_path: Path) -> None:
    strange(tmp_path, {f"layer{i}.weight": torch.zeros(2, 2) for i in range(10_000)})
    strange(tmp_path, {f"main.{i}.weight": torch.zeros(4, 4, 4, 4) for i in range(10_000)})
    strange(tmp_path, {f"netG{i}": {"main.0.weight": torch.zeros(4, 4, 4, 4)} for i in range(10_000)})


def test_very_long_names(tmp_path: Path) -> None:
    strange(tmp_path, {"a" * 5_000_000 + ".weight": torch.zeros(4, 4, 4, 4), "b": torch.zeros(3)})
    strange(tmp_path, {".".join("a" * 100_000) + ".weight": torch.zeros(4, 4, 4, 4)})
    strange(tmp_path, {"netG" * 10_000: {"x.weight": torch.zeros(4, 4)}})


def test_terminal_escapes_in_names(tmp_path: Path) -> None:
    nasty = "\x1b[2J\x1b]0;title\x07\nmain.\r0\x9b31m\u202e"
    strange(tmp_path, {nasty + ".weight": torch.zeros(4, 4, 4, 4), nasty + "1.weight": torch.zeros(4, 4)})
    strange(tmp_path, {nasty: {"main.0.weight": torch.zeros(4, 4, 4, 4)}, "b": {"x.weight": torch.zeros(3)}})
    state = {k.replace("model", nasty): v for k, v in STATE.items()}
    state["model.3.weight"] = state.pop(nasty + ".3.weight")
    strange(tmp_path, state)


def test_shapes_that_make_no_generator(tmp_path: Path) -> None:
    empty = {k: v[..., :0] if v.ndim == 4 else v for k, v in STATE.items()}
    strange(tmp_path, empty)
    strange(tmp_path, {k: v[:0] for k, v in STATE.items() if v.ndim})
    strange(tmp_path, {**STATE, "model.3.weight": torch.zeros(31, 16, 4, 4)})
    strange(tmp_path, {k: v[None] if v.ndim else v for k, v in STATE.items()})
    strange(tmp_path, {k: torch.zeros(()) for k in STATE})
    strange(tmp_path, {1: torch.zeros(3), None: torch.zeros(3, 3), (1, 2): torch.zeros(4, 4, 4, 4)})
