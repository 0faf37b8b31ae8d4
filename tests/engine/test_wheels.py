"""Wheels: what their tags promise, and that they draw where no compiler and no torch is."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gan_export.runtimes.native import Model
from gan_export.runtimes.native_library import library_name
from tests.conftest import Artifacts

from .conftest import Write, random_weights
from .test_package import CONSUMER, SPEC, differ_at_most_by_rounding
from .test_suites import ROOT, need, run

OLDEST = (2, 17)  # glibc
HERE = platform.machine()
PROCESSORS = ("x86_64", "aarch64")
SYSTEMS = {"win_amd64": ("win32", "win_amd64"), "macos_arm64": ("darwin", "macosx_11_0_arm64")}  # Python's name, tag
WINDOWS_OWN = re.compile(rb"(?i)kernel32|api-ms-win-crt-[\w-]+")
NEEDED = ("numpy", "pillow", "typer", "rich")  # to draw from a `.gan` file by command

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux" or HERE not in PROCESSORS, reason="wheels are built on Linux"),
]


def wheels_for(names: tuple[str, ...], folder: Path) -> None:
    for package in ("ziglang", "auditwheel", "scikit_build_core"):
        pytest.importorskip(package, reason=f"pip install {package}")
    need("cmake")
    run("sh", "packaging/wheel.sh", folder, *names, PYTHON=sys.executable, PIP_NO_BUILD_ISOLATION="false")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A processor -> its wheel for Linux."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels_for(PROCESSORS, folder)
    return {processor: next(folder.glob(f"*{processor}.whl")) for processor in PROCESSORS}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A name of SYSTEMS -> the folder of its wheel, unpacked."""
    folder = tmp_path_factory.mktemp("elsewhere")
    wheels_for(tuple(SYSTEMS), folder)
    for name, (_, tag) in SYSTEMS.items():
        with zipfile.ZipFile(next(folder.glob(f"*-{tag}.whl"))) as wheel:
            wheel.extractall(folder / name)
    return {name: folder / name for name in SYSTEMS}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_tags_are_true(processor: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[processor]) as wheel:
        about = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))).decode()
        engine = wheel.read("gan_export/libgan.so")
        assert [name for name in wheel.namelist() if "libgan" in name or ".libs" in name] == ["gan_export/libgan.so"]
    assert f"Tag: py3-none-manylinux_{OLDEST[0]}_{OLDEST[1]}_{processor}\n" in about
    versions = {(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", engine)}
    assert versions
    assert max(versions) <= OLDEST


def test_it_draws_where_no_compiler_is(wheels: dict[str, Path], artifacts: Artifacts, tmp_path: Path) -> None:
    bare, file = tmp_path / "bare", artifacts["native"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = str(bare / "bin")

    def there(*command: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    run(sys.executable, "-m", "venv", bare)
    install = (bare / "bin/python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
    if (fetched := there(*install, *NEEDED)).returncode:
        pytest.skip(f"pip can't fetch {' '.join(NEEDED)}: {fetched.stderr.strip().splitlines()[-1]}")
    installed = there(*install, "--no-deps", wheels[HERE])
    assert installed.returncode == 0, installed.stderr
    code = "import gan_export, sys; print(gan_export.__file__, gan_export.open(sys.argv[1]).info.provider)"
    where, cpu = there(bare / "bin/python", "-c", code, file).stdout.split()
    drawn = there(bare / "bin/gan-sample", file, "-n", 5, "--seed", 7, "-o", "drawn.npy")
    assert drawn.returncode == 0, drawn.stderr
    assert Path(where).is_relative_to(bare)
    with Model(file) as model:
        assert cpu == model.cpu  # whatever compiler built it, it knows the processor
    differ_at_most_by_rounding(np.load(tmp_path / "drawn.npy").ravel(), file)


def test_aarch64_draws_the_same(wheels: dict[str, Path], write: Write, tmp_path: Path) -> None:
    """The engine of the wheel, used by a C program under an emulator."""
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    file = write(SPEC, random_weights(SPEC))
    with zipfile.ZipFile(wheels["aarch64"]) as wheel:
        library = Path(wheel.extract("gan_export/libgan.so", tmp_path))
    link = [f"-I{ROOT / 'engine/include'}", str(library), f"-Wl,-rpath,{library.parent}"]
    run("aarch64-linux-gnu-gcc", CONSUMER / "draw.c", *link, "-o", tmp_path / "draw")
    emulated = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", tmp_path / "draw", file, "7", "5"]
    done = subprocess.run(emulated, capture_output=True, check=True)
    differ_at_most_by_rounding(np.frombuffer(done.stdout, np.uint8), file)


@pytest.mark.parametrize("name", SYSTEMS)
def test_wheels_of_other_systems(name: str, elsewhere: dict[str, Path]) -> None:
    """What Python looks for there is inside, and needs what comes with the system alone."""
    system, tag = SYSTEMS[name]
    about = next(elsewhere[name].glob("*.dist-info/WHEEL")).read_text()
    assert f"Tag: py3-none-{tag}\n" in about
    engines = [p for p in elsewhere[name].rglob("*") if p.suffix in (".so", ".dll", ".dylib", ".pyd")]
    assert engines == [elsewhere[name] / "gan_export" / library_name(system)]
    assert (elsewhere[name] / "gan_export/training/recipes/mnist32-demo.toml").is_file()
    engine = engines[0].read_bytes()
    if system == "win32":
        needed = set(re.findall(rb"([\w-]+)\.dll", engine)) - {b"gan"}
        assert needed
        assert all(WINDOWS_OWN.fullmatch(dll) for dll in needed), needed
    else:
        commands = list(load_commands(engine))
        built_for = next(body for kind, body in commands if kind == 0x32)  # LC_BUILD_VERSION
        assert struct.unpack_from("<I", built_for, 4) == (11 << 16,)
        needed = {body[16:].rstrip(b"\0") for kind, body in commands if kind == 0xC}  # LC_LOAD_DYLIB
        assert needed == {b"/usr/lib/libSystem.B.dylib"}
        assert any(kind == 0x1D for kind, _ in commands)  # LC_CODE_SIGNATURE: an Apple processor runs nothing without


def load_commands(library: bytes) -> Iterator[tuple[int, bytes]]:
    """A Mach-O file's load commands: (kind, what follows kind and size)."""
    (count,) = struct.unpack_from("<I", library, 16)
    at = 32
    for _ in range(count):
        kind, size = struct.unpack_from("<2I", library, at)
        yield kind, library[at + 8 : at + size]
        at += size


def test_the_dll_of_the_windows_wheel_draws_under_wine(
    elsewhere: dict[str, Path], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("wine")
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "wine"))
    monkeypatch.setenv("WINEDEBUG", "-all")
    library = shutil.copy(elsewhere["win_amd64"] / "gan_export" / library_name("win32"), tmp_path)
    zig = (sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu")
    run(*zig, CONSUMER / "draw.c", f"-I{ROOT / 'engine/include'}", library, "-o", tmp_path / "draw.exe")
    file = write(SPEC, random_weights(SPEC))
    done = subprocess.run(["wine", tmp_path / "draw.exe", file, "7", "5"], capture_output=True, check=True)
    differ_at_most_by_rounding(np.frombuffer(done.stdout, np.uint8), file)
