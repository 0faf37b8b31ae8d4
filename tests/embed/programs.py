"""What the tests of embed/ share: running a program, and judging its images and messages."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export.runtimes.native_library import library_path

ROOT = Path(__file__).resolve().parents[2]
EMBED = ROOT / "embed"
COUNT, SEED, LABEL = 40, 7, 3
ALL = -2  # label i mod classes
STRICT = "-Wall -Wextra -Werror -pedantic"


def run(*command: object, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
    """python3 is what runs the tests, and what CMake compiles warns of nothing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "CFLAGS": STRICT, "CXXFLAGS": STRICT}
    return subprocess.run([*map(str, command)], capture_output=True, timeout=timeout, check=False, cwd=cwd, env=env)


def built(*command: object, cwd: Path | None = None) -> None:
    """A build, which warns of nothing."""
    done = run(*command, cwd=cwd, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:].decode() + done.stderr[-4000:].decode()
    assert b"warning" not in done.stderr, done.stderr[-4000:].decode()


def as_written(name: str, where: Path, block: int = 0, flags: str = STRICT) -> Path:
    """Build a copy of embed/NAME by its README's commands, of the block that is named, with `flags` too; its folder.

    Skips where the first command says that what it needs isn't there.
    """
    folder = where / "embed" / name
    shutil.copytree(EMBED / name, folder)
    for beside in ("gan_export", "embed/onnxruntime-sdk.sh"):
        (where / beside).symlink_to(ROOT / beside)
    blocks = [part for part in (folder / "README.md").read_text().split("\n\n") if part.startswith("    ")]
    first, *rest = blocks[block].splitlines()
    prepared = run("sh", "-c", first, cwd=folder, timeout=600)
    if prepared.returncode == 2:
        pytest.skip(prepared.stderr.decode().strip())
    assert prepared.returncode == 0, prepared.stderr.decode()
    built("sh", "-euc", "\n".join(rest).replace(" -std=", f" {flags} -std="), cwd=folder)
    return folder


def beside_the_engine(name: str, where: Path) -> Path:
    """Build a copy of embed/NAME by its README's commands, but for the first, which builds the engine; its folder."""
    folder = where / "embed" / name
    shutil.copytree(EMBED / name, folder)
    (where / "engine").symlink_to(ROOT / "engine")
    (folder / "build").mkdir()
    shutil.copy(library_path(), folder / "build")
    commands = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert commands.pop(0).startswith("    cmake ")
    built("sh", "-euc", "\n".join(commands).replace(" -std=", f" {STRICT} -std="), cwd=folder)
    return folder


def drew(*command: object, out: Path | None = None) -> np.ndarray:
    """The pictures that a program wrote: to `out`, or to standard output."""
    done = run(*command)
    assert done.returncode == 0, done.stderr.decode()
    if out is None:
        return np.frombuffer(done.stdout, np.uint8)
    return np.load(out) if out.suffix == ".npy" else np.fromfile(out, np.uint8)


def same(got: np.ndarray, want: np.ndarray) -> None:
    """Two orders of adding up: a byte in a thousand of these few may differ, by 1."""
    assert got.size == want.size
    off = np.abs(got.astype(int).ravel() - want.astype(int).ravel())
    assert off.max() <= 1
    assert (off > 0).mean() <= 1e-3


def refuses(*command: object, error: str) -> None:
    """The program prints `error` in a few lines, without a stack trace, draws nothing and ends with exit code 2."""
    done = run(*command)
    text = done.stderr.decode()
    assert done.returncode == 2, (done.returncode, text)
    assert error in text, text
    assert done.stdout == b""
    assert len(text.strip().splitlines()) <= 3, text
    for trace in ("    at ", "Traceback", "terminate called"):
        assert trace not in text


def applies_to_an_image(apply: Path, model: Path, want: np.ndarray) -> None:
    """A program that puts a PPM through a generator of images."""
    files, image = model.parent, model.parent / "in.ppm"
    done = run(apply, model, image)
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(io.BytesIO(done.stdout)) as made:
        assert made.size == (want.shape[1], want.shape[0])
        same(np.asarray(made), want)
    pixels = image.read_bytes().split(b"255\n", 1)[1]
    (files / "comments.ppm").write_bytes(b"P6 # one\n# another\n41\t30\n#255\n255\n" + pixels)
    assert run(apply, model, files / "comments.ppm").stdout == done.stdout
    (files / "cut.ppm").write_bytes(image.read_bytes()[:500])
    (files / "huge.ppm").write_bytes(b"P6 30000 30000 255 ")
    (files / "deep.ppm").write_bytes(b"P6 2 2 65535 " + bytes(24))
    wrong = (
        ("in.png", "a binary PPM"), ("cut.ppm", "cut short"), ("huge.ppm", "1 to 16384"), ("none.ppm", "can't be read"),
        ("deep.ppm", "deep.ppm: "),
    )  # fmt: skip
    for file, error in wrong:
        refuses(apply, model, files / file, error=error)
    refuses(apply, files / "in.png", image, error="apply: ")
    refuses(apply, model, error="usage")
    stops_at_a_full_disk(apply, model, image)


def stops_at_a_full_disk(*command: object) -> None:
    """What the program can't write any more, the last bytes too, is one line, with exit code 2."""
    if not Path("/dev/full").exists():
        return
    with open("/dev/full", "wb") as full:
        done = subprocess.run([str(c) for c in command], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith(": the pictures can't be written")
