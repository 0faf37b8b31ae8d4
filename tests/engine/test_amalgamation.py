"""The engine as one C file, gan_all.c: built by a stranger's one command, with the library's own bytes.

For Windows, test_systems.py builds it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gan_export.runtimes.native_library import library_path

from .test_header import listed
from .test_package import CONSUMER, STRICT
from .test_suites import LEVELS, ROOT, need, run

KNOWN = ROOT / "engine/tests/known"
FILES = ("chain-3", "labels-3", "images-3", "volume-3")
SIDE = "20"  # of the image that a model of images takes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gan_all.c, gan.h and gan.hpp, and nothing else of the project."""
    made = tmp_path_factory.mktemp("amalgamation")
    run(sys.executable, "engine/tools/amalgamate.py", made)
    return made


def bytes_of(*program: str | Path) -> dict[tuple[str, str], bytes]:
    """What the program `levels` computes by each kernels that run here."""
    found = {}
    for name in FILES:
        for level in LEVELS:
            done = subprocess.run([*program, KNOWN / f"{name}.gan", level, SIDE], capture_output=True, check=False)
            if done.returncode != 3:
                assert done.returncode == 0, done.stderr
                found[name, level] = done.stdout
    return found


def of_the_library(folder: Path) -> dict[tuple[str, str], bytes]:
    library = library_path()
    link = (f"-I{folder}", library, f"-Wl,-rpath,{library.parent}")
    run("cc", "-std=c11", CONSUMER / "levels.c", *link, "-o", folder / "linked")
    return bytes_of(folder / "linked")


def test_it_is_clean_and_whole(folder: Path) -> None:
    need("gcc")
    assert sorted(p.name for p in folder.iterdir()) == ["gan.h", "gan.hpp", "gan_all.c"]
    text = (folder / "gan_all.c").read_text()
    assert set(re.findall(r'#include "(.*)"', text)) == {"gan.h"}
    parts = re.findall(r"^/\* ---- (.*) ---- \*/$", text, re.MULTILINE)
    assert {p.stem for p in (ROOT / "engine/src").rglob("*.c")} <= {Path(part).stem for part in parts}
    run("gcc", "-std=c11", *STRICT, "-fsyntax-only", folder / "gan_all.c")
    refused = subprocess.run([sys.executable, ROOT / "engine/tools/amalgamate.py"], capture_output=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, b"")


@pytest.mark.long
def test_one_command_of_gcc(folder: Path) -> None:
    """In GNU C, for this processor alone: neither its multiply-add nor its vectors may change a byte."""
    need("gcc", "cc")
    program = folder / "gcc"
    run("gcc", "-O2", "-march=native", f"-I{folder}", CONSUMER / "levels.c", folder / "gan_all.c", "-lm", "-o", program)
    assert bytes_of(program) == of_the_library(folder)


@pytest.mark.long
def test_clang_and_the_suite(folder: Path) -> None:
    """The same bytes, the engine's own tests of the interface, and the library's symbols."""
    need("clang", "cc", "nm")
    whole, strict = folder / "gan_all.o", ("-std=c11", *STRICT, "-fPIC", "-fvisibility=hidden", "-DGAN_BUILD")
    run("clang", "-O1", *strict, "-c", folder / "gan_all.c", "-o", whole)
    run("cc", f"-I{folder}", CONSUMER / "levels.c", whole, "-lm", "-o", folder / "clang")
    assert bytes_of(folder / "clang") == of_the_library(folder)
    inside = (f'-DKNOWN="{KNOWN}"', f'-DKAT_VECTORS="{ROOT}/engine/tests/kat_vectors"', "-D_GNU_SOURCE")
    includes = (f"-I{folder}", f"-I{ROOT}/engine/src")
    for name in ("check_vectors", "check_interface", "check_pixels"):
        test = ROOT / f"engine/tests/{name}.c"
        run("cc", "-std=c11", *inside, *includes, test, whole, "-lm", "-o", folder / name)
        run(folder / name)
    run("cc", "-shared", whole, "-lm", "-o", folder / "libwhole.so")
    exported = run("nm", "-D", "--defined-only", folder / "libwhole.so").splitlines()
    assert [line.split()[-1] for line in exported] == [name for (name,) in listed("symbol")]
