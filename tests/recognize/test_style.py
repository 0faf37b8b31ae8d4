"""Style-based generators and BigGAN, read from the files that their scripts write, compute what their code computes."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_export import latents
from gan_export.checkpoint import Checkpoint, read
from gan_export.errors import GanExportError
from gan_export.graph.ports import TruncatedNormal, Uniform
from gan_export.graph.torch_module import build_module
from gan_export.recognize import Match, ReadOptions, recognize
from tests.originals.style import (
    STYLE_FAMILIES,
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
from tests.originals.style.containers import nvlabs_pickle, r3gan_pickle, tensorflow_pickle

BOUND = 1e-5  # of the largest value
COUNT = 3
LABELS = torch.tensor([0, 3, 2])


@dataclass(frozen=True)
class Row:
    """A generator, with random parameters and buffers, and the file that it comes in."""

    family: str
    build: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], Path]
    nz: int
    labels: bool = False
    bounded: bool = False


def _pickled(model: nn.Module, path: Path) -> Path:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 1))
    return nvlabs_pickle(path, G=nvlabs.random_everything(copy.deepcopy(model), 9), D=critic, G_ema=model)


def _r3gan(model: nn.Module, path: Path) -> Path:
    return r3gan_pickle(path, G=nvlabs.random_everything(copy.deepcopy(model), 9), G_ema=model)


def _saved(model: nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def _g_ema(model: nn.Module, path: Path) -> Path:
    torch.save({"g": {k: 2 * v for k, v in model.state_dict().items()}, "g_ema": model.state_dict()}, path)
    return path


def _fastgan(model: nn.Module, path: Path) -> Path:
    """As its script saves it: averaged weights in `g`, from data-parallel training."""
    torch.save({"g": {f"module.{k}": v for k, v in model.state_dict().items()}, "d": {}}, path)
    return path


def _averaged(model: nn.Module, path: Path) -> Path:
    """As lightweight-gan's script saves it: three networks in one state dict."""
    raw = {f"G.{k}": torch.zeros_like(v) for k, v in model.state_dict().items()}
    averaged = {f"GE.{k}": v for k, v in model.state_dict().items()}
    networks = {**raw, "D.residual_layers.0.0.weight": torch.ones(4, 3, 3, 3), **averaged}
    torch.save({"GAN": networks, "version": "1.2.1", "G_scaler": {}, "D_scaler": {}}, path)
    return path


def _synthesis(model: nn.Module, path: Path) -> Path:
    torch.save({f"synthesis.{k}": v for k, v in model.state_dict().items()}, path)
    return path


def _module(model: nn.Module, path: Path) -> Path:
    """As Projected GAN's script saves it: modules, pickled whole."""
    assert isinstance(model, fastgan.Generator)
    path.write_bytes(pickle.dumps({"G": fastgan.Snapshot(model), "D": None, "G_ema": fastgan.Snapshot(model)}))
    return path


def _stylegan2(*sizes: Any, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: nvlabs.random_everything(nvlabs.Generator(*sizes, **settings))


def _tensorflow_net(*sizes: Any, **settings: Any) -> Callable[[], nn.Module]:
    """With the filters that its code has, and which no file of it stores."""

    def build() -> nn.Module:
        model = nvlabs.random_everything(nvlabs.Generator(*sizes, clamp=None, **settings))
        taps = torch.tensor([1.0, 3, 3, 1]) / 8
        for name, buffer in model.named_buffers():
            if name.endswith("resample_filter"):
                buffer.copy_(torch.outer(taps, taps))
        return model

    return build


def _tensorflow(model: nn.Module, path: Path) -> Path:
    assert isinstance(model, nvlabs.Generator)
    settings = {"resolution": model.img_resolution, "num_channels": 3, "fmap_max": 512, "resample_kernel": [1, 3, 3, 1]}
    raw = nvlabs.random_everything(copy.deepcopy(model), 9)
    return tensorflow_pickle(path, settings, G=raw, Gs=model)


SMALL, WIDE = [12, 10, 8, 6], [16, 16, 16, 8, 4]
FAST = {4: 8, 8: 8, 16: 6, 32: 4, 64: 4, 128: 3, 256: 2}
BIG = ([32, 32, 16], [32, 16, 8], 12, 6, 5)
PORT = [(False, 16, 8), (True, 8, 4), (False, 4, 2), (True, 2, 1)]  # whether a block doubles the size, widths
ROWS = {
    "skip": Row("stylegan2", _stylegan2(10, 0, 8, SMALL), _pickled, 10),
    "skip-64-clamp": Row("stylegan2", _stylegan2(16, 0, 16, WIDE, clamp=0.7, layers=3), _pickled, 16),
    "skip-labels": Row("stylegan2", _stylegan2(10, 5, 8, SMALL, channels=1), _pickled, 10, labels=True),
    "resnet": Row("stylegan2", _stylegan2(10, 0, 8, SMALL, architecture="resnet", clamp=0.7), _pickled, 10),
    "resnet-256": Row("stylegan2", _stylegan2(10, 0, 8, SMALL, architecture="resnet"), _saved, 10),
    "orig": Row("stylegan2", _stylegan2(10, 5, 8, SMALL, architecture="orig", clamp=None), _pickled, 10, labels=True),
    "no-noise": Row("stylegan2", _stylegan2(10, 0, 8, SMALL, use_noise=False, lr=0.1), _pickled, 10),
    "tensorflow": Row("stylegan2", _tensorflow_net(10, 0, 8, SMALL), _tensorflow, 10),
    "tensorflow-resnet-labels": Row(
        "stylegan2", _tensorflow_net(10, 5, 8, SMALL, architecture="resnet"), _tensorflow, 10, labels=True
    ),
    "state-dict": Row("stylegan2", _stylegan2(10, 0, 8, SMALL), _saved, 10),
    "rosinality": Row(
        "stylegan2_rosinality", lambda: nvlabs.random_everything(rosinality.Rosinality(8, 3, SMALL)), _g_ema, 8
    ),
    "rosinality-64": Row(
        "stylegan2_rosinality", lambda: nvlabs.random_everything(rosinality.Rosinality(16, 2, WIDE)), _g_ema, 16
    ),
    "stylegan3": Row(
        "stylegan3",
        lambda: nvlabs.random_everything(stylegan3.Generator(8, 0, 10, [16, 16, 32, 32], [12, 10, 8, 6])), _pickled, 8,
    ),
    "stylegan3-r-labels": Row(
        "stylegan3",
        lambda: nvlabs.random_everything(
            stylegan3.Generator(8, 5, 10, [16, 32, 32, 64], [12, 12, 8, 4], kernel=1, channels=1, radial=True)
        ),
        _pickled, 8, labels=True,
    ),
    "stylegan-xl": Row(
        "stylegan_xl",
        lambda: nvlabs.random_everything(stylegan_xl.Generator(8, 5, 10, [16, 16, 32, 32], [12, 10, 8, 6], 7)),
        _pickled, 8, labels=True,
    ),
    "stylegan-xl-enlarged": Row(
        "stylegan_xl",
        lambda: nvlabs.random_everything(
            stylegan_xl.SuperresGenerator(8, 5, 10, [16, 16, 32, 32], [12, 10, 8, 6], 7, cut=2)
        ),
        _pickled, 8, labels=True,
    ),
    "stylegan-xl-no-labels": Row(
        "stylegan_xl", lambda: nvlabs.random_everything(stylegan_xl.Generator(8, 0, 10, [16, 32], [10, 6], 7)),
        _pickled, 8,
    ),
    "r3gan": Row(
        "r3gan", lambda: nvlabs.random_everything(r3gan.Generator(8, [16, 16, 12], [4, 4, 3], [2, 1, 2])), _r3gan, 8
    ),
    "r3gan-labels": Row(
        "r3gan", lambda: nvlabs.random_everything(r3gan.Generator(16, [32, 16], [1, 2], [1, 1], 4, 6)), _r3gan, 16,
        labels=True,
    ),
    "r3gan-state-dict": Row(
        "r3gan", lambda: nvlabs.random_everything(r3gan.Generator(8, [16, 12], [4, 3], [1, 2])), _saved, 8
    ),
    "fastgan": Row(
        "fastgan",
        lambda: fastgan.trained_a_little(12, {4: 16, 8: 12, 16: 10, 32: 8, 64: 6}, 64),
        _fastgan, 12,
    ),
    "fastgan-256": Row(
        "fastgan", lambda: fastgan.trained_a_little(9, FAST, 256), _fastgan, 9,
    ),
    "fastgan-projected": Row(
        "fastgan",
        lambda: fastgan.trained_a_little(12, FAST, 128, projected=True), _synthesis, 12,
    ),
    "fastgan-projected-pickle": Row(
        "fastgan", lambda: fastgan.trained_a_little(10, FAST, 128, projected=True), _module, 10,
    ),
    "fastgan-labels": Row(
        "fastgan",
        lambda: fastgan.trained_a_little(12, FAST, 256, projected=True, classes=6), _module, 12, labels=True,
    ),
    "biggan": Row(
        "biggan", lambda: biggan.random_biggan(biggan.BigGAN(*BIG, hier=True, attention=[16])), _saved, 12, True, True
    ),
    "biggan-flat": Row(
        "biggan", lambda: biggan.random_biggan(biggan.BigGAN(*BIG, hier=False, attention=[])), _saved, 12, True, True
    ),
    "biggan-deep": Row(
        "biggan", lambda: biggan.random_biggan(biggan.BigGANDeep(*BIG, attention=[16])), _saved, 12, True, True
    ),
    "lightweight": Row(
        "lightweight_gan",
        lambda: lightweight.random_lightweight(lightweight.Generator(8, [8, 8, 6, 6, 4], [16])), _averaged, 8,
        bounded=True,
    ),
    "lightweight-frequencies": Row(
        "lightweight_gan",
        lambda: lightweight.random_lightweight(lightweight.Generator(6, [6, 4, 4, 3, 3], [8, 32], frequencies=True)),
        _averaged, 6, bounded=True,
    ),
    "lucidrains": Row(
        "stylegan2_lucidrains", lambda: lucidrains.random_lucidrains(lucidrains.Network(10, [8, 8, 6, 4])),
        lucidrains.saved, 10, bounded=True,
    ),
    "lucidrains-attention": Row(
        "stylegan2_lucidrains",
        lambda: lucidrains.random_lucidrains(lucidrains.Network(12, [8, 6, 4], attention=(0, 1), constant=False)),
        lucidrains.saved, 12, bounded=True,
    ),
    "progan": Row("progan", lambda: progan.random_progan(progan.Zoo(12, [8, 6, 4])), progan.zoo_file, 12),
    "progan-fading": Row(
        "progan", lambda: progan.random_progan(progan.Zoo(10, [8, 6], channels=1, alpha=0.3, tanh=True)),
        progan.zoo_file, 10, bounded=True,
    ),
    "progan-akanimax": Row(
        "progan_akanimax", lambda: progan.random_progan(progan.Akanimax(12, [10, 8, 6])), progan.akanimax_file, 12
    ),
    "progan-rosinality": Row(
        "progan_rosinality", lambda: progan.random_progan(progan.Rosinality(12, 5, [10, 8, 6])), _saved, 12, labels=True
    ),
    "biggan-huggingface": Row(
        "biggan_huggingface", lambda: biggan.trained_port(12, 6, 8, PORT, 2), _saved, 12, True, True
    ),
}  # fmt: skip


def inputs(row: Row) -> tuple[Tensor, ...]:
    z = torch.randn(COUNT, row.nz, generator=torch.Generator().manual_seed(4))
    return (z, LABELS) if row.labels else (z,)


def images(checkpoint: Checkpoint, *arguments: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = build_module(checkpoint.spec, checkpoint.weights)(*arguments)
    return out


def expect(got: Tensor, want: Tensor) -> None:
    assert got.shape == want.shape
    assert want.std() > 0.02, "an image that says nothing"
    assert float((got - want).abs().max()) <= BOUND * max(1.0, float(want.abs().max()))


def original(model: nn.Module, *arguments: Any, **named: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(*arguments, **named)
    return out


@pytest.mark.parametrize("name", ROWS)
def test_reads_as_the_original(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    checkpoint = read(row.save(model, tmp_path / "network.pkl"))
    assert checkpoint.arch == row.family
    want = original(model, *inputs(row))
    expect(images(checkpoint, *inputs(row)), want)
    (image,) = checkpoint.signature.outputs
    assert image.shape == want.shape[1:]
    assert image.range == ((-1.0, 1.0) if row.bounded else None)
    assert checkpoint.signature.inputs[0].shape == (row.nz,)
    again = type(checkpoint.spec).from_json(checkpoint.spec.to_json())
    assert again == checkpoint.spec


def test_every_family_has_a_row() -> None:
    assert {row.family for row in ROWS.values()} == set(STYLE_FAMILIES)


def weights_of(match: Match, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The spec's weights out of a state dict, as reading it gives them."""
    made = {p: state[key].numpy() for p, key in match.keys.items()}
    for parameter, derived in match.derived.items():
        made[parameter] = derived.compute(*(state[key].numpy().astype(np.float64) for key in derived.keys))
    return {p: torch.from_numpy(np.array(a, np.float32)) for p, a in made.items()}


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "skip-labels", "resnet-256", "rosinality", "stylegan3", "stylegan-xl", "r3gan-labels", "fastgan", "biggan",
        "biggan-deep", "biggan-huggingface", "lightweight", "lucidrains", "progan", "progan-akanimax",
        "progan-rosinality",
    ],
)  # fmt: skip
def test_each_parameter_changes_the_image_as_in_the_original(name: str, tmp_path: Path) -> None:
    """Those of no effect in the original, such as spectral norm's `sv0`, have none here."""
    row = ROWS[name]
    model = row.build()
    state = dict(model.state_dict())  # the model's own arrays, not copies
    path = tmp_path / "network.pkl"
    match = read(row.save(model, path)).reading
    named_alike = {*match.keys.values(), *(key for d in match.derived.values() for key in d.keys)} <= state.keys()
    ours = (
        build_module(match.spec, {k: v.numpy() for k, v in weights_of(match, state).items()}) if named_alike else None
    )
    arguments = inputs(row)
    before = original(model, *arguments)
    without_effect = []
    for key, array in ((k, v) for k, v in state.items() if v.is_floating_point()):
        kept = array.detach().clone()
        change = 0.1 + 0.2 * torch.rand(kept.shape, generator=torch.Generator().manual_seed(1))
        # a spectral norm's u and v, which are kept, must still fit the weight
        array.copy_(kept + (0.1 if key.endswith("weight_orig") else 1.0) * change)
        want = original(model, *arguments)
        if float((want - before).abs().max()) < 1e-5:
            without_effect.append(key)
        if ours is not None:
            ours.load_state_dict(weights_of(match, state))
            with torch.no_grad():
                got = ours(*arguments)
        else:
            got = images(read(row.save(model, path)), *arguments)
        expect(got, want)
        array.copy_(kept)
    idle = ("sv0", "mapping.w_avg", "b4.resample_filter", "conv1.resample_filter")
    if name == "resnet-256":
        idle = (*idle, "8.resample_filter", "16.resample_filter", "32.resample_filter")  # no image is enlarged
    if name == "lightweight":  # noise is left out, and softmax undoes a bias
        idle = (*idle, *(f"layers.{i}.0.3.weight" for i in range(5)), "to_k.bias")
    if name == "fastgan":  # of sizes that this network doesn't have
        idle = (*idle, *(f"feat_{size}.{i}.weight" for size in (8, 32) for i in (2, 6)))
    if name.startswith("progan"):  # of the earlier stages
        images_of = {"progan": "toRGBLayers.{}.module", "progan-akanimax": "rgb_converters.{}"}.get(name, "to_rgb.{}")
        idle = (*idle, *(f"{images_of.format(i)}.{p}" for i in (0, 1) for p in ("weight", "bias")))
    assert all(key.endswith(idle) for key in without_effect), without_effect


# Truncation, inputs and noise.


@pytest.mark.parametrize("name", ["skip", "skip-labels", "orig", "stylegan3", "stylegan-xl"])
@pytest.mark.parametrize(("psi", "cutoff"), [(0.7, None), (0.3, 3), (0.0, None), (1.2, 8), (0.5, 0)])
def test_truncates_as_the_original(name: str, psi: float, cutoff: int | None, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    path = row.save(model, tmp_path / "network.pkl")
    want = original(model, *inputs(row), psi=psi, cutoff=cutoff) if row.labels else original(
        model, *inputs(row), None, psi, cutoff
    )  # fmt: skip
    expect(images(read(path, ReadOptions(psi=psi, cutoff=cutoff)), *inputs(row)), want)
    if 0 <= psi <= 1:
        checkpoint = read(path, ReadOptions(psi_input=True, cutoff=cutoff))
        assert [p.name for p in checkpoint.signature.inputs][-1] == "psi"
        expect(images(checkpoint, *inputs(row), torch.full((COUNT,), psi)), want)


def test_takes_the_mean_of_w_that_lies_beside_the_weights(tmp_path: Path) -> None:
    model = ROWS["rosinality"].build()
    (z,) = inputs(ROWS["rosinality"])
    mean = torch.randn(8)
    want = original(model, z, 0.6, mean)
    path = tmp_path / "g.pt"
    torch.save({"g_ema": model.state_dict(), "latent_avg": mean}, path)
    expect(images(read(path, ReadOptions(psi=0.6)), z), want)
    inner = {f"decoder.{k}": v for k, v in model.state_dict().items()}
    encoder = {"encoder.input_layer.0.weight": torch.randn(8, 3, 3, 3)}
    torch.save({"state_dict": {**encoder, **inner}, "latent_avg": mean.repeat(8, 1), "opts": {}}, path)
    checkpoint = read(path, ReadOptions(psi=0.6))
    assert checkpoint.source.key == "state_dict.decoder"
    expect(images(checkpoint, z), want)
    torch.save({"g_ema": model.state_dict(), "latent_avg": torch.randn(8, 8)}, path)
    with pytest.raises(GanExportError, match="another mean of w for each layer"):
        read(path, ReadOptions(psi=0.6))


def test_estimates_the_mean_of_w_from_the_law(tmp_path: Path) -> None:
    row = ROWS["rosinality"]
    model = row.build()
    z = torch.from_numpy(latents.draw(0, 0, 4096, row.nz, "normal").copy())
    with torch.no_grad():
        mean = model.mapped(z).mean(0)
    checkpoint = read(row.save(model, tmp_path / "g.pt"), ReadOptions(psi=0.6))
    assert any("estimated from the first 4,096 latents of seed 0" in note for note in checkpoint.reading.notes)
    expect(images(checkpoint, *inputs(row)), original(model, *inputs(row), 0.6, mean))


@pytest.mark.parametrize("name", ["skip", "resnet", "rosinality"])
def test_starts_from_w_and_from_one_w_per_layer(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    path = row.save(model, tmp_path / "network.pkl")
    nw = 8
    with torch.no_grad():
        (z,) = inputs(row)
        one = model.mapped(z)[:, None].repeat(1, nw, 1) if name == "rosinality" else model.mapping(z, None, 1.0, None)
        mixed = one.clone()
        mixed[:, 3:6] = one.flip(0)[:, 3:6]
        stored = [getattr(model.noises, f"noise_{i}") for i in range(nw - 1)] if name == "rosinality" else "const"
        run = model.synthesized if name == "rosinality" else model.synthesis
        expect(images(read(path, ReadOptions(input="w")), one[:, 0]), run(one, stored))
        checkpoint = read(path, ReadOptions(input="ws"))
        assert checkpoint.signature.inputs[0].shape == (nw, model.mapped(z).shape[1] if name == "rosinality" else 8)
        expect(images(checkpoint, mixed), run(mixed, stored))
        assert float((run(mixed, stored) - run(one, stored)).abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["skip", "resnet", "rosinality"])
def test_noise_is_stored_left_out_or_an_input(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    path = row.save(model, tmp_path / "network.pkl")
    checkpoint = read(path, ReadOptions(noise="seed"))
    ports = checkpoint.signature.inputs[1:]
    assert [(p.name, p.kind, p.stream) for p in ports] == [(f"noise{i}", "noise", 16 + i) for i in range(7)]
    feeds = checkpoint.signature.feeds(3, range(COUNT), z=inputs(row)[0].numpy())
    planes = [torch.from_numpy(feeds[p.name].copy()) for p in ports]
    want = original(model, *inputs(row), noises=planes) if name == "rosinality" else original(
        model, *inputs(row), noise=planes
    )  # fmt: skip
    expect(images(checkpoint, *inputs(row), *planes), want)
    none = read(path, ReadOptions(noise="none"))
    zero = [torch.zeros_like(p) for p in planes]
    expect(images(none, *inputs(row)), images(checkpoint, *inputs(row), *zero))


def test_both_convolutions_of_a_block_with_labels_have_noise_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ROWS["fastgan-labels"]
    model = row.build()
    checkpoint = read(row.save(model, tmp_path / "network.pkl"), ReadOptions(noise="seed"))
    z, labels = inputs(row)
    feeds = checkpoint.signature.feeds(3, range(COUNT), z=z.numpy(), label=labels.numpy())
    planes = [torch.from_numpy(feeds[p.name].copy()) for p in checkpoint.signature.inputs[2:]]
    assert [tuple(p.shape[1:]) for p in planes] == [(1, r, r) for r in (8, 16, 32, 64, 128, 256) for _ in range(2)]
    monkeypatch.setattr(fastgan.Noise, "given", iter(planes))
    want = original(model, z, labels)
    expect(images(checkpoint, z, labels, *planes), want)


@pytest.mark.parametrize(
    ("move", "turn"), [((0.2, -0.15), None), (None, 30.0), ((-0.3, 0.25), -100.0), ((0.0, 0.0), None)]
)
def test_moves_and_turns_a_stylegan3_as_the_original(
    move: tuple[float, float] | None, turn: float | None, tmp_path: Path
) -> None:
    row = ROWS["stylegan3"]
    model: Any = row.build()
    path = row.save(model, tmp_path / "network.pkl")
    want = stylegan3.moved(model, *(move or (0.0, 0.0)), turn or 0.0)
    checkpoint = read(path, ReadOptions(translate=move, rotate=turn))
    expect(images(checkpoint, *inputs(row)), original(want, *inputs(row)))
    synthesis = read(path, ReadOptions(part="synthesis", translate=move, rotate=turn))
    ws = original(want.mapping, *inputs(row), None, 1.0, None)
    expect(images(synthesis, ws), original(want.synthesis, ws))


@pytest.mark.parametrize("name", ["skip-labels", "biggan", "r3gan", "stylegan3"])
def test_an_image_does_not_depend_on_its_neighbors(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    checkpoint = read(row.save(row.build(), tmp_path / "network.pkl"))
    together = images(checkpoint, *inputs(row))
    for i in range(COUNT):
        expect(images(checkpoint, *(a[i : i + 1] for a in inputs(row))), together[i : i + 1])


@pytest.mark.parametrize(
    ("name", "flags", "why"),
    [
        ("r3gan", ReadOptions(psi=0.5), "psi=: .*no w to truncate"),
        ("biggan", ReadOptions(input="w"), "input=: .*no choice of inputs"),
        ("no-noise", ReadOptions(noise="none"), "noise=: .*no noise"),
        ("skip", ReadOptions(cutoff=3), "cutoff= goes with psi="),
        ("skip", ReadOptions(psi=0.5, psi_input=True), "either a constant or an input"),
        ("biggan", ReadOptions(psi_input=True), "no w to truncate"),
        ("skip", ReadOptions(psi=float("nan")), "psi=nan: must be"),
        ("skip", ReadOptions(rotate=10.0), "rotate=: .*no Fourier features"),
        ("stylegan3", ReadOptions(translate=(0.1,)), "translate=0.1: must be X,Y"),
        ("stylegan3", ReadOptions(translate=(0.1, float("inf"))), "translate=0.1,inf: must be X,Y"),
        ("stylegan3", ReadOptions(rotate=1e9), "rotate=1000000000.0: must be"),
        ("stylegan3", ReadOptions(part="mapping", rotate=10.0), "rotate=: the mapping has no place"),
        ("stylegan-xl", ReadOptions(input="ws", psi=0.5), "psi=: w has a mean for each class"),
        ("lucidrains", ReadOptions(cutoff=2), "cutoff= goes with psi="),
        ("progan", ReadOptions(psi=0.5), "psi=: .*no w to truncate"),
        ("progan", ReadOptions(output="sigmoid"), "output=: .*no choice of a last activation"),
        ("skip", ReadOptions(slope=0.1), "slope=: .*no hidden activation"),
    ],
)
def test_refuses_options_that_decide_nothing(name: str, flags: ReadOptions, why: str, tmp_path: Path) -> None:
    row = ROWS[name]
    path = row.save(row.build(), tmp_path / "network.pkl")
    with pytest.raises(GanExportError, match=why):
        read(path, flags)


@pytest.mark.parametrize("psi", [0.4, 0.7, 0.53, 0.01, 1.0])
def test_a_port_of_biggan_takes_the_statistics_of_its_truncation(psi: float, tmp_path: Path) -> None:
    row = ROWS["biggan-huggingface"]
    model = row.build()
    row.save(model, tmp_path / "pytorch_model.bin")
    config = {"attention_layer_position": 2, "eps": 1e-4, "layers": PORT, "n_stats": 51}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        checkpoint = read(path, ReadOptions(psi=psi))
        expect(images(checkpoint, *inputs(row)), original(model, *inputs(row), psi))
        assert checkpoint.signature.inputs[0].prior == TruncatedNormal(2.0)
        assert "bn_eps=0.0001" in " ".join(checkpoint.reading.notes)
    (tmp_path / "config.json").write_text(json.dumps({**config, "layers": PORT[::-1]}))
    with pytest.raises(GanExportError, match=r"config\.json says that other blocks"):
        read(tmp_path)
    with pytest.raises(GanExportError, match=r"psi=1\.5: this generator has statistics"):
        read(tmp_path / "pytorch_model.bin", ReadOptions(psi=1.5))


# Files that lie.


def test_the_source_in_a_pickle_is_counted_and_not_run(tmp_path: Path) -> None:
    row = ROWS["skip"]
    model = row.build()
    hostile = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    path = nvlabs_pickle(tmp_path / "network.pkl", source=hostile, G_ema=model)
    checkpoint = read(path)
    assert checkpoint.source.code == ("torch_utils.persistence._reconstruct_persistent_obj",)
    assert (
        f"the file contains {len(hostile):,} characters of source code, which was not run" in checkpoint.reading.notes
    )
    expect(images(checkpoint, *inputs(row)), original(model, *inputs(row)))
    assert not (tmp_path / "ran").exists()


def _layer(model: Any) -> Any:
    return model.synthesis.b8.conv0


LIES: dict[str, tuple[Callable[[Any], object], str]] = {
    "activation": (lambda m: setattr(_layer(m), "activation", "relu"), "b8.conv0 says activation relu"),
    "up": (lambda m: setattr(_layer(m), "up", 1), "b8.conv0 says up 1, its arrays say 2"),
    "use_noise": (lambda m: setattr(_layer(m), "use_noise", False), "says use_noise False"),
    "clamp": (lambda m: setattr(_layer(m), "conv_clamp", "256"), "conv_clamp 256: not a number"),
    "negative clamp": (lambda m: setattr(_layer(m), "conv_clamp", -1.0), "not a limit"),
    "gain": (lambda m: setattr(_layer(m), "act_gain", float("inf")), "act_gain inf: not a number"),
    "a gain of 400 digits": (lambda m: setattr(_layer(m), "act_gain", -(10**400)), "act_gain -inf: not a number"),
    "architecture": (lambda m: setattr(m.synthesis.b16, "architecture", "resnet"), "says architecture resnet"),
    "size": (lambda m: setattr(m, "img_resolution", 64), "says img_resolution 64, its arrays say 32"),
    "z": (lambda m: setattr(m.mapping, "z_dim", 12), "says z_dim 12, its arrays say 10"),
    "labels": (lambda m: setattr(m.mapping, "c_dim", 5), "says c_dim 5, its arrays say 0"),
    "layers": (lambda m: setattr(m.mapping, "num_layers", 1), "says num_layers 1, its arrays say 2"),
    "a module": (lambda m: delattr(m.synthesis.b16, "conv1"), "b16.conv1"),
    "an affine": (lambda m: delattr(_layer(m), "affine"), "b8.conv0.affine"),
}


@pytest.mark.parametrize("lie", LIES)
def test_refuses_a_pickle_whose_settings_contradict_its_arrays(lie: str, tmp_path: Path) -> None:
    model = ROWS["skip"].build()
    change, why = LIES[lie]
    change(model)
    with pytest.raises(GanExportError, match=why):
        read(nvlabs_pickle(tmp_path / "network.pkl", G_ema=model))


@pytest.mark.parametrize("kind", ["Discriminator", "SynthesisLayer2", "x" * 500])
def test_refuses_a_class_that_it_does_not_know(kind: str, tmp_path: Path) -> None:
    model: Any = ROWS["skip"].build()
    for part in (model, model.mapping, model.synthesis.b8, _layer(model), _layer(model).affine):
        with pytest.raises(GanExportError):
            read(nvlabs_pickle(tmp_path / "network.pkl", names={id(part): kind}, G_ema=model))


def test_the_source_in_a_tensorflow_file_is_counted_and_not_run(tmp_path: Path) -> None:
    checkpoint = read(ROWS["tensorflow"].save(ROWS["tensorflow"].build(), tmp_path / "network.pkl"))
    assert checkpoint.source.key == "Gs"
    assert checkpoint.source.code == ("dnnlib.tflib.network.Network",)
    assert any("characters of source code in it were not run" in note for note in checkpoint.reading.notes)


TENSORFLOW_LIES: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], object], str]] = {
    "the first StyleGAN": (
        {},
        lambda v: v.update({"synthesis/4x4/Const/StyleMod/weight": np.ones((8, 8))}),
        "the first StyleGAN",
    ),
    "an unknown variable": ({}, lambda v: v.update({"synthesis/8x8/Blur/w": np.ones(3)}), "Blur/w is no part"),
    "no mean": ({}, lambda v: v.pop("dlatent_avg"), "no mean of w"),
    "no array": ({}, lambda v: v.update({"synthesis/4x4/Conv/bias": "ten"}), "Conv/bias is no array"),
    "a weight of another rank": ({}, lambda v: v.update({"mapping/Dense0/weight": np.ones(3)}), r"weight is \(3,\)"),
    "two constants": ({}, lambda v: v.update({"synthesis/4x4/Const/const": np.ones((2, 12, 4, 4))}), "const is"),
    "a missing layer": ({}, lambda v: v.pop("synthesis/8x8/Conv1/weight"), "b8.conv1"),
    "another activation": ({"nonlinearity": "relu"}, lambda v: None, "nonlinearity relu"),
    "another filter": ({"resample_kernel": [1, 2, 1]}, lambda v: None, "resample_kernel"),
    "another size": ({"resolution": 64}, lambda v: None, "resolution 64, and it is read with 32"),
    "another architecture": ({"architecture": "resnet"}, lambda v: None, "architecture resnet"),
    "an unknown setting": ({"fused_modconv2": True}, lambda v: None, "fused_modconv2 isn't known"),
    "a clamp that is none": ({"conv_clamp": "256"}, lambda v: None, "conv_clamp is no number"),
    "a rate that is none": ({"mapping_lrmul": float("nan")}, lambda v: None, "mapping_lrmul nan"),
}


@pytest.mark.parametrize("lie", TENSORFLOW_LIES)
def test_refuses_a_tensorflow_file_that_is_no_stylegan2(lie: str, tmp_path: Path) -> None:
    settings, change, why = TENSORFLOW_LIES[lie]
    model = ROWS["tensorflow"].build()
    path = tensorflow_pickle(tmp_path / "network.pkl", settings, change, G=model, Gs=model)
    with pytest.raises(GanExportError, match=why):
        read(path)


@pytest.mark.parametrize("name", ["fastgan", "fastgan-projected"])
def test_fastgans_noise_is_an_input_by_choice(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    path = row.save(model, tmp_path / "g.pth")
    plain = read(path)
    assert [p.name for p in plain.signature.inputs] == ["z"]
    assert any(a.option == "noise=" for a in plain.reading.assumed)
    checkpoint = read(path, ReadOptions(noise="seed"))
    feeds = checkpoint.signature.feeds(3, range(COUNT))
    tensors = [torch.from_numpy(feeds[p.name]) for p in checkpoint.signature.inputs]
    fastgan.Noise.given = iter(tensors[1:])
    want = original(model, tensors[0])
    assert next(fastgan.Noise.given, None) is None
    expect(images(checkpoint, *tensors), want)
    with pytest.raises(GanExportError, match="stores no noise"):
        read(path, ReadOptions(noise="const"))


def test_lightweight_gans_noise_is_an_input_by_choice(tmp_path: Path) -> None:
    row = ROWS["lightweight"]
    model = row.build()
    path = row.save(model, tmp_path / "model_1.pt")
    checkpoint = read(path, ReadOptions(noise="seed"))
    planes = [torch.randn(COUNT, *port.dims({})) for port in checkpoint.signature.inputs[1:]]
    lightweight.Noise.given = iter(planes)
    expect(images(checkpoint, *inputs(row), *planes), original(model, *inputs(row)))
    with pytest.raises(GanExportError, match="noise=const: the file stores no noise"):
        read(path, ReadOptions(noise="const"))


def test_lucidrains_noise_is_one_picture_that_each_layer_takes_a_part_of(tmp_path: Path) -> None:
    row = ROWS["lucidrains"]
    model = row.build()
    path = row.save(model, tmp_path / "model_1.pt")
    assert any("without it 0.5, its mean, is added" in note for note in read(path).reading.notes)
    checkpoint = read(path, ReadOptions(noise="seed"))
    (port,) = checkpoint.signature.inputs[1:]
    assert (port.shape, port.prior) == ((1, 32, 32), Uniform(0.0, 1.0))
    plane = torch.rand(COUNT, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    want = original(model, *inputs(row), plane[:, 0].transpose(1, 2)[..., None])
    expect(images(checkpoint, *inputs(row), plane), want)
    with pytest.raises(GanExportError, match="noise=const: the file stores no noise"):
        read(path, ReadOptions(noise="const"))


def test_lucidrains_w_is_truncated_to_an_estimated_mean_and_given_per_block(tmp_path: Path) -> None:
    row = ROWS["lucidrains-attention"]
    model: Any = row.build()
    path = row.save(model, tmp_path / "model_1.pt")
    z = torch.from_numpy(latents.draw(0, 0, 4096, row.nz, "normal").copy())
    mean = original(model.S, z).mean(0)
    w = mean + 0.6 * (original(model.S, *inputs(row)) - mean)
    expect(images(read(path, ReadOptions(psi=0.6)), *inputs(row)), original(model.shown, w[:, None].repeat(1, 3, 1)))
    mixed = torch.randn(COUNT, 3, row.nz, generator=torch.Generator().manual_seed(3))
    expect(images(read(path, ReadOptions(input="ws")), mixed), original(model.shown, mixed))


@pytest.mark.parametrize(("name", "side"), [("progan-akanimax", 8), ("progan-rosinality", 4)])
def test_progan_gives_the_images_of_an_earlier_stage_by_choice(name: str, side: int, tmp_path: Path) -> None:
    row = ROWS[name]
    model = row.build()
    path = row.save(model, tmp_path / "g.pth")
    assert any(a.option == "image_size=" for a in read(path).reading.assumed)
    want = original(model, *inputs(row), side // 8)
    expect(images(read(path, ReadOptions(image_size=side)), *inputs(row)), want)
    with pytest.raises(GanExportError, match="image_size=32: these keys and shapes give"):
        read(path, ReadOptions(image_size=32))


def test_progan_takes_a_label_that_its_config_says(tmp_path: Path) -> None:
    model: Any = ROWS["progan"].build()
    z = inputs(ROWS["progan"])[0][:, :8]
    settings = {"categoryVectorDim": 4, "attribKeysOrder": {"kind": {"order": 0}}}
    checkpoint = read(progan.zoo_file(model, tmp_path / "g.pt", **settings))
    expect(images(checkpoint, z, LABELS), original(model, z, LABELS, 4))
    settings["attribKeysOrder"] = {"kind": {}, "color": {}}
    with pytest.raises(GanExportError, match="latents end in 2 labels"):
        read(progan.zoo_file(model, tmp_path / "g.pt", **settings))


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("progan", {"alpha": float("nan")}, "alpha nan: not a number"),
        ("progan", {"alpha": 10**400}, "alpha inf: not a number"),
        ("progan", {"alpha": 2.0}, "alpha that its code doesn't take"),
        ("progan", {"equalizedlR": 1}, "equalizedlR"),
        ("progan", {"lossCriterion": "x" * 500}, "which its code doesn't have"),
        ("progan", {"lossCriterion": "tanh"}, "lossCriterion tanh, which its code doesn't have"),
        ("progan", {"depthScale0": 512}, "depthScale0 512, its arrays say 8"),
        ("progan", {"depthOtherScales": [1] * 7}, "depthOtherScales 7, its arrays say 2"),
        ("progan", {"dimOutput": "3"}, "dimOutput 3, its arrays say 3"),
        ("progan", {"categoryVectorDim": 12}, "categoryVectorDim 12: not read"),
        ("progan", {"categoryVectorDim": True}, "categoryVectorDim True: not read"),
        ("progan-akanimax", {"use_eql": "no"}, "use_eql that is not true or false"),
        ("progan-akanimax", {"depth": 9}, "depth 9, its arrays say 4"),
    ],
)
def test_refuses_settings_beside_the_weights_that_contradict_them(
    name: str, settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    model: Any = ROWS[name].build()
    save = progan.zoo_file if name == "progan" else progan.akanimax_file
    with pytest.raises(GanExportError, match=why):
        read(save(model, tmp_path / "g.pt", **settings))


SHAPES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "fewer values than 4x4": ("progan", "formatLayer.module.weight", (96, 12)),
    "a bias of another length": ("progan", "toRGBLayers.2.module.bias", (4,)),
    "widths that don't meet": ("progan", "scaleLayers.1.0.module.weight", (4, 7, 3, 3)),
    "an even kernel": ("progan-akanimax", "layers.1.conv_1.weight", (8, 10, 2, 2)),
    "a kernel that is no square": ("progan-rosinality", "progression.1.conv.0.conv.weight_orig", (8, 10, 3, 1)),
    "a share of noise for other channels": ("lucidrains", "blocks.0.to_noise1.weight", (7, 1)),
    "a blur of five": ("lucidrains", "blocks.0.to_rgb.upsample.1.f", (5,)),
    "another constant": ("lucidrains", "initial_block", (1, 8, 5, 5)),
    "a mapping of two widths": ("lucidrains", "S.net.2.weight", (9, 10)),
}


@pytest.mark.parametrize("lie", SHAPES)
def test_refuses_arrays_that_contradict_each_other(lie: str) -> None:
    name, key, shape = SHAPES[lie]
    shapes = {k: tuple(v.shape) for k, v in ROWS[name].build().state_dict().items()}
    shapes = {k.removeprefix("G."): v for k, v in shapes.items()}
    assert key in shapes
    with pytest.raises(GanExportError, match=r"no known architecture|style-based|progressively grown"):
        recognize({**{k.replace("module.", ""): v for k, v in shapes.items()}, key.replace("module.", ""): shape})


def test_fastgan_ends_in_tanh_at_1024_alone(tmp_path: Path) -> None:
    widths = {2**i: 2 for i in range(2, 11)}
    model = fastgan.Generator(4, widths, 1024)
    checkpoint = read(_fastgan(model, tmp_path / "g.pth"))
    assert checkpoint.signature.output("image").shape == (3, 1024, 1024)
    assert checkpoint.signature.output("image").range == (-1.0, 1.0)
    assert checkpoint.spec.layers[-1].name == "tanh"
