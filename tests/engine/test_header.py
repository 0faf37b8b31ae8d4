"""gan.h as others read it: its example, its comments, Doxygen, bindgen, and which tests call its functions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gan_export.runtimes.native import Model
from gan_export.runtimes.native_library import library_path

from .conftest import Write, random_weights
from .test_package import CONSUMER, SPEC, STRICT, differ_at_most_by_rounding, drawn
from .test_suites import need, run

ROOT = Path(__file__).parents[2]
HEADER = ROOT / "engine/include/gan.h"
TEXT = HEADER.read_text()
# comment, result, name, parameters
FUNCTIONS = re.findall(r"/\*\*((?:(?!\*/).)*)\*/\nGAN_API ([^;(]*?)(\w+)\(([^)]*)\);", TEXT, re.DOTALL)
# How a comment says which threads may call a function together; "as gan_x" hands on to another's.
THREADS = (
    "Thread-safe",
    "Any thread may call it",
    "no other call may use it",
    "One call at a time",
    "must not be generating",
    "while the context isn't generating",
)
DOXYFILE = """
INPUT = {header}
OUTPUT_DIRECTORY = {folder}
QUIET = YES
GENERATE_LATEX = NO
GENERATE_HTML = NO
GENERATE_XML = YES
OPTIMIZE_OUTPUT_FOR_C = YES
JAVADOC_AUTOBRIEF = YES
WARN_AS_ERROR = FAIL_ON_WARNINGS
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
PREDEFINED = GAN_API=
EXCLUDE_SYMBOLS = GAN_API GAN_H
"""


def listed(kind: str) -> list[list[str]]:
    lines = [line.split() for line in (ROOT / "engine/tests/abi").read_text().splitlines()]
    return [line[1:] for line in lines if line[0] == kind]


def test_each_function_says_what_it_returns_and_which_threads_may_call_it() -> None:
    names = [name for _, _, name, _ in FUNCTIONS]
    assert sorted(names) == [name for (name,) in listed("symbol")]
    comments = {name: " ".join(comment.replace("\n *", " ").split()) for comment, _, name, _ in FUNCTIONS}

    def says(name: str, phrases: tuple[str, ...]) -> bool:
        handed = re.search(r"[Oo]therwise as (gan_\w+)", comments[name])
        return any(p in comments[name] for p in phrases) or (handed is not None and says(handed[1], phrases))

    for _, result, name, parameters in FUNCTIONS:
        assert says(name, THREADS), name
        if result.strip() == "gan_status":
            assert says(name, ("Returns",)), name
        assert parameters == "void" or re.search(r"\w+$", parameters), name


def test_every_function_is_called_by_the_engine_s_own_tests() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "engine/tests").glob("check_*.c"))
    unused = [name for _, _, name, _ in FUNCTIONS if not re.search(rf"\b{name}\(", tests)]
    assert unused == []


def test_the_example_draws_an_image(write: Write, tmp_path: Path) -> None:
    """Extracted from the header's first comment, and built as it stands."""
    need("cc")
    lines = [line.removeprefix(" *     ") for line in TEXT.splitlines() if line.startswith(" *     ")]
    program = lines[: lines.index("}") + 1]
    assert len(program) <= 20
    (tmp_path / "example.c").write_text("\n".join(program) + "\n")
    file, library = write(SPEC, random_weights(SPEC)), library_path()
    link = [f"-I{HEADER.parent}", library, f"-Wl,-rpath,{library.parent}"]
    run("cc", "-std=c11", *STRICT, tmp_path / "example.c", *link, "-o", tmp_path / "example")
    none = subprocess.run([tmp_path / "example"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr == "the file can't be read\n"
    file.rename(tmp_path / "g.gan")
    image = subprocess.run([tmp_path / "example"], cwd=tmp_path, capture_output=True, check=True).stdout
    with Model(tmp_path / "g.gan") as model:
        want = model.generate(7, 1)
    head = b"P6 %d %d 255\n" % want.shape[2:0:-1]
    assert image.startswith(head)
    step = np.abs(np.frombuffer(image[len(head) :], np.uint8).astype(int) - want.ravel())
    assert step.max() <= 1


def test_the_cpp_header_without_exceptions(write: Write, tmp_path: Path) -> None:
    need("g++")
    file, library = write(SPEC, random_weights(SPEC)), library_path()
    flags = ["-std=c++17", "-fno-exceptions", "-fno-rtti", *STRICT, f"-I{HEADER.parent}"]
    link = [str(library), f"-Wl,-rpath,{library.parent}"]
    run("g++", *flags, CONSUMER / "quiet.cpp", *link, "-o", tmp_path / "quiet")
    differ_at_most_by_rounding(drawn(tmp_path / "quiet", file), file)
    (tmp_path / "junk").write_bytes(b"no model")
    done = subprocess.run(
        [tmp_path / "quiet", tmp_path / "junk", "7", "5"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "not a .gan file\n")


def test_doxygen_finds_nothing_without_a_comment(tmp_path: Path) -> None:
    need("doxygen")
    (tmp_path / "Doxyfile").write_text(DOXYFILE.format(header=HEADER, folder=tmp_path))
    run("doxygen", tmp_path / "Doxyfile")
    described = (tmp_path / "xml/gan_8h.xml").read_text()
    for (name,) in listed("symbol"):
        assert f"<name>{name}</name>" in described


@pytest.mark.long
def test_bindgen_declares_it_as_it_is(tmp_path: Path) -> None:
    """Its own tests hold the structures' layout against the C compiler's."""
    need("bindgen", "rustc", "cc")
    older = Path("/usr/lib/llvm-14/lib")  # bindgen before 0.62 can't name what later ones call an enum without a name
    environment = {"LIBCLANG_PATH": str(older)} if older.exists() else {}
    only = ("--allowlist-function", "gan_.*", "--allowlist-var", "GAN_.*")
    run("bindgen", HEADER, *only, "-o", tmp_path / "gan.rs", **environment)
    declared = (tmp_path / "gan.rs").read_text()
    for (name,) in listed("symbol"):
        assert f"pub fn {name}(" in declared
    for name, value in listed("number"):
        assert re.search(rf"pub const {name}: \w+ = {value};", declared), name
    run("rustc", "--test", "-A", "warnings", tmp_path / "gan.rs", "-o", tmp_path / "layout")
    assert "0 failed" in run(tmp_path / "layout")


def test_the_library_reads_no_environment_variable() -> None:
    need("nm")
    assert "getenv" not in run("nm", "-D", "--undefined-only", library_path())
