"""Style-based generators and BigGAN in the core formats, verified; the formats without their layers refuse by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gan_export
from gan_export import checkpoint, exporters, latents
from gan_export.checkpoint import Checkpoint
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from gan_export.pipeline import publish
from gan_export.recognize.options import ReadOptions
from gan_export.runtimes import RUNTIMES
from tests.exporters.matrix import STYLE
from tests.originals.style import (
    biggan,
    fastgan,
    lightweight,
    lucidrains,
    nvlabs,
    progan,
    r3gan,
    rosinality,
    stylegan3,
    stylegan_xl,
)
from tests.originals.style.containers import nvlabs_pickle


def _state_dict(model: nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def small(family: str, folder: Path, options: ReadOptions | None = None) -> Checkpoint:
    """The family at its smallest size, with random parameters and buffers."""
    path = folder / "network.pkl"
    match family:
        case "stylegan2":
            nvlabs_pickle(path, G_ema=nvlabs.random_everything(nvlabs.Generator(8, 4, 8, [8, 6])))
        case "stylegan2_rosinality":
            _state_dict(nvlabs.random_everything(rosinality.Rosinality(8, 2, [8, 6])), path)
        case "stylegan3":
            net3 = stylegan3.Generator(8, 0, 8, [16, 32], [8, 6])
            nvlabs_pickle(path, G_ema=nvlabs.random_everything(net3))
        case "r3gan":
            _state_dict(nvlabs.random_everything(r3gan.Generator(8, [8, 8], [2, 2], [1, 1])), path)
        case "biggan":
            net = biggan.BigGAN([16, 16], [16, 8], 9, 4, 5, hier=True, attention=[8])
            _state_dict(biggan.random_biggan(net), path)
        case "biggan_huggingface":
            _state_dict(
                biggan.trained_port(8, 4, 8, [(False, 16, 8), (True, 8, 4), (False, 4, 2), (True, 2, 1)], 2), path
            )
        case "lightweight_gan":
            _state_dict(lightweight.random_lightweight(lightweight.Generator(8, [8, 6, 4, 4, 3], [8])), path)
        case "stylegan2_lucidrains":
            _state_dict(lucidrains.random_lucidrains(lucidrains.Network(8, [8, 6])), path)
        case "stylegan_xl":
            net_xl = stylegan_xl.Generator(8, 5, 8, [16, 32], [8, 6], 7)
            nvlabs_pickle(path, G_ema=nvlabs.random_everything(net_xl))
        case "progan":
            progan.zoo_file(progan.random_progan(progan.Zoo(8, [8, 6], alpha=0.3)), path)
        case "progan_akanimax":
            progan.akanimax_file(progan.random_progan(progan.Akanimax(8, [8, 6])), path)
        case "progan_rosinality":
            _state_dict(progan.random_progan(progan.Rosinality(8, 4, [8, 6])), path)
        case "fastgan":
            _state_dict(fastgan.trained_a_little(8, {4: 8, 8: 8, 16: 6, 32: 4, 64: 4}, 64), path)
    read = checkpoint.read(path, options)
    assert read.arch == family
    return read


def verified(read: Checkpoint, format: str, folder: Path) -> publish.ExportResult:
    exporter = exporters.find(format)
    result = publish.export(read, exporter, folder / f"g{exporter.suffix}")
    assert result.report is not None
    assert result.report.passed
    return result


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "format"),
    [(family, format) for family, formats in STYLE.items() for format in formats if format != "native"],
)
def test_a_family_is_verified_in_every_format_of_the_core(family: str, format: str, tmp_path: Path) -> None:
    verified(small(family, tmp_path), format, tmp_path)


@pytest.mark.long
def test_a_net_of_1024_is_read_and_exported_in_bounded_memory(tmp_path: Path) -> None:
    """Its widest layer has 2^23 values, 64 MiB in float64: the usual batch of 65 would need 4 GiB for each."""
    net = nvlabs.random_everything(nvlabs.Generator(16, 0, 16, [8] * 9))
    path = tmp_path / "network.pkl"
    nvlabs_pickle(path, G=net, D=nn.Linear(4, 1), G_ema=net)
    z = torch.from_numpy(latents.draw(5, 0, 1, 16))
    with torch.no_grad(), gan_export.open(path) as g:
        want = net(z).numpy()
        assert g.signature.output("image").shape == (3, 1024, 1024)
        assert np.abs(g.run({"z": z.numpy()})["image"] - want).max() <= 1e-5 * np.abs(want).max()
    largest = peak_of("gan-export", "onnx", path, "-o", tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx").is_file()
    assert largest <= 2.5 * 2**30  # 1.9 GiB were measured


def peak_of(*command: object) -> int:
    """Run a command, and give the resident bytes of its largest process."""
    code = """import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done)"""
    program = Path(sys.executable).with_name(str(command[0]))
    words = [sys.executable, "-c", code, program, *command[1:]]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize(
    "family", ["stylegan2", *(pytest.param(name, marks=pytest.mark.long) for name in ("biggan", "stylegan3"))]
)
def test_onnx_has_no_convolution_with_computed_weights(family: str, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(verified(small(family, tmp_path), "onnx", tmp_path).path)
    stored = {t.name for t in model.graph.initializer}
    convolutions = [n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    assert convolutions
    assert all(node.input[1] in stored for node in convolutions)
    assert not {n.op_type for n in model.graph.node} & {"If", "Loop", "RandomNormal", "RandomNormalLike", "Einsum"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        (ReadOptions(psi_input=True, cutoff=2), ["z", "label", "psi"]),
        (ReadOptions(psi=0.5, input="ws"), ["ws"]),
        (ReadOptions(input="w", noise="none"), ["w"]),
        (ReadOptions(noise="seed"), ["z", "label", "noise0", "noise1", "noise2"]),
    ],
    ids=["psi", "ws", "w", "noise"],
)
def test_onnx_takes_the_inputs_that_were_chosen(options: ReadOptions, inputs: list[str], tmp_path: Path) -> None:
    result = verified(small("stylegan2", tmp_path, options), "onnx", tmp_path)
    assert [p.name for p in result.manifest.signature.inputs] == inputs
    assert result.manifest.overrides() == options
    session = next(r for r in RUNTIMES if r.format == "onnx").load(result.path)
    feeds = result.manifest.signature.feeds(5, range(3))
    assert session.run(feeds)["image"].shape == (3, 3, 8, 8)
    session.close()


@pytest.mark.long
def test_fp16_holds_the_sums_of_large_styles(tmp_path: Path) -> None:
    """The squares of 64 styles of about 25, times those of 3x3 kernels, sum to more than fp16's 65504."""
    from onnx.reference import ReferenceEvaluator  # ONNX Runtime keeps float32 between layers on a CPU

    net = nvlabs.random_everything(nvlabs.Generator(8, 0, 8, [64, 16]))
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("affine.bias") and "torgb" not in name:
                value.add_(24)
            if name.endswith("torgb.weight"):
                value.mul_(0.3)
    nvlabs_pickle(tmp_path / "network.pkl", G_ema=net)
    read = checkpoint.read(tmp_path / "network.pkl", ReadOptions(part="synthesis"))
    shipped = publish.export(read, exporters.find("onnx"), tmp_path / "g.onnx", Options(precision="fp16"))
    feeds = read.signature.feeds(5, range(2))
    (made,) = ReferenceEvaluator(str(shipped.path)).run(None, feeds)
    with torch.no_grad():
        want = net.synthesis(torch.from_numpy(feeds["ws"])).numpy()
    assert np.abs(made - want).max() <= 0.01 * want.std()


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family == "stylegan2" else pytest.mark.long)
        for family, formats in STYLE.items()
        if "native" in formats
    ],
)
def test_the_engine_draws_a_family(family: str, tmp_path: Path) -> None:
    read = small(family, tmp_path)
    result = verified(read, "native", tmp_path)
    feeds = read.signature.feeds(5, range(3))
    with gan_export.open(result.path) as g, gan_export.open(tmp_path / "network.pkl") as reference:
        got, want = g.run(feeds)["image"], reference.run(feeds)["image"]
    assert np.abs(got - want).max() <= 2e-5 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        (ReadOptions(psi_input=True, cutoff=2, noise="seed"), ["z", "label", "psi", "noise0", "noise1", "noise2"]),
        pytest.param(ReadOptions(psi=0.5, input="ws"), ["ws"], marks=pytest.mark.long),
        pytest.param(ReadOptions(input="w", noise="none"), ["w"], marks=pytest.mark.long),
    ],
    ids=["psi", "ws", "w"],
)
def test_the_engine_takes_the_inputs_that_were_chosen(options: ReadOptions, inputs: list[str], tmp_path: Path) -> None:
    result = verified(small("stylegan2", tmp_path, options), "native", tmp_path)
    with gan_export.open(result.path) as g:
        assert [p.name for p in g.signature.inputs] == inputs
        assert g.run(g.signature.feeds(5, range(3)))["image"].shape == (3, 3, 8, 8)


@pytest.mark.parametrize(
    ("family", "format", "why"),
    [
        ("stylegan2", "c", r"layer z_norm \(PixelNorm\); export to onnx"),
        pytest.param("stylegan3", "native", r"layer waves \(FourierFeatures\).*export to onnx", marks=pytest.mark.long),
    ],
)
def test_a_format_without_these_layers_refuses_by_the_layers_name(
    family: str, format: str, why: str, tmp_path: Path
) -> None:
    read = small(family, tmp_path)
    exporter = exporters.find(format)
    with pytest.raises(GanExportError, match=why):
        publish.export(read, exporter, tmp_path / f"g{exporter.suffix}")
    assert not (tmp_path / f"g{exporter.suffix}").exists()
