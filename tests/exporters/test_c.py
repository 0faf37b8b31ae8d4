"""The exported C source: what every compiler makes of it, and the command that writes it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_export import latents
from gan_export.checkpoint.exportable import prepare
from gan_export.errors import GanExportError, UnavailableError
from gan_export.exporters.base import Options
from gan_export.exporters.c.exporter import C as EXPORTER
from gan_export.formats import manifest as manifests
from gan_export.formats import tolerance
from gan_export.graph.layers import Activation
from gan_export.runtimes.base import run_latents
from gan_export.runtimes.c import C as RUNTIME
from gan_export.runtimes.c import CSession
from gan_export.verification import compare
from tests.conftest import Artifacts, Command, latent_image, refused

from .generators import SPECS, checkpoint_of, pictures, read_pnm, same

STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
C99, CPP = ("-std=c99", *STRICT), ("-std=c++17", "-x", "c++", *STRICT)
needs_compiler = pytest.mark.skipif(not RUNTIME.availability().ok, reason=RUNTIME.availability().reason)


def write(name: str, folder: Path, options: Options | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    EXPORTER.write(checkpoint_of(SPECS[name]), folder, options or Options())
    return folder


def example(folder: Path, command: list[str], runner: tuple[str, ...] = (), name: str = "generator") -> np.ndarray:
    """Compile the example with `command` and draw image 5 of seed 7 with the label that `pictures` gives it."""
    embedded = sorted(f.name for f in folder.glob("*_weights.c"))
    sources = [f"{name}.c", *embedded, "example.c"]
    subprocess.run([*command, *sources, "-o", "example", "-lm"], cwd=folder, check=True)
    weights = [] if embedded else [f"{name}.weights"]
    arguments = [*weights, "picture.pnm", "7", "5", "0"]
    done = subprocess.run([*runner, "./example", *arguments], cwd=folder, check=True, capture_output=True)
    assert done.stdout == b""
    assert done.stderr == b"" or runner == ("wine",)  # which has its own to say
    return read_pnm(folder / "picture.pnm")


@needs_compiler
@pytest.mark.parametrize("name", SPECS)
def test_every_layer_draws_what_the_interpreter_draws(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    folder = write(name, tmp_path / "c")
    session = RUNTIME.load(folder)
    z = latents.draw(3, 2, 3, latent_image(spec).nz, latent_image(spec).prior)
    labels = np.array([2, 3, 4]) % latent_image(spec).classes if latent_image(spec).classes else None
    feeds = {"z": z} if labels is None else {"z": z, "label": labels}
    wanted = prepare(checkpoint_of(spec)).run(feeds).exact[spec.signature.outputs[0].name]
    got = run_latents(session, z, labels)
    assert np.abs(got - wanted).max() <= 2e-5 * max(1.0, np.abs(wanted).max())
    assert same(session.draw_bytes(3, 2, 3), pictures(spec, 3, 2, 3))
    session.close()
    with pytest.raises(GanExportError, match="closed"):
        run_latents(session, z, labels)


@needs_compiler
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_weights(precision: str, tmp_path: Path) -> None:
    spec = SPECS["color"]
    folder = write("color", tmp_path / "c", Options(precision=precision))
    whole = write("color", tmp_path / "whole")
    size = (folder / "generator.weights").stat().st_size / (whole / "generator.weights").stat().st_size
    assert size < {"fp16": 0.52, "int8": 0.35}[precision]
    manifest = manifests.read_manifest(folder, "c")
    assert manifest is not None
    assert manifest.tolerance.psnr == {"fp16": 45, "int8": 35}[precision]
    report = compare.compare(
        RUNTIME.load(folder),
        prepare(checkpoint_of(spec)),
        spec.signature,
        tolerance.rule("c", precision),
        batches=(1, 3),
    )
    assert report.passed
    assert report.max_abs is not None
    assert report.max_abs > 1e-5  # it isn't fp32 under another name


@pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc")
@pytest.mark.parametrize("flags", [C99, (*CPP, "-O1")], ids=["c99", "c++17"])
def test_the_example_compiles_without_a_warning(flags: tuple[str, ...], tmp_path: Path) -> None:
    compiler = "g++" if "c++" in flags else "gcc"
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    for name, options in (("labeled", Options(embed_weights=True, symbol="faces")), ("classic", Options())):
        folder = write(name, tmp_path / name, options)
        got = example(folder, [compiler, *flags], name=options.symbol)
        wanted = pictures(SPECS[name], 7, 5, 1)[0]
        assert same(got, wanted)


@needs_compiler
def test_the_generator_is_self_contained(tmp_path: Path) -> None:
    """Nothing is called but memory and sqrt, and nothing of it can be written to."""
    folder = write("awkward", tmp_path / "c")
    subprocess.run(["cc", "-std=c99", "-O2", "-c", "generator.c"], cwd=folder, check=True)
    try:
        symbols = subprocess.run(["nm", "generator.o"], cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no nm")
    kinds = [line.split()[-2:] for line in symbols.stdout.splitlines()]
    assert {name for kind, name in kinds if kind == "U"} <= {"memcpy", "memset", "sqrt", "__stack_chk_fail"}
    assert not [name for kind, name in kinds if kind in "bBdDcC"]


def test_the_same_bytes_anywhere_and_what_they_say(tmp_path: Path) -> None:
    first, second = write("classic", tmp_path / "a"), write("classic", tmp_path / "b")
    names = sorted(f.name for f in first.iterdir())
    assert names == ["example.c", "generator.c", "generator.h", "generator.weights", "manifest.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    header = (first / "generator.h").read_text()
    assert "0" * 64 in header  # the source's sha256
    assert "philox4x32-10/normal-table-16/1" in header
    source = (first / "generator.c").read_text()
    assert (
        "/* up1: transposed convolution, 48 -> 40, kernel 4, stride 2, padding 1\n *   x[4][4][48] -> y[8][8][40] */"
        in source
    )
    assert not re.search(r"malloc|stdio|stdlib", source + header)


@pytest.mark.long
def test_the_command_writes_proves_and_is_understood(
    command: Command, classic_pth: Path, artifacts: Artifacts, tmp_path: Path
) -> None:
    if not RUNTIME.availability().ok:
        pytest.skip(RUNTIME.availability().reason)
    folder = tmp_path / "plain"
    result = command("gan-export", "c", classic_pth, "-o", folder)
    assert result.code == 0, result
    report = json.loads((tmp_path / "plain.report.json").read_text())
    assert report["parity"]["passed"]
    assert set(report["files"]) == {"example.c", "generator.c", "generator.h", "generator.weights", "manifest.json"}
    assert command("gan-export", "verify", folder, classic_pth).code == 0
    assert command("gan-export", "verify", folder).code == 0
    assert "fp32" in command("gan-export", "inspect", folder).out
    for file in (folder, artifacts["onnx"]):
        assert command("gan-sample", file, "-n", 9, "--seed", 7, "-o", tmp_path / f"{file.name}.npy").code == 0
    assert same(np.load(tmp_path / "plain.npy"), np.load(tmp_path / "g.onnx.npy"))
    line = re.search(r"^ \*   (cc .*)$", (folder / "generator.h").read_text(), re.M)
    assert line is not None
    subprocess.run(shlex.split(line[1]), cwd=folder, check=True)
    subprocess.run(["./example", "generator.weights", "x.pgm", "7", "3"], cwd=folder, check=True)
    assert same(read_pnm(folder / "x.pgm"), np.load(tmp_path / "g.onnx.npy")[3])
    before = sorted(tmp_path.rglob("*"))
    assert "example isn't as it was exported" in refused(command("gan-export", "c", classic_pth, "-o", folder))
    assert "can't name" in refused(command("gan-export", "c", classic_pth, "-o", tmp_path / "x", "--symbol", "int"))
    assert "has no option symbol" in refused(command("gan-export", "onnx", classic_pth, "--symbol", "x"))
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_compiler_one_line_says_so(
    command: Command, classic_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install gcc or clang" in RUNTIME.availability().reason
    assert "install gcc or clang" in refused(command("gan-export", "c", classic_pth, "-o", tmp_path / "plain"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnavailableError, match="install gcc or clang"):
        RUNTIME.load(tmp_path)


@needs_compiler
def test_weights_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    folder = write("odd", tmp_path / "c")
    whole = (folder / "generator.weights").read_bytes()
    swapped = whole[4:8] + whole[:4] + whole[8:]
    for wrong in (whole[:-4], whole + b"\0", whole[:-1] + bytes([whole[-1] ^ 1]), swapped):
        (folder / "generator.weights").write_bytes(wrong)
        with pytest.raises(GanExportError, match="weights"):
            RUNTIME.load(folder)


@needs_compiler
def test_two_flipped_signs_of_weights_are_refused(tmp_path: Path) -> None:
    """Sums of 32-bit words once cancelled in them."""
    folder = write("odd", tmp_path / "c")
    damaged = bytearray((folder / "generator.weights").read_bytes())
    damaged[3] ^= 0x80
    damaged[3 + 64] ^= 0x80
    (folder / "generator.weights").write_bytes(damaged)
    with pytest.raises(GanExportError, match="weights"):
        RUNTIME.load(folder)


@needs_compiler
@pytest.mark.parametrize("standard", ["c99", "gnu11"])
def test_layers_named_like_macros_compile(standard: str, tmp_path: Path) -> None:
    taken = ("INFINITY", "NAN", "M_PI", "typeof", "uint32_t", "INT8_MAX", "signgam", "linux", "asm", "y", "draw")
    spec = SPECS["odd"]
    names = dict(zip((layer.name for layer in spec.layers), taken, strict=False))
    layers = tuple(
        dataclasses.replace(
            layer, name=names.get(layer.name, layer.name), inputs=tuple(names.get(i, i) for i in layer.inputs)
        )
        for layer in spec.layers
    )
    EXPORTER.write(checkpoint_of(dataclasses.replace(spec, layers=layers, outputs=())), tmp_path, Options())
    drawn = example(tmp_path, ["cc", f"-std={standard}", *STRICT[:3], "-O1"])
    assert drawn.size


@needs_compiler
@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_what_is_not_a_number_stays_so(kind: str, tmp_path: Path) -> None:
    """As in the C engine: a broken model shows."""
    spec = SPECS["odd"]
    layers = (*spec.layers, Activation("act", (spec.layers[-1].name,), kind))  # type: ignore[arg-type]
    EXPORTER.write(checkpoint_of(dataclasses.replace(spec, layers=layers, outputs=())), tmp_path, Options())
    session = RUNTIME.load(tmp_path)
    z = np.full((1, latent_image(spec).nz), np.nan, np.float32)
    assert np.isnan(run_latents(session, z)).any()
    session.close()


# Every way of compiling that there is: the command, what runs its program, and what it needs.
ZIG = [sys.executable, "-m", "ziglang", "cc"]
WAYS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "gcc-no-flags": (["gcc"], ()),
    "gcc-native": (["gcc", *C99, "-O3", "-march=native"], ()),
    "gcc-avx2": (["gcc", *C99, "-O3", "-mavx2", "-mfma", "-mf16c"], ()),
    "gcc-scalar": (["gcc", *C99, "-O2", "-DGENERATOR_SCALAR"], ()),
    "gcc-sanitizers": (["gcc", *C99, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], ()),
    "g++-native": (["g++", *CPP, "-O3", "-march=native"], ()),
    "clang-native": (["clang", *C99, "-O3", "-march=native"], ()),
    "clang-no-flags": (["clang"], ()),
    "clang++": (["clang++", *CPP, "-O2"], ()),
    "zig": ([*ZIG, *C99, "-O3"], ()),
    "zig-x87": ([*ZIG, *C99, "-O2", "-target", "x86-linux-musl", "-mcpu=i586"], ()),
    "riscv64": (["riscv64-linux-gnu-gcc", *C99, "-O2", "-static"], ("qemu-riscv64",)),
    "arm-32-bit": (["arm-linux-gnueabihf-gcc", *C99, "-O2", "-static"], ("qemu-arm",)),
    "aarch64": (["aarch64-linux-gnu-gcc", *C99, "-O2", "-static"], ("qemu-aarch64",)),
    "windows": ([*ZIG, *C99, "-O2", "-target", "x86_64-windows-gnu"], ("wine",)),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "precision"),
    [(way, p) for way in WAYS for p in ("fp32", "fp16", "int8") if p == "fp32" or way not in ("windows", "zig-x87")],
)
def test_every_compiler_draws_the_same_pictures(
    way: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "wine"))
    command, runner = WAYS[way]
    if command[: len(ZIG)] == ZIG:
        pytest.importorskip("ziglang", reason="pip install ziglang")
    for program in (command[0], *runner):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    reference: np.ndarray
    for name in ("classic", "labeled", "color"):
        embedded = name != "classic"
        folder = write(name, tmp_path / name, Options(precision=precision, embed_weights=embedded))
        got = example(folder, command, runner)
        reference = pictures(SPECS[name], 7, 5, 1)[0]
        if precision == "fp32":
            assert same(got, reference)
        else:
            error = np.mean((got.astype(float) - reference) ** 2)
            assert 10 * np.log10(255**2 / max(error, 1e-9)) >= tolerance.rule("c", precision).line.psnr


@pytest.mark.long
@pytest.mark.parametrize("system", ["x86_64-macos", "aarch64-macos"])
def test_it_links_for_systems_that_cannot_be_run(system: str, tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="pip install ziglang")
    folder = write("classic", tmp_path / "c", Options(embed_weights=True))
    sources = ["generator.c", "generator_weights.c", "example.c"]
    subprocess.run([*ZIG, *C99, "-O2", "-target", system, *sources, "-lm", "-o", "example"], cwd=folder, check=True)
    assert (folder / "example").read_bytes()[:2] == b"\xcf\xfa"


@pytest.mark.long
@needs_compiler
def test_every_latent_of_the_table(tmp_path: Path) -> None:
    """All 65,536 entries of the law, as compiled with and without fused arithmetic, on x87 too where zig is here."""
    folder = write("odd", tmp_path / "c")
    (folder / "table.c").write_text(
        '#include "generator.c"\n#include <stdio.h>\n'
        "int main(void) { for (uint32_t u = 0; u < 65536; u++) { const float t = normal(u); fwrite(&t, 4, 1, stdout); }"
        " return 0; }\n"
    )
    commands = [["cc", "-O3", "-march=native"], ["cc", "-O3", "-march=native", "-ffp-contract=fast"], ["cc", "-O0"]]
    if shutil.which("clang"):
        commands.append(["clang", "-O3", "-march=native", "-ffp-contract=fast"])
    try:
        import ziglang  # noqa: F401

        commands.append([*ZIG, "-O2", "-target", "x86-linux-musl", "-mcpu=i586"])
    except ImportError:
        pass
    for command in commands:
        subprocess.run([*command, "table.c", "-lm", "-o", "table"], cwd=folder, check=True)
        table = subprocess.run(["./table"], cwd=folder, check=True, capture_output=True).stdout
        assert table == latents.normal_table().astype("<f4").tobytes(), command


def test_labels_and_latents_are_checked(tmp_path: Path) -> None:
    if not RUNTIME.availability().ok:
        pytest.skip(RUNTIME.availability().reason)
    session = RUNTIME.load(write("labeled", tmp_path / "c"))
    assert isinstance(session, CSession)
    z = np.zeros((2, 4), np.float32)
    for wrong in (None, np.array([0]), np.array([0, 5]), np.array([-1, 0])):
        with pytest.raises(GanExportError, match="label"):
            run_latents(session, z, wrong)
    given = session.draw_bytes(7, 0, 3, np.array([0, 1, 2]))
    assert np.array_equal(given, session.draw_bytes(7, 0, 3))
    assert not np.array_equal(given, session.draw_bytes(7, 0, 3, np.array([4, 4, 4])))
    with pytest.raises(GanExportError, match=r"z of shape \(2, 5\)"):
        run_latents(session, np.zeros((2, 5), np.float32), np.array([0, 1]))
