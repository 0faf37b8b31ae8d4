"""The engine's own suite, at each level that the machine has, under sanitizers, and for another processor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = ("generic", "avx2", "avx512")


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def built(folder: Path, *settings: str, targets: tuple[str, ...] = ()) -> Path:
    run("cmake", "-S", "engine", "-B", folder, *settings)
    run("cmake", "--build", folder, "-j2", *(["--target", *targets] if targets else []))
    return folder


def test_the_interface_is_the_one_listed(tmp_path: Path) -> None:
    need("cc")
    program = tmp_path / "check_abi"
    run("cc", "-Iengine/include", "-o", program, "engine/tests/check_abi.c")
    listed = [line for line in (ROOT / "engine/tests/abi").read_text().splitlines() if line[0] != "#"]
    assert run(program).splitlines() == [line for line in listed if not line.startswith("symbol")]


def test_the_engine_is_formatted() -> None:
    """By the one version whose layout `engine/.clang-format` describes: others differ in details."""
    formatter = next(filter(None, map(shutil.which, ("clang-format-19", "clang-format"))), None)
    if formatter is None or "version 19." not in run(formatter, "--version"):
        pytest.skip("clang-format 19 is not installed (apt-get install clang-format-19)")
    sources = sorted(path for path in (ROOT / "engine").rglob("*.[ch]") if "build" not in path.parts)
    run(formatter, "--dry-run", "-Werror", *sources)


@pytest.mark.long
def test_the_engine_s_own_suite(tmp_path: Path) -> None:
    """All of it once; then what a level can change at the lowest one, and 20 seconds of 64 threads on one handle."""
    need("cmake", "cc")
    suite = built(tmp_path)
    run("ctest", "--test-dir", suite, "--output-on-failure")
    run(suite / "check_model", GAN_CPU="generic")
    assert " 0 wrong" in run(suite / "check_model", "20")


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
def test_the_python_suite_at_a_level(level: str) -> None:
    tests = ["tests/engine/test_model.py", "tests/engine/test_hostile.py"]
    code = "from gan_export.runtimes.native import Model; print(Model('engine/tests/known/chain.gan').cpu)"
    best = run(sys.executable, "-c", code, GAN_CPU="").strip()
    best = best.removesuffix("vnni")  # which has other kernels for 16-bit products only: tests/engine/test_fast.py
    if LEVELS.index(level) >= LEVELS.index(best):
        pytest.skip("the best level of this processor, or one that it lacks: `make test` has run that")
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", *tests, GAN_CPU=level)


@pytest.mark.long
@pytest.mark.parametrize("tool", ["asan", "tsan", "valgrind"])
def test_sanitizers(tool: str, tmp_path: Path) -> None:
    need("cmake", "gcc", *(["valgrind"] if tool == "valgrind" else []))
    run("sh", "engine/tools/sanitize.sh", tool, PYTHON=sys.executable, GAN_SANITIZE_FOLDER=str(tmp_path))


@pytest.mark.long
def test_the_fuzzer_and_its_corpus(tmp_path: Path) -> None:
    need("clang")
    run("sh", "engine/tests/fuzz/run.sh", "15", tmp_path)  # which replays the corpus first


@pytest.mark.long
def test_aarch64_under_an_emulator(tmp_path: Path) -> None:
    """The known answers, the known pictures by NEON, and every refusal, cross-built.

    Not check_model: the emulator can't fork a program of several threads.
    """
    need("cmake", "aarch64-linux-gnu-gcc", "qemu-aarch64")
    suite = built(
        tmp_path,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
        targets=("check_vectors", "check_faults", "check_kernels", "gan"),
    )
    assert (suite / "libgan.so").stat().st_size <= 340 * 1024
    emulated = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
    for name in ("check_vectors", "check_faults", "check_kernels"):
        run(*emulated, suite / name)
