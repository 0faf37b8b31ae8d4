"""The engine for macOS and Windows: linked for both by zig, and run under Wine where that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import Write, random_weights
from .test_package import CONSUMER, SPEC, differ_at_most_by_rounding
from .test_suites import ROOT, built, need, run

pytestmark = pytest.mark.long

# zig's name of the system -> CMake's names, and the library's.
SYSTEMS = {
    "x86_64-windows-gnu": ("Windows", "AMD64", "gan.dll"),
    "x86_64-macos": ("Darwin", "x86_64", "libgan.dylib"),
    "aarch64-macos": ("Darwin", "arm64", "libgan.dylib"),
}
FORMATS = {"gan.dll": b"MZ", "libgan.dylib": b"\xcf\xfa\xed\xfe"}


def built_for(system: str, folder: Path, *targets: str) -> Path:
    pytest.importorskip("ziglang", reason="pip install ziglang")
    need("cmake", "ninja")
    name, processor, _ = SYSTEMS[system]
    compiler = ";".join((sys.executable, "-m", "ziglang", "cc", "-target", system))
    settings = (
        f"-DCMAKE_SYSTEM_NAME={name}",
        f"-DCMAKE_SYSTEM_PROCESSOR={processor}",
        f"-DCMAKE_C_COMPILER={compiler}",
    )
    return built(folder, "-G", "Ninja", "-DCMAKE_C_FLAGS=-Werror", *settings, targets=targets)


def exports_its_interface(suite: Path, system: str) -> None:
    library = SYSTEMS[system][2]
    made = (suite / library).read_bytes()
    assert made.startswith(FORMATS[library])
    listed = (line.split() for line in (ROOT / "engine/tests/abi").read_text().splitlines())
    names = [line[1] for line in listed if line[0] == "symbol"]
    assert names
    assert all(name.encode() in made for name in names)


@pytest.mark.parametrize("system", ["x86_64-macos", "aarch64-macos"])
def test_it_links(system: str, tmp_path: Path) -> None:
    exports_its_interface(built_for(system, tmp_path, "gan"), system)


def test_windows_draws_the_same(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The known answers, every kernel against the plain one, and a program that uses the library, all under Wine."""
    need("wine")
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "wine"))
    monkeypatch.setenv("WINEDEBUG", "-all")
    suite = built_for("x86_64-windows-gnu", tmp_path / "build", "gan", "check_vectors", "check_kernels")
    exports_its_interface(suite, "x86_64-windows-gnu")
    for program in ("check_vectors", "check_kernels"):
        run("wine", suite / f"{program}.exe")
    file, program = write(SPEC, random_weights(SPEC)), suite / "draw.exe"
    zig = (sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu")
    run(*zig, CONSUMER / "draw.c", f"-I{ROOT / 'engine/include'}", suite / "libgan.dll.a", "-o", program)
    done = subprocess.run(["wine", program, file, "7", "5"], capture_output=True, check=True)
    differ_at_most_by_rounding(np.frombuffer(done.stdout, np.uint8), file)
    run(sys.executable, "engine/tools/amalgamate.py", tmp_path / "whole")
    source, strict = tmp_path / "whole/gan_all.c", ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O1")
    run(*zig, *strict, CONSUMER / "draw.c", source, f"-I{source.parent}", "-o", tmp_path / "whole.exe")
    whole = subprocess.run(["wine", tmp_path / "whole.exe", file, "7", "5"], capture_output=True, check=True)
    assert whole.stdout == done.stdout
