"""What docs/gan-file-format.md promises to last: latents, pictures, the interface; and where the engine knows its
system."""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gan_export import latents
from gan_export.exporters import native_volumes
from gan_export.exporters.native import OPERATIONS, attributes, operation
from gan_export.runtimes import native_library

from .test_engine import LABELED, LEVELS, SPECS, opened
from .test_images_in import TAKEN, dropped
from .test_styles import MAPPED, PORTED, SPEC

ROOT = Path(__file__).parents[2]
KNOWN = ROOT / "engine/tests/known"
SEED = 7
# Of 64 latents of 100 numbers, and 1,000 labels of 10 classes: seed, first image -> sha256 of the little-endian bytes.
LATENTS = {
    ("normal", 0, 0): "2bcc664b8d1cb5b160fc03a1b86802c22593ad805f2cee9733aa6736331910df",
    ("normal", 2**64 - 1, 2**40): "7119707e67a854fc17f72f143f9dfec2ba844bc1aac7aaf7efc0e6f0312cc2c6",
    ("uniform", 7, 5): "051e98c3da0ee5a5ceea1e67ca71789ea2636a74c2394341b975ed43d6d088cf",
}
LABELS = {
    (7, 0): "c751f0b13d9b8a0d2a156b7c1501b7c6f3563e362b0f4a21b3bd4044f906c4fa",
    (2**63, 2**40): "99778beaf78fbcb311eab13835e116e7e5f3dc57995ac0059a35f55f5eb0038e",
}


def sha256(array: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.mark.parametrize(("prior", "seed", "start"), LATENTS)
def test_latents_stay_what_they_were(prior: str, seed: int, start: int) -> None:
    assert sha256(latents.draw(seed, start, 64, 100, prior)) == LATENTS[prior, seed, start]


@pytest.mark.parametrize(("seed", "start"), LABELS)
def test_labels_stay_what_they_were(seed: int, start: int) -> None:
    assert sha256(np.asarray(latents.labels(seed, start, 1000, 10), np.int64)) == LABELS[seed, start]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["chain", "labels", "chain-3", "labels-3", "volume-3"])
def test_pictures_stay_what_they_were(name: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of format versions 1 and 3 and the pictures that float64 gives, at most 1 byte in 10,000 off, by 1."""
    with opened(KNOWN / f"{name}.gan", level, monkeypatch) as model:
        channels, *sides = model.image
        want = np.fromfile(KNOWN / f"{name.removesuffix('-3')}.bytes", np.uint8).reshape(-1, *sides, channels)
        for threads in (1, 2):
            off = np.abs(model.generate(SEED, len(want), threads=threads).astype(int) - want)
            assert off.max() <= 1
            assert np.count_nonzero(off) <= max(off.size / 10_000, 1)
        singly = np.concatenate([model.generate(SEED, 1, start=i) for i in range(len(want))])
        assert np.count_nonzero(singly != want) <= want.size / 10_000


@pytest.mark.parametrize("level", LEVELS)
def test_images_of_images_stay_what_they_were(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a generator that takes images; those that go in are numbers of a fixed sequence."""
    sequence = np.arange(2 * 24 * 36 * 3) * 2654435761 >> 7 & 255
    given = sequence.astype(np.uint8).reshape(2, 24, 36, 3)
    want = np.fromfile(KNOWN / "images.bytes", np.uint8).reshape(2, 24, 36, 3)
    with opened(KNOWN / "images-3.gan", level, monkeypatch) as model:
        for threads in (1, 2):
            off = np.abs(model.apply(given, threads=threads).astype(int) - want)
            assert off.max() <= 1
            assert np.count_nonzero(off) <= 1


def test_the_writer_knows_the_operations_that_the_engine_is_made_of() -> None:
    """engine/src/operations.def is the one list: numbers, names and attributes."""
    line = r'OPERATION\((\d+), (\w+), \d+, \d+, \w+, \w+, "([^"]*)", "([^"]*)"\)'
    listed = re.findall(line, (ROOT / "engine/src/operations.def").read_text())
    written = {kind.__name__.upper(): number for kind, number in OPERATIONS.items()} | {
        f"{kind.__name__.removesuffix('Nd').upper()}{dims}D": number
        for (kind, dims), number in native_volumes.OPERATIONS.items()
    }
    assert {name.replace("_", ""): int(number) for number, name, *_ in listed} == written
    specs = (*SPECS.values(), LABELED, *TAKEN.values(), dropped(), SPEC, PORTED, MAPPED)
    spec_layers = [layer for spec in specs for layer in spec.layers]
    by_number = {int(number): (integers.split(), reals.split()) for number, _, integers, reals in listed}
    assert {operation(layer) for layer in spec_layers} == set(by_number)
    for layer in spec_layers:
        integers, reals = attributes(layer)
        assert ([*integers], [*reals]) == by_number[operation(layer) or 0]


def _listed(kind: str) -> dict[str, list[int]]:
    lines = [line.split() for line in (ROOT / "engine/tests/abi").read_text().splitlines()]
    return {line[1]: [int(n) for n in line[2:]] for line in lines if line[0] == kind}


def test_the_symbols_are_those_listed() -> None:
    try:
        nm = ["nm", "-D", "--defined-only", native_library.library_path()]
        listing = subprocess.run(nm, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no nm")
    assert {line.split()[-1] for line in listing.stdout.splitlines()} == set(_listed("symbol"))


def test_the_structures_are_those_listed() -> None:
    """ctypes' view; the C suite's test_native_suite compares the compiler's."""
    sizes, members = _listed("size"), _listed("member")
    for name, structure in (
        ("gan_info", native_library.GanInfo),
        ("gan_open_options", native_library.GanOpenOptions),
        ("gan_context_options", native_library.GanOptions),
        ("gan_request", native_library.GanRequest),
        ("gan_input", native_library.GanInput),
        ("gan_images", native_library.GanImages),
        ("gan_output", native_library.GanOutput),
    ):
        assert sizes[name] == [ctypes.sizeof(structure)]
        for field, *_ in structure._fields_:
            where = getattr(structure, field)
            assert members[f"{name}.{field}"] == [where.offset, where.size]
        assert sum(member.startswith(f"{name}.") for member in members) == len(structure._fields_)


def test_one_version() -> None:
    numbers = re.findall(r"#define GAN_VERSION_(\w+) (\d+)", (ROOT / "engine/include/gan.h").read_text())
    header = ".".join(dict(numbers)[part] for part in ("MAJOR", "MINOR", "PATCH"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert header not in (ROOT / "engine/CMakeLists.txt").read_text()  # which reads the header
    assert header == project == native_library.library().gan_version().decode()


def test_the_operating_system_is_known_in_one_file() -> None:
    system = re.compile(
        r"#include <(?:pthread|unistd|sched|fcntl|signal|dlfcn|windows|sys/.*)\.h>"
        r"|_GNU_SOURCE|_WIN32|__linux__|__APPLE__"
    )
    files = [
        p
        for p in (ROOT / "engine").rglob("*.[ch]")
        if not {"tests", "tools", "wasm"} & set(p.relative_to(ROOT / "engine").parts)
    ]
    knowing = {p.name for p in files if system.search(p.read_text())}
    assert knowing == {"system_posix.c", "system_windows.c", "gan.h"}  # gan.h: how Windows exports a name
