"""Each family that takes images in the core formats, proven at several sizes and batches; the rest refuse by name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import gan_export
from gan_export import checkpoint, exporters
from gan_export.checkpoint import Checkpoint
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from gan_export.formats import manifest as manifests
from gan_export.pipeline import publish
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes.c_compiler import compiler
from gan_export.sampling import tiles
from gan_export.sampling.apply import open_image_generator
from tests.exporters.matrix import IMAGES_IN
from tests.originals.images_in import JunyanzResnet, JunyanzUnet, Lornatang, Rrdb, Srvgg, randomized

SMALLEST = {
    # With 2 or 4 channels OpenVINO's instance norm rounds by up to 5e-5, more than parity allows; with 8 by 5e-6.
    "junyanz_resnet": lambda: JunyanzResnet(8, 1, "batch", blur_down=True, blur_up=True),
    "junyanz_unet": lambda: JunyanzUnet(2, 5, "batch"),
    "rrdb": lambda: Rrdb(4, 1, 2, unshuffle=2),
    "srvgg": lambda: Srvgg(4, 1, 2),
    "srresnet": lambda: Lornatang(4, 1, 1),
}


def small(family: str, folder: Path, options: ReadOptions | None = None) -> Checkpoint:
    torch.save(randomized(SMALLEST[family]()).state_dict(), folder / "latest_net_G.pth")
    read = checkpoint.read(folder / "latest_net_G.pth", options)
    assert read.arch == family
    return read


def exported(read: Checkpoint, format: str, folder: Path, options: Options | None = None) -> publish.ExportResult:
    exporter = exporters.find(format)
    return publish.export(read, exporter, folder / f"g{exporter.suffix}", options)


@pytest.mark.long
@pytest.mark.parametrize(("family", "format"), [(f, format) for f, formats in IMAGES_IN.items() for format in formats])
def test_a_family_is_proven_at_any_size(family: str, format: str, tmp_path: Path) -> None:
    read = small(family, tmp_path)
    result = exported(read, format, tmp_path)
    assert result.report is not None
    sizes = read.signature.judged_sizes()
    assert [row.batch for row in result.report.rows] == [1, 3, *[2] * (len(sizes) - 1)]
    assert len(sizes) == (2 if read.signature.sizes["H"].least >= 64 else 3)
    assert any(at["H"] != at["W"] for at in sizes)
    found = manifests.read_manifest(result.path, manifests.detect_format(result.path))
    assert found is not None
    assert found.signature == read.signature
    step = read.signature.sizes["H"].multiple
    image = np.random.default_rng(0).integers(
        0, 256, (4 * 64 // step * step, 7 * step, 3), np.uint8
    )  # beyond what was traced
    with open_image_generator(result.path) as generator, open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        made, want = generator.apply(image[None]), eager.apply(image[None])
    assert made.shape == want.shape
    assert np.abs(made.astype(int) - want).max() <= 1


def test_onnx_keeps_both_readings_apart(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 24, 20, 3), np.uint8)
    made = []
    for norm in ("image", "stored"):
        folder = tmp_path / norm
        folder.mkdir()
        read = small("junyanz_resnet", folder, ReadOptions(norm=norm))  # type: ignore[arg-type]
        result = exported(read, "onnx", folder)
        assert result.manifest.overrides().norm == norm
        with open_image_generator(result.path) as generator:
            made.append(generator.apply(image))
    assert (made[0] != made[1]).mean() > 0.1


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.long), "native"])
def test_dropout_by_seed_takes_its_numbers(format: str, tmp_path: Path) -> None:
    torch.save(randomized(JunyanzResnet(2, 2, "batch", dropout=True)).state_dict(), tmp_path / "g.pth")
    read = checkpoint.read(tmp_path / "g.pth", ReadOptions(dropout="seed"))
    result = exported(read, format, tmp_path)
    assert [p.name for p in result.manifest.signature.inputs] == ["input", "dropout0", "dropout1"]
    assert publish.verify(result.path, read).passed
    image = np.random.default_rng(1).integers(0, 256, (2, 16, 20, 3), np.uint8)
    with (
        open_image_generator(result.path, seed=9) as generator,
        open_image_generator(tmp_path / "g.pth", ReadOptions(dropout="seed"), seed=9) as eager,
    ):
        assert np.abs(generator.apply(image).astype(int) - eager.apply(image)).max() <= 1


def test_c_draws_the_dropout_of_a_seed_and_an_index(tmp_path: Path) -> None:
    torch.save(randomized(JunyanzResnet(2, 2, "batch", dropout=True)).state_dict(), tmp_path / "g.pth")
    options = ReadOptions(dropout="seed", size="16x20")
    folder = exported(checkpoint.read(tmp_path / "g.pth", options), "c", tmp_path).path
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 20, 3), np.uint8)
    with (
        open_image_generator(folder, seed=2**64 - 1) as generator,
        open_image_generator(tmp_path / "g.pth", options, seed=2**64 - 1) as eager,
    ):
        want = eager.apply(images, start=3)
        assert np.abs(generator.apply(images, start=3).astype(int) - want).max() <= 1
    _build_example(folder)
    (tmp_path / "before.ppm").write_bytes(b"P6\n20 16\n255\n" + images[1].tobytes())
    files = ["generator.weights", tmp_path / "before.ppm", tmp_path / "after.ppm"]
    subprocess.run(["./example", *files, str(2**64 - 1), "4"], cwd=folder, check=True)
    made = np.frombuffer((tmp_path / "after.ppm").read_bytes().removeprefix(b"P6\n20 16\n255\n"), np.uint8)
    assert np.abs(made.reshape(16, 20, 3).astype(int) - want[1]).max() <= 1


def _build_example(folder: Path, *more: str) -> None:
    sources = ["generator.c", *more, "example.c"]
    subprocess.run(
        [*compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", *sources, "-lm", "-o", "example"],
        cwd=folder, check=True,
    )  # fmt: skip


@pytest.mark.long
def test_a_fixed_size_is_recorded_and_verified(tmp_path: Path) -> None:
    read = small("srvgg", tmp_path, ReadOptions(size="16x24"))
    result = exported(read, "torchscript", tmp_path)
    assert result.manifest.signature.inputs[0].shape == (3, 16, 24)
    assert publish.recorded_options(result.path).size == "16x24"
    assert publish.verify(result.path, read).passed
    assert publish.verify(result.path).passed


@pytest.mark.parametrize("family", ["srvgg", pytest.param("rrdb", marks=pytest.mark.long)])
def test_ncnn_has_the_names_that_upscalers_programs_use(family: str, tmp_path: Path) -> None:
    ncnn = pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    read = small(family, tmp_path)
    result = exported(read, "ncnn", tmp_path)
    assert result.report is not None
    assert len(result.report.rows) == 4  # two batches, and two more sizes
    net = ncnn.Net()
    net.load_param(str(result.path))
    assert (net.input_names(), net.output_names()) == (["data"], ["output"])
    image = np.random.default_rng(0).integers(0, 256, (130, 34, 3), np.uint8)
    with open_image_generator(result.path) as generator, open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        assert np.abs(generator.apply(image[None]).astype(int) - eager.apply(image[None])).max() <= 1


def test_native_of_an_upscaler(tmp_path: Path) -> None:
    read = small("srvgg", tmp_path)
    result = exported(read, "native", tmp_path)
    assert publish.verify(result.path).passed
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    with open_image_generator(result.path) as generator, open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        assert np.abs(generator.apply(image).astype(int) - eager.apply(image)).max() <= 1
    with open_image_generator(result.path) as generator:  # the engine states what it needs: more than an estimate
        needed = generator.session.memory(96, 96)  # type: ignore[attr-defined]
        assert generator.reach is not None
        assert needed > 1.2 * tiles.estimated(generator.reach).of(96, 96)
    with open_image_generator(result.path, tiling=tiles.Tiling(max_memory=needed)) as generator:
        made = generator.make(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8), 0)
        assert made.seams is not None
        assert made.seams.tiles > 1
    with (
        gan_export.open(result.path) as generator,
        pytest.raises(GanExportError, match="takes input, no latent; use gan-sample apply"),
    ):
        generator.sample(1)


def test_c_needs_a_fixed_size(tmp_path: Path) -> None:
    read = small("srvgg", tmp_path)
    with pytest.raises(GanExportError, match="images of any size; c needs one: size=HEIGHTxWIDTH"):
        exported(read, "c", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest_net_G.pth"]


@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("srvgg", (9, 14)),
        *(
            pytest.param(family, size, marks=pytest.mark.long)
            for family, size in (
                ("rrdb", (8, 12)), ("junyanz_resnet", (20, 24)), ("junyanz_unet", (32, 64)), ("srresnet", (9, 7)),
            )
        ),
    ],
)  # fmt: skip
def test_c_of_a_fixed_size(family: str, size: tuple[int, int], tmp_path: Path) -> None:
    height, width = size
    read = small(family, tmp_path, ReadOptions(size=f"{height}x{width}"))
    result = exported(read, "c", tmp_path)
    assert result.report is not None
    assert result.report.passed
    image = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    with open_image_generator(result.path) as generator, open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        assert np.abs(generator.apply(image).astype(int) - eager.apply(image)).max() <= 1


@pytest.mark.parametrize("embed", [False, True])
def test_the_example_of_c_puts_an_image_through(embed: bool, tmp_path: Path) -> None:
    read = small("srvgg", tmp_path, ReadOptions(size="6x10"))
    folder = exported(read, "c", tmp_path, Options(embed_weights=embed)).path
    image = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    (tmp_path / "before.ppm").write_bytes(b"P6\n10 6\n255\n" + image.tobytes())
    _build_example(folder, *(["generator_weights.c"] if embed else []))
    files = [*([] if embed else ["generator.weights"]), tmp_path / "before.ppm", tmp_path / "after.ppm"]
    subprocess.run(["./example", *files], cwd=folder, check=True)
    made = np.frombuffer((tmp_path / "after.ppm").read_bytes().removeprefix(b"P6\n20 12\n255\n"), np.uint8)
    with open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        assert np.abs(made.reshape(12, 20, 3).astype(int) - eager.apply(image[None])[0]).max() <= 1


@pytest.mark.parametrize("format", ["onnx", pytest.param("torchscript", marks=pytest.mark.long)])
def test_bytes_go_in_and_come_out(format: str, tmp_path: Path) -> None:
    read = small("srvgg", tmp_path)
    result = exported(read, format, tmp_path, Options(output="bytes"))
    assert publish.verify(result.path).passed
    signature = result.manifest.file_signature()
    ports = [(p.name, p.dtype, p.shape) for p in signature]
    assert ports == [("input", "uint8", ("H", "W", 3)), ("image", "uint8", ("H*2", "W*2", 3))]
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    with open_image_generator(result.path) as generator, open_image_generator(tmp_path / "latest_net_G.pth") as eager:
        assert np.abs(generator.apply(image).astype(int) - eager.apply(image)).max() <= 1
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(result.path, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {"input": image})
        assert (made.dtype, made.shape) == (np.uint8, (2, 18, 28, 3))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (Options(precision="fp16"), "precision=fp16 doesn't support"),
        (Options(precision="int8"), "precision=int8 doesn't support"),
        (Options(static=2), "add size=HxW"),
        (Options(sampler=True), "sampler=True takes only one from a latent z"),
    ],
    ids=["fp16", "int8", "static", "sampler"],
)
def test_onnx_refuses_what_it_cannot_do_with_images(options: Options, why: str, tmp_path: Path) -> None:
    read = small("srvgg", tmp_path)
    with pytest.raises(GanExportError, match=why):
        exported(read, "onnx", tmp_path, options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest_net_G.pth"]
