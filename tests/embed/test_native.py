"""The programs in embed/ on the engine that are compiled, each as its README says, and their declarations of gan.h."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from .programs import (
    COUNT,
    EMBED,
    ROOT,
    SEED,
    applies_to_an_image,
    beside_the_engine,
    built,
    drew,
    refuses,
    run,
    same,
    stops_at_a_full_disk,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler (apt-get install gcc)"),
]
needs_rust = pytest.mark.skipif(not shutil.which("rustc"), reason="rustc is not installed (apt-get install rustc)")
needs_mono = pytest.mark.skipif(
    not (shutil.which("mcs") and shutil.which("mono")),
    reason="Mono is not installed (apt-get install mono-mcs mono-runtime)",
)


def listed(kind: str) -> list[list[str]]:
    lines = [line.split() for line in (ROOT / "engine/tests/abi").read_text().splitlines()]
    return [line[1:] for line in lines if line[0] == kind]


def draws_from_a_seed(program: tuple[object, ...], files: Path, want: np.ndarray) -> None:
    same(drew(*program, files / "g.gan", SEED, COUNT), want)
    refuses(*program, files / "junk", SEED, COUNT, error="junk: not a .gan file")
    refuses(*program, files / "missing", SEED, COUNT, error="missing: the file can't be read")
    for wrong in (("-1", 4), (SEED, 0), ("x", 4), (2**64, 4), ()):
        refuses(*program, files / "g.gan", *wrong, error="usage")
    stops_at_a_full_disk(*program, files / "g.gan", SEED, 1)


def test_c(files: Path, want: np.ndarray, image_files: Path, want_image: np.ndarray, tmp_path: Path) -> None:
    folder = beside_the_engine("c-native", tmp_path)
    draws_from_a_seed((folder / "draw",), files, want)
    applies_to_an_image(folder / "apply", image_files / "t.gan", want_image)
    refuses(folder / "apply", files / "g.gan", image_files / "in.ppm", error="g.gan: the model takes no pictures")


@needs_rust
def test_rust(files: Path, want: np.ndarray, image_files: Path, want_image: np.ndarray, tmp_path: Path) -> None:
    folder = beside_the_engine("rust-native", tmp_path)
    draws_from_a_seed((folder / "draw",), files, want)
    applies_to_an_image(folder / "apply", image_files / "t.gan", want_image)
    refuses(folder / "apply", files / "g.gan", image_files / "in.ppm", error="g.gan: the model takes no pictures")


@needs_mono
def test_csharp(files: Path, want: np.ndarray, tmp_path: Path) -> None:
    folder = beside_the_engine("csharp-native", tmp_path)
    draws_from_a_seed(("env", f"LD_LIBRARY_PATH={folder / 'build'}", "mono", folder / "draw.exe"), files, want)
    refuses("mono", folder / "draw.exe", files / "g.gan", SEED, 1, error="the engine's library, libgan, can't be found")


@needs_rust
def test_the_rust_declarations_are_the_header_s(tmp_path: Path) -> None:
    """Every structure, member and constant by its layout, and every function by its name."""
    shutil.copy(EMBED / "rust-native/gan.rs", tmp_path)
    lines = ["mod gan;", "fn main() {"]
    for name, _ in listed("size"):
        if name == "gan_status":
            lines.append('println!("size gan_status {}", std::mem::size_of::<gan::gan_status>());')
            continue
        lines.append(f"let x = gan::{name}::default(); let at = &x as *const _ as usize;")
        lines.append(f'println!("size {name} {{}}", std::mem::size_of_val(&x));')
        for member in (m.split(".")[1] for m, *_ in listed("member") if m.startswith(f"{name}.")):
            where = f"&x.{member} as *const _ as usize - at, std::mem::size_of_val(&x.{member})"
            lines.append(f'println!("member {name}.{member} {{}} {{}}", {where});')
    lines += [f'println!("number {name} {{}}", gan::{name});' for name, _ in listed("number")]
    (tmp_path / "layout.rs").write_text("\n".join([*lines, "}"]))
    built("rustc", "--edition", "2021", "layout.rs", "-L", ROOT / "gan_export", cwd=tmp_path)
    printed = run("env", f"LD_LIBRARY_PATH={ROOT / 'gan_export'}", tmp_path / "layout").stdout.decode().splitlines()
    wanted = [line for line in (ROOT / "engine/tests/abi").read_text().splitlines() if line[0] not in "#"]
    assert sorted(printed) == sorted(line for line in wanted if not line.startswith("symbol"))
    declared = re.findall(r"pub fn (gan_\w+)\(", (tmp_path / "gan.rs").read_text())
    assert sorted(declared) == [name for (name,) in listed("symbol")]


@needs_mono
def test_the_csharp_declarations_are_the_header_s(tmp_path: Path) -> None:
    """Those that the file has, whose members are named in the header's order."""
    text = (EMBED / "csharp-native/Gan.cs").read_text()
    names = {"Output.PixelFormat": "format"}
    checks = []
    structures = re.findall(r"public struct (\w+)\s*\{(.*?)\n    \}", text, re.DOTALL)
    assert [name for name, _ in structures] == ["OpenOptions", "Info", "ContextOptions", "Request", "Output"]
    for name, body in structures:
        members = [m for line in re.findall(r"public \w+ ([^;]+);", body) for m in line.split(", ")]
        prefix = f"gan_{re.sub('(?<!^)(?=[A-Z])', '_', name).lower()}"
        checks.append(f'Console.WriteLine("size {prefix} " + Marshal.SizeOf(typeof(Gan.{name})));')
        for member in members:
            snake = names.get(f"{name}.{member}", re.sub("(?<!^)(?=[A-Z])", "_", member).lower())
            offset = f'Marshal.OffsetOf(typeof(Gan.{name}), "{member}")'
            checks.append(f'Console.WriteLine("member {prefix}.{snake} " + {offset});')
    program = "using System; using System.Runtime.InteropServices; static class Layout { static void Main() {"
    (tmp_path / "Layout.cs").write_text("\n".join([program, *checks, "} }"]))
    built("mcs", "-main:Layout", "-out:layout.exe", "Layout.cs", EMBED / "csharp-native/Gan.cs", cwd=tmp_path)
    printed = run("mono", tmp_path / "layout.exe").stdout.decode().splitlines()
    wanted = {f"size {name} {size}" for name, size in listed("size")}
    wanted |= {f"member {name} {offset}" for name, offset, _ in listed("member")}
    assert set(printed) <= wanted
    for name, _ in structures:
        prefix = f"gan_{re.sub('(?<!^)(?=[A-Z])', '_', name).lower()}."
        assert sum(f" {prefix}" in line for line in printed) == sum(f" {prefix}" in line for line in wanted)
    formats = re.search(r"enum Format : uint \{ (.*) \}", text)
    assert formats is not None
    header = {name: int(number) for name, number in listed("number")}
    for number, name in enumerate(formats[1].split(", ")):
        assert header[f"GAN_{re.sub('(?<!^)(?=[A-Z])', '_', name).upper()}"] == number
    assert f"MessageSize = {header['GAN_MESSAGE_SIZE']};" in text
    functions = set(re.findall(r"extern \w+ (gan_\w+)\(", text))
    assert functions < {name for (name,) in listed("symbol")}
