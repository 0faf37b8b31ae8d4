"""The library's public functions, from the package alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gan_export
from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions, ReadSettings
from tests.conftest import ROOT, Artifacts
from tests.exporters.test_toy import TOY, Toy
from tests.originals import ORIGINALS


def test_a_checkpoint_is_exported_verified_and_sampled(classic_pth: Path, tmp_path: Path) -> None:
    made = gan_export.export(classic_pth, "onnx", tmp_path / "g.onnx", output="bytes")
    assert made.path == tmp_path / "g.onnx"
    assert made.manifest.output == "bytes"
    assert gan_export.verify(made.path).passed
    assert gan_export.verify(made.path, classic_pth).passed
    images = gan_export.sample(made.path, 70, seed=3)
    assert (images.dtype, images.shape) == (np.uint8, (70, 32, 32, 1))
    step = np.abs(images[64:].astype(int) - gan_export.sample(classic_pth, 6, seed=3, start=64))
    assert step.max() <= 1


def test_what_load_returned_is_exported(classic_pth: Path, tmp_path: Path) -> None:
    checkpoint = gan_export.load(classic_pth)
    assert gan_export.export(checkpoint, "native", tmp_path / "g.gan").report is not None
    with pytest.raises(GanExportError, match="target: name the file"):
        gan_export.export(checkpoint, "native")


def test_a_module_of_ones_own_is_exported_by_its_signature(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Toy().train()
    made = gan_export.export(module, "onnx", tmp_path / "g.onnx", signature=TOY)
    assert made.manifest.signature == TOY
    assert module.training, "it is left as it was"
    assert gan_export.verify(made.path, module, signature=TOY).passed
    with torch.no_grad():
        module.line.bias.add_(0.5)
    assert not gan_export.verify(made.path, module, signature=TOY).passed


def test_one_latent_is_the_default_and_its_length_is_found(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(7, 12), nn.Tanh(), nn.Unflatten(1, (3, 2, 2)))
    made = gan_export.export(module, "onnx", tmp_path / "g.onnx")
    assert made.manifest.signature.inputs[0].shape == (7,)
    assert gan_export.sample(made.path, 2).shape == (2, 2, 2, 3)


def test_bad_arguments_are_one_line(classic_pth: Path, tmp_path: Path) -> None:
    target = tmp_path / "g.onnx"
    for call, word in (
        (lambda: gan_export.export(classic_pth, "onnix", target), "onnx"),
        (lambda: gan_export.export(classic_pth, "onnx", target, precison="fp16"), r"did you mean precision\?"),
        (lambda: gan_export.export(classic_pth, "onnx", target, precision=16), "a text is needed"),
        (lambda: gan_export.export(classic_pth, "onnx", target, precision="fp8"), "fp8"),
        (lambda: gan_export.export(classic_pth, "onnx", target, signature=TOY), "only a module of your own"),
        (lambda: gan_export.verify(classic_pth), "is not an export|no exported artifact|isn't an export"),
        (lambda: gan_export.sample(classic_pth, 0), "count=0"),
    ):
        with pytest.raises(GanExportError, match=word) as error:
            call()
        assert "\n" not in str(error.value)
    assert not target.exists()


def test_the_package_offers_what_it_lists_and_imports_nothing_heavy() -> None:
    code = "import sys, gan_export; [getattr(gan_export, n) for n in gan_export.__all__]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_open_takes_any_file_and_gives_one_class(classic_pth: Path, artifacts: Artifacts) -> None:
    wanted = gan_export.sample(classic_pth, 70, seed=3)
    z = latents.draw(3, 0, 5, 100)
    for path in (classic_pth, artifacts["onnx"], artifacts["native"]):
        with gan_export.open(path, threads=1) as generator:
            assert isinstance(generator, gan_export.Generator)
            assert [p.name for p in generator.signature.inputs] == ["z"]
            images = generator.sample(70, seed=3)
            assert (images.dtype, images.shape) == (np.uint8, (70, 32, 32, 1))
            assert np.abs(images.astype(int) - wanted).max() <= 1
            chosen = generator.sample(seed=3, indices=[69, 2])
            assert np.abs(chosen.astype(int) - images[[69, 2]]).max() <= 1
            floats = generator.generate(z)
            assert (floats.dtype, floats.shape) == (np.float32, (5, 1, 32, 32))
            assert np.array_equal(generator.generate(torch.from_numpy(z)[:, :, None, None]), floats)
            assert np.array_equal(generator.run({"z": z})["image"], floats)
            assert np.abs(generator.sample(5, z=z).astype(int) - images[:5]).max() <= 1
            assert path in generator.files or path.resolve() in generator.files


def test_the_engine_s_own_settings_are_keywords(artifacts: Artifacts) -> None:
    with gan_export.open(artifacts["native"], max_memory=1 << 30) as generator:
        assert generator.info.runtime == "native"
        assert generator.sample(2).shape == (2, 32, 32, 1)
    with (
        pytest.raises(GanExportError, match="at most 1000 are allowed"),
        gan_export.open(artifacts["native"], max_memory=1000) as generator,
    ):
        generator.sample(1)
    with pytest.raises(GanExportError, match="max_memory"):
        gan_export.open(artifacts["onnx"], max_memory=1000)


def test_overrides_are_keywords(classic_pth: Path) -> None:
    assert gan_export.load(classic_pth, slope=0.1).spec != gan_export.load(classic_pth).spec
    assert not np.array_equal(gan_export.sample(classic_pth, 1, slope=0.1), gan_export.sample(classic_pth, 1))
    with pytest.raises(GanExportError, match=r"slop.*did you mean slope"):
        gan_export.load(classic_pth, slop=0.1)  # type: ignore[call-arg]
    assert set(ReadSettings.__annotations__) == {f.name for f in dataclasses.fields(ReadOptions)}


def test_an_image_generator_is_applied(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())
    image = gan_export.Port("input", "image", (3, "S", "T"), range=(-1.0, 1.0))
    sizes = {"S": gan_export.Size(4, 4, 512), "T": gan_export.Size(4, 4, 512)}
    signature = gan_export.Signature((image,), (dataclasses.replace(image, name="image"),), sizes)
    made = gan_export.export(module, "onnx", tmp_path / "g.onnx", signature=signature)
    with gan_export.open(made.path) as generator:
        pixels = np.random.default_rng(0).integers(0, 256, (2, 10, 12, 3), np.uint8)
        assert generator.apply(pixels).shape == pixels.shape
        with pytest.raises(GanExportError, match="multiples of 4"):
            generator.apply(pixels, pad=False)
        with pytest.raises(GanExportError, match="no latent"):
            generator.generate(np.zeros((1, 100), np.float32))


def test_what_a_generator_refuses(classic_pth: Path) -> None:
    with gan_export.open(classic_pth) as generator:
        for call, word in (
            (generator.sample, "count"),
            (lambda: generator.sample(2, indices=[1]), "count"),
            (lambda: generator.sample(0), "count=0"),
            (lambda: generator.sample(1, labels=[3]), "labels: this generator has none"),
            (lambda: generator.sample(1, psi=0.5), "psi, mixing and directions need a style-based generator"),
            (lambda: generator.generate(np.zeros((2, 7), np.float32)), "z of shape"),
        ):
            with pytest.raises(GanExportError, match=word):
                call()


def test_errors_have_what_a_program_needs(tmp_path: Path) -> None:
    odd = next(o for o in ORIGINALS if o.name == "mimicry-32").model().state_dict()
    torch.save({**odd, "attention.gamma": torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(gan_export.NotRecognizedError) as refused:
        gan_export.load(tmp_path / "odd.pth")
    assert refused.value.closest == ("mimicry",)


def test_public_names_are_there_and_others_are_not() -> None:
    assert all(hasattr(gan_export, name) for name in gan_export.__all__)
    assert set(gan_export.__all__) <= set(dir(gan_export))
    with pytest.raises(AttributeError, match="Model"):
        gan_export.Model  # noqa: B018
