"""The engine for other people's projects: gan.hpp, find_package(gan) and pkg-config."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gan_export.graph.spec import GeneratorSpec
from gan_export.runtimes.native import Model
from gan_export.runtimes.native_library import library_path

from .conftest import Write, random_weights, transposed

ROOT = Path(__file__).parents[2]
CONSUMER = Path(__file__).parent / "consumer"
SPEC = transposed((24, 16), 3, 13)
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def ends_in_a_sigmoid() -> GeneratorSpec:
    """A generator whose last layer's values lie between 0 and 1."""
    last = dataclasses.replace(SPEC.layers[-1], kind="sigmoid")
    image = dataclasses.replace(SPEC.signature.outputs[0], range=(0.0, 1.0))
    signature = dataclasses.replace(SPEC.signature, outputs=(image,))
    return dataclasses.replace(SPEC, signature=signature, layers=(*SPEC.layers[:-1], last))


def drawn(program: Path, file: Path, **environment: str) -> np.ndarray:
    done = subprocess.run([program, file, "7", "5"], capture_output=True, check=True, env={**os.environ, **environment})
    return np.frombuffer(done.stdout, np.uint8)


def differ_at_most_by_rounding(got: np.ndarray, file: Path) -> None:
    with Model(file) as model:
        wanted = model.generate(7, 5).ravel()
    assert got.shape == wanted.shape
    step = np.abs(got.astype(int) - wanted)
    assert step.max() <= 1
    assert (step > 0).sum() <= 1


@pytest.mark.parametrize("standard", ["c++17", pytest.param("c++20", marks=pytest.mark.long)])
@pytest.mark.parametrize("compiler", ["g++", pytest.param("clang++", marks=pytest.mark.long)])
def test_the_cpp_header(compiler: str, standard: str, write: Write, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    file, library = write(SPEC, random_weights(SPEC)), library_path()
    link = [f"-I{ROOT / 'engine/include'}", str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run(
        [compiler, f"-std={standard}", *STRICT, str(CONSUMER / "draw.cpp"), *link, "-o", str(tmp_path / "draw")],
        check=True,
    )
    differ_at_most_by_rounding(drawn(tmp_path / "draw", file), file)
    ranged = write(ends_in_a_sigmoid(), random_weights(SPEC))
    differ_at_most_by_rounding(drawn(tmp_path / "draw", ranged), ranged)
    broken = tmp_path / "broken.gan"
    broken.write_bytes(file.read_bytes()[:-8])
    done = subprocess.run([tmp_path / "draw", broken, "7", "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "changed" in done.stderr or "cut" in done.stderr


@pytest.mark.long
def test_a_project_outside_the_tree(write: Write, tmp_path: Path) -> None:
    """Built, installed, moved, and used by a CMake project and through pkg-config; libgan.so itself is for linkers."""
    for program in ("cmake", "ninja", "g++", "gcc"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    file = write(SPEC, random_weights(SPEC))
    build, project, made = tmp_path / "build", tmp_path / "project", tmp_path / "made"

    def run(*command: object, **environment: str) -> str:
        words = [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    folders = ("-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_INSTALL_INCLUDEDIR=include/of-gan")
    run("cmake", "-S", ROOT / "engine", "-B", build, "-G", "Ninja", "-DGAN_TESTS=OFF", *folders)
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    shutil.rmtree(build)
    prefix = tmp_path / "moved"
    texts = [f for f in prefix.rglob("*") if f.suffix in (".cmake", ".pc")]
    assert not [f for f in texts if str(tmp_path) in f.read_text()]
    shutil.copytree(CONSUMER, project)
    run("cmake", "-S", project, "-B", made, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", made)
    linked = [made / "draw_cpp", made / "draw_c"]
    if shutil.which("pkg-config"):
        flags = run("pkg-config", "--cflags", "--libs", "gan", PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig")).split()
        linked.append(tmp_path / "by_pkg_config")
        run("gcc", project / "draw.c", *flags, "-o", linked[-1])
        static = ("pkg-config", "--static", "--libs-only-l", "--libs-only-other", "gan")
        rest = run(*static, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig")).replace("-lgan", "").split()
        linked.append(tmp_path / "static")
        run("gcc", project / "draw.c", flags[0], prefix / "lib/libgan.a", *rest, "-o", linked[-1])
    (prefix / "lib/libgan.so").unlink()
    for program in linked:
        differ_at_most_by_rounding(drawn(program, file, LD_LIBRARY_PATH=str(prefix / "lib")), file)


def test_where_pkg_config_looks_for_a_package_of_absolute_folders(tmp_path: Path) -> None:
    for program in ("cmake", "ninja", "cc", "pkg-config"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    libraries, headers = tmp_path / "libraries", tmp_path / "headers"
    folders = (f"-DCMAKE_INSTALL_LIBDIR={libraries}", f"-DCMAKE_INSTALL_INCLUDEDIR={headers}")
    configure = ["cmake", "-S", ROOT / "engine", "-B", tmp_path / "build", "-G", "Ninja", "-DGAN_TESTS=OFF", *folders]
    subprocess.run(configure, check=True, capture_output=True)
    for name, folder in (("libdir", libraries), ("includedir", headers)):
        ask = ["pkg-config", f"--variable={name}", tmp_path / "build/gan.pc"]
        assert subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip() == str(folder)


@pytest.mark.long
def test_a_debug_build_beside_a_release_build(tmp_path: Path) -> None:
    """By one generator of several configurations: only what was built for debugging aborts, and keeps its names."""
    for program in ("cmake", "ninja", "cc", "nm"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    configure = ["cmake", "-S", ROOT / "engine", "-B", tmp_path, "-G", "Ninja Multi-Config", "-DGAN_TESTS=OFF"]
    subprocess.run(configure, check=True, capture_output=True)
    for configuration, wanted in (("Debug", True), ("Release", False)):
        build = ["cmake", "--build", tmp_path, "--config", configuration]
        subprocess.run(build, check=True, capture_output=True)
        library = tmp_path / configuration / "libgan.so"
        imported = subprocess.run(["nm", "-D", "-u", library], check=True, capture_output=True, text=True).stdout
        assert ("abort" in imported) == wanted
        assert bool(subprocess.run(["nm", library], check=True, capture_output=True).stdout) == wanted
