"""Generators that the programs in embed/ draw from, and Python's pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_export import checkpoint, latents
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.formats.manifest import report_path
from gan_export.runtimes.native import NATIVE, Model
from gan_export.sampling.apply import open_image_generator
from tests.originals import ORIGINALS
from tests.originals.images_in import JunyanzResnet, randomized

from .programs import ALL, COUNT, LABEL, SEED


@pytest.fixture(scope="session")
def files(classic_pth: Path, labeled: checkpoint.Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with g.onnx, g.gan, l.gan (with labels), latents as .npy and .raw, the first as one.raw, and junk."""
    if not NATIVE.availability().ok:
        pytest.skip("the C engine was not built")
    folder = tmp_path_factory.mktemp("embed")
    read = checkpoint.read(classic_pth)
    for name in ("onnx", "native"):
        exporter = find(name)
        exporter.write(read, folder / f"g{exporter.suffix}", Options())
    find("native").write(labeled, folder / "l.gan", Options())
    z = latents.draw(SEED, 0, COUNT, 100)
    np.save(folder / "latents.npy", z)
    z.tofile(folder / "latents.raw")
    z[:1].tofile(folder / "one.raw")
    (folder / "junk").write_bytes(b"no model at all")
    assert not report_path(folder / "g.gan").exists()
    return folder


@pytest.fixture(scope="session")
def want(files: Path) -> np.ndarray:
    """The first COUNT pictures of SEED."""
    with Model(files / "g.gan") as model:
        return model.generate(SEED, COUNT)


@pytest.fixture(scope="session")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.Checkpoint:
    """A generator with 10 labels."""
    known = next(o for o in ORIGINALS if o.name == "embedding-after")
    file = known.save(known.model(known.other_width), tmp_path_factory.mktemp("labeled") / "l.pth")
    return checkpoint.read(file, known.overrides)


@pytest.fixture(scope="session")
def samplers(files: Path, classic_pth: Path, labeled: checkpoint.Checkpoint) -> Path:
    """The folder, with g.sampler.onnx, l.onnx and l.sampler.onnx (with labels) and cut.onnx too."""
    onnx = find("onnx")
    onnx.write(labeled, files / "l.onnx", Options())
    for stem, read in (("g", checkpoint.read(classic_pth)), ("l", labeled)):
        onnx.write(read, files / f"{stem}.sampler.onnx", Options(sampler=True))
    (files / "cut.onnx").write_bytes((files / "g.sampler.onnx").read_bytes()[:100_000])
    return files


@pytest.fixture(scope="session")
def scripts(files: Path, classic_pth: Path, labeled: checkpoint.Checkpoint) -> Path:
    """The folder, with g.pt and g.sampler.pt, l.pt and l.sampler.pt (with labels) and cut.pt too."""
    for stem, read in (("g", checkpoint.read(classic_pth)), ("l", labeled)):
        for name, options in ((f"{stem}.pt", Options()), (f"{stem}.sampler.pt", Options(sampler=True))):
            find("torchscript").write(read, files / name, options)
    (files / "cut.pt").write_bytes((files / "g.sampler.pt").read_bytes()[:100_000])
    return files


@pytest.fixture(scope="session")
def kinds(classic_pth: Path) -> dict[str, tuple[checkpoint.Checkpoint, Options]]:
    """By a file's stem: what its values may be but float32 in [-1, 1]: bytes, in [0, 1], and without bounds."""
    read = checkpoint.read
    return {
        "u": (read(classic_pth), Options(output="bytes")),
        "r": (read(classic_pth, checkpoint.ReadOptions(output="sigmoid", raw=True)), Options()),
        "n": (read(classic_pth, checkpoint.ReadOptions(output="none")), Options()),
    }


@pytest.fixture(scope="session")
def want_kinds(files: Path, kinds: dict[str, tuple[checkpoint.Checkpoint, Options]]) -> dict[str, np.ndarray]:
    """Puts the .onnx file of each kind into the folder; the first COUNT pictures of SEED by the C engine."""
    want = {}
    for stem, (read, options) in kinds.items():
        find("onnx").write(read, files / f"{stem}.onnx", options)
        find("native").write(read, files / f"{stem}.gan", Options())
        with Model(files / f"{stem}.gan") as model:
            want[stem] = model.generate(SEED, COUNT)
    assert np.abs(want["r"].astype(int) - want["u"]).max() > 8
    return want


@pytest.fixture(scope="session")
def want_labels(files: Path) -> dict[int, np.ndarray]:
    """Of the generator with labels: the pictures with random labels (-1), with i mod classes (ALL) and with LABEL."""
    with Model(files / "l.gan") as model:
        labels = {-1: "random", ALL: "all", LABEL: LABEL}
        return {n: model.generate(SEED, COUNT, label=label) for n, label in labels.items()}


@pytest.fixture(scope="session")
def image_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.onnx, t.uint8.onnx and t.gan, a generator of images, and in.png and in.ppm, which it pads."""
    folder = tmp_path_factory.mktemp("images")
    torch.save(randomized(JunyanzResnet(8, 1, "instance")).state_dict(), folder / "t.pth")
    read = checkpoint.read(folder / "t.pth")
    for name, options in (("t.onnx", Options()), ("t.uint8.onnx", Options(output="bytes"))):
        find("onnx").write(read, folder / name, options)
    find("native").write(read, folder / "t.gan", Options())
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8))
    for suffix in (".png", ".ppm"):
        image.save(folder / f"in{suffix}")
    return folder


@pytest.fixture(scope="session")
def want_image(image_files: Path) -> np.ndarray:
    """What Python makes of the image."""
    with Image.open(image_files / "in.png") as image, open_image_generator(image_files / "t.pth") as generator:
        return generator.make(np.asarray(image), 0).pixels
