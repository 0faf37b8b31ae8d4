"""Styles by flags and by keywords: truncation, mixing, directions and own ws give what the original computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gan_export
from gan_export import images, latents
from gan_export.errors import GanExportError
from gan_export.sampling import interpolate
from tests.conftest import Command, refused
from tests.originals.style import nvlabs, r3gan, rosinality
from tests.originals.style.containers import nvlabs_pickle

NZ, WIDTH, ROWS = 12, 8, 6


@pytest.fixture(scope="module")
def plain() -> Any:
    return nvlabs.random_everything(nvlabs.Generator(NZ, 0, WIDTH, [10, 8, 6]))


@pytest.fixture(scope="module")
def labeled() -> Any:
    return nvlabs.random_everything(nvlabs.Generator(NZ, 4, WIDTH, [10, 8, 6]))


@pytest.fixture(scope="module")
def folder(plain: nn.Module, labeled: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("styles")
    nvlabs_pickle(made / "plain.pkl", G=plain, G_ema=plain)
    torch.save(plain.state_dict(), made / "plain.pth")
    nvlabs_pickle(made / "labeled.pkl", G=labeled, G_ema=labeled)
    return made


def law(seed: int, count: int) -> Tensor:
    return torch.from_numpy(latents.draw(seed, 0, count, NZ))


def numpys(*seeds: int) -> Tensor:
    return torch.from_numpy(np.concatenate([np.random.RandomState(s).randn(1, NZ) for s in seeds])).float()


def shown(model: Any, ws: Tensor) -> np.ndarray:
    with torch.no_grad():
        return images.to_bytes(model.synthesis(ws).numpy())


def mapped(model: Any, z: Tensor, psi: float = 1.0, label: int | None = None, cutoff: int | None = None) -> Tensor:
    with torch.no_grad():
        labels = None if label is None else torch.full((len(z),), label)
        made: Tensor = model.mapping(z, labels, psi, cutoff)
    return made


def same(got: np.ndarray, want: np.ndarray) -> bool:
    assert want.std() > 20, "images that say nothing"
    return got.shape == want.shape and int(np.abs(got.astype(int) - want).max()) <= 1


def sampled(command: Command, *arguments: object) -> np.ndarray:
    out = Path(str(arguments[0])).with_name("out.npy")
    result = command("gan-sample", *arguments, "-o", out)
    assert result.code == 0, result
    made: np.ndarray = np.load(out)
    return made


def mix_of(ws: Tensor, other: Tensor, first: int, last: int) -> Tensor:
    made = ws.clone()
    made[:, first : last + 1] = other[:, first : last + 1]
    return made


def test_psi_and_numpys_seeds_give_the_images_of_nvlabs_scripts(command: Command, folder: Path, plain: Any) -> None:
    got = sampled(command, folder / "plain.pkl", "--rng", "numpy", "--seeds", "0-2,85", "--psi", 0.7)
    assert same(got, shown(plain, mapped(plain, numpys(0, 1, 2, 85), 0.7)))


def test_mixing_gives_layers_the_w_of_another_seed(command: Command, folder: Path, plain: Any) -> None:
    want = mix_of(mapped(plain, law(5, 3), 0.6), mapped(plain, law(12, 1), 0.6), 2, 4)
    arguments = (folder / "plain.pkl", "--seed", 5, "-n", 3, "--psi", 0.6, "--mix", "2-4:12")
    assert same(sampled(command, *arguments), shown(plain, want))
    numpy = mix_of(mapped(plain, numpys(5, 9)), mapped(plain, numpys(12)), 5, 5)
    got = sampled(command, folder / "plain.pkl", "--rng", "numpy", "--seeds", "5,9", "--mix", "5:12")
    assert same(got, shown(plain, numpy))


@pytest.mark.long
def test_a_class_goes_into_both_styles_of_a_mix(command: Command, folder: Path, labeled: Any) -> None:
    want = mix_of(mapped(labeled, law(5, 2), label=3), mapped(labeled, law(7, 1), label=3), 0, 1)
    got = sampled(command, folder / "labeled.pkl", "--seed", 5, "-n", 2, "--class", 3, "--mix", "0-1:7")
    assert same(got, shown(labeled, want))


def test_a_direction_is_added_to_w(command: Command, folder: Path, plain: Any) -> None:
    one, each = np.random.RandomState(0).randn(WIDTH), np.random.RandomState(1).randn(1, ROWS, WIDTH)
    np.save(folder / "d.npy", one)
    np.save(folder / "each.npy", each)
    for name, step in (("d.npy", one), ("each.npy", each)):
        want = mapped(plain, law(5, 2)) + 2.5 * torch.from_numpy(step).float()
        arguments = (folder / "plain.pkl", "--seed", 5, "-n", 2, "--direction", folder / name, "--by", 2.5)
        assert same(sampled(command, *arguments), shown(plain, want))


@pytest.mark.long
def test_a_projected_w_is_used_as_it_is(command: Command, folder: Path, plain: Any, labeled: Any) -> None:
    ws = np.random.RandomState(3).randn(1, ROWS, WIDTH).astype(np.float32)
    np.savez(folder / "projected_w.npz", w=ws)
    np.save(folder / "d.npy", np.arange(WIDTH) / 10)
    file, own = folder / "plain.pkl", ("--latents", folder / "projected_w.npz")
    assert same(sampled(command, file, *own), shown(plain, torch.from_numpy(ws)))
    assert same(sampled(command, folder / "labeled.pkl", *own), shown(labeled, torch.from_numpy(ws)))
    mixed = mix_of(torch.from_numpy(ws), mapped(labeled, law(4, 1), label=0), 1, 2)  # of image 0, whose label is 0
    assert same(sampled(command, folder / "labeled.pkl", *own, "--mix", "1-2:4"), shown(labeled, mixed))
    moved = torch.from_numpy(ws) + torch.arange(WIDTH) / 5
    assert same(sampled(command, file, *own, "--direction", folder / "d.npy", "--by", 2), shown(plain, moved))
    mixed = mix_of(torch.from_numpy(ws), mapped(plain, law(4, 1)), 1, 2)
    assert same(sampled(command, file, *own, "--mix", "1-2:4"), shown(plain, mixed))
    np.save(folder / "z.npy", law(8, 2).numpy())
    z = mix_of(mapped(plain, law(8, 2)), mapped(plain, law(4, 1)), 1, 2)
    assert same(sampled(command, file, "--latents", folder / "z.npy", "--mix", "1-2:4"), shown(plain, z))
    w = mapped(plain, law(8, 2))[:, 0].numpy()
    np.save(folder / "w.npy", w)
    repeated = torch.from_numpy(w)[:, None].repeat(1, ROWS, 1)
    assert same(sampled(command, file, "--input", "w", "--latents", folder / "w.npy"), shown(plain, repeated))


@pytest.mark.long
def test_several_psis_are_a_sheet_with_a_column_each(command: Command, folder: Path, plain: Any) -> None:
    psis = (0.0, 0.5, 1.0)
    want = np.stack([shown(plain, mapped(plain, law(6, 2), psi, cutoff=4)) for psi in psis], 1).reshape(6, 16, 16, 3)
    arguments = (folder / "plain.pkl", "--seed", 6, "-n", 2, "--psi", "0,0.5,1", "--cutoff", 4)
    assert same(sampled(command, *arguments), want)
    assert command("gan-sample", *arguments, "-o", folder / "sheet.png").code == 0
    from PIL import Image

    sheet = np.asarray(Image.open(folder / "sheet.png"))
    assert same(sheet, images.grid(want, 3))


def test_keywords_do_the_same(folder: Path, plain: Any, labeled: Any) -> None:
    step = np.random.RandomState(0).randn(WIDTH)
    with gan_export.open(folder / "plain.pkl") as generator:
        want = mix_of(mapped(plain, law(85, 3), 0.7), mapped(plain, law(12, 1), 0.7), 2, 3)
        want += 0.5 * torch.from_numpy(step).float()
        assert same(generator.sample(3, seed=85, psi=0.7, mix="2-3:12", direction=step, by=0.5), shown(plain, want))
        apart = torch.cat([mapped(plain, numpys(s), psi) for s, psi in ((0, 0.3), (85, 0.9))])
        assert same(generator.sample(indices=[0, 85], rng="numpy", psi=[0.3, 0.9]), shown(plain, apart))
        assert same(generator.sample(2, seed=3), shown(plain, mapped(plain, law(3, 2))))
    with gan_export.open(folder / "labeled.pkl", latent_scale=0.5) as generator:
        want = mapped(labeled, law(3, 2) * 0.5, 0.4, label=1, cutoff=3)
        assert same(generator.sample(2, seed=3, labels=1, psi=0.4, cutoff=3), shown(labeled, want))


@pytest.mark.long
def test_an_estimated_mean_of_w_serves_too(tmp_path: Path) -> None:
    model = nvlabs.random_everything(rosinality.Rosinality(WIDTH, 2, [10, 8, 6]))
    torch.save({"g_ema": model.state_dict()}, tmp_path / "g.pt")
    with gan_export.open(tmp_path / "g.pt") as asked, gan_export.open(tmp_path / "g.pt", psi=0.5) as folded:
        assert same(asked.sample(2, seed=3, psi=0.5), folded.sample(2, seed=3))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--mix", "4-6:12"], "has the layers 0 to 5"),
        (["--mix", "4"], "layers and a seed, such as 4-7:12"),
        (["--mix", "4-2:1"], "layers and a seed"),
        (["--mix", "1:99999999999999999999"], "layers and a seed"),
        (["--mix", "1:4294967296", "--rng", "numpy"], "0 to 2^32-1"),
        (["--psi", "0,x"], "--psi 0,x: a number"),
        (["--psi", "nan"], "--psi nan: a number"),
        (["--cutoff", "2"], "--psi"),
        (["--by", "2"], "--direction"),
        (["--direction", "{long}"], r"must be (8,) or (6, 8)"),
        (["--direction", "{text}"], "contains no array"),
        (["--latents", "{long}"], "must be float (N, 12)"),
        (["--latents", "{ws}", "--psi", "0.5"], "used as it is"),
        (["--latents", "{two}"], "none called w"),
        (["--seeds", "85"], "add that"),
    ],
)
def test_refuses_what_it_cant_do(command: Command, folder: Path, tmp_path: Path, flags: list[str], why: str) -> None:
    np.save(tmp_path / "long.npy", np.zeros(9))
    np.save(tmp_path / "ws.npy", np.zeros((1, ROWS, WIDTH), np.float32))
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    (tmp_path / "text.npy").write_bytes(b"\x93NUMPY\x01\x00text")
    paths = {name.partition(".")[0]: tmp_path / name for name in ("long.npy", "ws.npy", "two.npz", "text.npy")}
    given = [flag.format(**paths) for flag in flags]
    assert why in refused(command("gan-sample", folder / "plain.pth", *given, "-o", tmp_path / "x.png"))
    assert not (tmp_path / "x.png").exists()


@pytest.mark.long
def test_other_generators_have_no_styles(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    model = nvlabs.random_everything(r3gan.Generator(8, [8, 8], [2, 2], [1, 1]))
    torch.save(model.state_dict(), tmp_path / "r3gan.pth")
    for file in (classic_pth, tmp_path / "r3gan.pth"):
        line = refused(command("gan-sample", file, "--mix", "0:1", "-o", tmp_path / "x.png"))
        assert "no two parts, from z to w and from w to an image" in line
        with gan_export.open(file) as generator, pytest.raises(GanExportError, match="need a style-based generator"):
            generator.sample(1, mix="0:1")


@pytest.mark.parametrize("name", ["plain", pytest.param("labeled", marks=pytest.mark.long)])
def test_a_walk_in_w_goes_straight_there(folder: Path, name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    label = 1 if name == "labeled" else None
    with gan_export.open(folder / f"{name}.pkl", psi=0.8) as generator:
        chosen: Any = "all" if label is None else label
        film = list(interpolate.frames(generator, seed=4, stops=2, space="w", label=chosen))
    a, b = mapped(model, law(4, 2), 0.8, label)
    want = [shown(model, (a + t / 16 * (b - a))[None]) for t in range(16)]
    want += [shown(model, (b + t / 16 * (a - b))[None]) for t in range(16)]
    assert same(np.stack(film), np.concatenate(want))


@pytest.mark.long
def test_a_walk_in_w_is_written(command: Command, folder: Path, classic_pth: Path) -> None:
    out = folder / "w.webp"
    flags = ("--keypoints", 2, "-n", 2, "-o", out)
    result = command("gan-sample", "interpolate", folder / "plain.pkl", "--space", "w", *flags)
    assert result.code == 0, result
    assert out.is_file()
    line = refused(command("gan-sample", "interpolate", classic_pth, "--space", "w", *flags))
    assert "style-based" in line
    assert "z or w" in refused(command("gan-sample", "interpolate", classic_pth, "--space", "x", *flags))


@pytest.mark.long
def test_two_files_are_as_one(command: Command, folder: Path, labeled: Any, tmp_path: Path) -> None:
    """The synthesis finds its mapping beside it; the file is read for `verify` as it was for the export."""
    result = command(
        "gan-export",
        "onnx",
        folder / "labeled.pkl",
        "--split",
        "--psi-input",
        "--noise",
        "none",
        "-o",
        tmp_path / "g.onnx",
    )
    assert result.code == 0, result
    names = {p.name for p in tmp_path.iterdir() if p.suffix == ".onnx"}
    assert names == {"g.mapping.onnx", "g.synthesis.onnx"}
    want = mix_of(mapped(labeled, law(5, 2), 0.6, 3), mapped(labeled, law(7, 1), 0.6, 3), 0, 1)
    with torch.no_grad():
        shown_without = images.to_bytes(labeled.synthesis(want, "none").numpy())
    file = tmp_path / "g.synthesis.onnx"
    got = sampled(command, file, "--seed", 5, "-n", 2, "--label", 3, "--psi", 0.6, "--mix", "0-1:7")
    assert same(got, shown_without)
    assert command("gan-export", "verify", file, folder / "labeled.pkl").code == 0
    assert "no image" in refused(command("gan-sample", tmp_path / "g.mapping.onnx", "-o", tmp_path / "x.png"))
    (tmp_path / "g.mapping.onnx").unlink()
    line = refused(command("gan-sample", file, "-o", tmp_path / "x.png"))
    assert "put its mapping beside it" in line


@pytest.mark.long
def test_a_page_is_made_of_two_files_and_of_exported_ones(
    command: Command, folder: Path, labeled: Any, tmp_path: Path
) -> None:
    flags = ("--psi-input", "--cutoff", 4)
    assert command("gan-export", "web", folder / "labeled.pkl", *flags, "-o", tmp_path / "site").code == 0
    file = tmp_path / "g.synthesis.gan"  # as native --split names them
    shutil.copyfile(tmp_path / "site" / "generator.gan", file)
    shutil.copyfile(tmp_path / "site" / "mapping.gan", tmp_path / "g.mapping.gan")
    want = mix_of(mapped(labeled, law(5, 2), 0.6, 3, 4), mapped(labeled, law(7, 1), 0.6, 3, 4), 0, 1)
    got = sampled(command, file, "--seed", 5, "-n", 2, "--label", 3, "--psi", 0.6, "--mix", "0-1:7")
    assert same(got, shown(labeled, want))
    assert command("gan-export", "web", file, "-o", tmp_path / "again").code == 0
    for site in ("site", "again"):
        listed = json.loads((tmp_path / site / "site.json").read_text())
        assert listed == {"generator": "generator.gan", "mapping": "mapping.gan"}
    assert (tmp_path / "again" / "mapping.gan").read_bytes() == (tmp_path / "g.mapping.gan").read_bytes()
    assert "no image" in refused(command("gan-export", "web", tmp_path / "g.mapping.gan", "-o", tmp_path / "x"))
    (tmp_path / "g.mapping.gan").unlink()
    for of in ((file,), (folder / "plain.pth", "--input", "w")):
        assert "which a page can't draw from a seed" in refused(command("gan-export", "web", *of, "-o", tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--split", "--input", "w"], "leave --input and --part out"),
        (["--split", "--sampler"], "--sampler and --split"),
        (["--part", "mapping", "--noise", "none"], "the mapping has no place for it"),
        (["--part", "synthesis", "--psi", "0.5"], "the synthesis has no place for it"),
        (["--input", "w", "--precision", "int8"], "starts from w: int8 is calibrated with random inputs"),
    ],
)
def test_refuses_parts_that_are_none(
    command: Command, folder: Path, tmp_path: Path, flags: list[str], why: str
) -> None:
    assert why in refused(command("gan-export", "onnx", folder / "plain.pth", *flags, "-o", tmp_path / "g.onnx"))
    assert not list(tmp_path.iterdir())
