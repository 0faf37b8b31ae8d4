"""Files that draw from a seed by themselves: the law's latents to the bit, or a refusal, in each runtime."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from gan_export import checkpoint, exporters, images, latents
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options, write
from gan_export.exporters.onnx.sampler import ALL, RANDOM, REFUSAL
from gan_export.pipeline import publish
from gan_export.runtimes import find
from gan_export.runtimes.builtin_sampler import SamplerSession
from tests.conftest import ROOT, Command, refused
from tests.exporters.test_sampler_graph import NARROW, NEVER, WIDE, bits
from tests.originals import ORIGINALS


def sampler(original: str, folder: Path, exporter: str = "onnx") -> Path:
    """An original's sampler, narrow."""
    known = next(o for o in ORIGINALS if o.name == original)
    file = known.save(known.model(known.other_width), folder / f"model{known.suffix}")
    path = folder / f"g.sampler{exporters.find(exporter).suffix}"
    write(exporters.find(exporter), checkpoint.read(file, known.overrides), path, Options(sampler=True))
    return path


@pytest.fixture(scope="session")
def plain(classic_pth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classic generator's, shipped."""
    target = tmp_path_factory.mktemp("sampler") / "g.sampler.onnx"
    return publish.export(checkpoint.read(classic_pth), exporters.find("onnx"), target, Options(sampler=True)).path


def test_plain_onnxruntime_draws_the_modules_pictures(classic: nn.Module, plain: Path) -> None:
    session = onnxruntime.InferenceSession(str(plain), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
        (name, [], "tensor(int64)") for name in ("seed", "start", "count")
    ]
    assert [(o.name, o.shape, o.type) for o in session.get_outputs()] == [
        ("image", ["count", 32, 32, 1], "tensor(uint8)")
    ]
    (got,) = session.run(None, {"seed": np.array(7), "start": np.array(100), "count": np.array(40)})
    with torch.no_grad():
        wanted = images.to_bytes(classic(torch.from_numpy(latents.draw(7, 100, 40, 100))[:, :, None, None]).numpy())
    assert wanted.std() > 20
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert (got != wanted).mean() <= 1e-4
    (one,) = session.run(None, {"seed": np.array(7), "start": np.array(117), "count": np.array(1)})
    assert np.abs(one[0].astype(int) - wanted[17]).max() <= 1


def test_the_lines_in_the_documentation_draw_with_it(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "latent-rng.md").read_text()
    (lines,) = (block.split("```")[0] for block in page.split("```python\n")[1:] if "g.sampler.onnx" in block)
    monkeypatch.chdir(plain.parent)
    names: dict[str, np.ndarray] = {}
    exec(lines, names)
    assert names["pictures"].shape == (16, 32, 32, 1)
    session = find("onnxruntime").load(plain)
    assert isinstance(session, SamplerSession)
    assert np.array_equal(names["pictures"], session.draw_bytes(7, 0, 16))
    session.close()
    assert REFUSAL in page


@pytest.mark.parametrize("method", [pytest.param("trace", marks=pytest.mark.long), "script"])
@pytest.mark.long
def test_torchscript_draws_the_same_from_a_seed(method: str, classic_pth: Path, tmp_path: Path) -> None:
    exporter = exporters.find("torchscript")
    shipped = publish.export(
        checkpoint.read(classic_pth), exporter, tmp_path / "g.pt", Options(method=method, sampler=True)
    )
    program = (
        "import sys, torch; module = torch.jit.load(sys.argv[1]); torch.save(module(7, 100, 5), 'image.pt')\n"
        f"for i, spot in enumerate({NARROW + WIDE}): torch.save(module.latents(*spot), f'{{i}}.pt')\n"
        f"for spot in {[s for s in NEVER if s[0] != -(2**63)]}:\n"
        "    try: module(*spot)\n"
        "    except torch.jit.Error as e: assert 'is_out_of_range' in str(e)\n"
        "    else: raise SystemExit(f'drew {spot}')\n"
        "assert not any(name.startswith('gan_export') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(shipped.path)], cwd=tmp_path, check=True)
    for i, (seed, start, count) in enumerate(NARROW + WIDE):
        z = torch.load(tmp_path / f"{i}.pt").numpy()
        assert np.array_equal(bits(z), bits(latents.draw(seed, start, count, 100))), (seed, start)
    image = torch.load(tmp_path / "image.pt")
    assert (image.dtype, image.shape) == (torch.uint8, (5, 32, 32, 1))


@pytest.mark.long
def test_a_plain_pt2_draws_the_same_from_a_seed(classic: nn.Module, classic_pth: Path, tmp_path: Path) -> None:
    shipped = publish.export(
        checkpoint.read(classic_pth), exporters.find("pt2"), tmp_path / "g.pt2", Options(sampler=True)
    )
    spots = NARROW + WIDE
    program = (
        "import sys, torch; module = torch.export.load(sys.argv[1]).module()\n"
        "numbers = lambda spot: map(torch.tensor, spot)\n"
        f"torch.save([module(*numbers(spot)) for spot in {spots}], 'images.pt')\n"
        f"for spot in {NEVER}:\n"
        "    try: module(*numbers(spot))\n"
        "    except RuntimeError as e: assert 'is_out_of_range' in str(e)\n"
        "    else: raise SystemExit(f'drew {spot}')\n"
        "assert not any(name.startswith('gan_export') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(shipped.path)], cwd=tmp_path, check=True)
    for (seed, start, count), got in zip(spots, torch.load(tmp_path / "images.pt"), strict=True):
        with torch.no_grad():
            z = torch.from_numpy(latents.draw(seed, start, count, 100))
            wanted = images.to_bytes(classic(z[:, :, None, None]).numpy())
        assert got.dtype == torch.uint8
        assert got.shape == wanted.shape == (count, 32, 32, 1)
        assert wanted.std() > 20
        assert np.abs(got.numpy().astype(int) - wanted).max() <= 1, (seed, start)
        assert (got.numpy() != wanted).mean() <= 1e-3


@pytest.mark.long
def test_a_pt2_takes_one_label_or_as_many_as_pictures(tmp_path: Path) -> None:
    session = find("pt2").load(sampler("embedding-times", tmp_path, "pt2"))
    assert isinstance(session, SamplerSession)
    random = latents.labels(9, 2**40, 6, 10)
    for given, same in (([ALL], (2**40 + np.arange(6)) % 10), ([RANDOM], random), ([4], np.full(6, 4))):
        one, many = (session.draw_bytes(9, 2**40, 6, np.array(label)) for label in (given, same))
        assert np.abs(one.astype(int) - many).max() <= 1
    three, four = (session.draw_bytes(9, 0, 6, np.array([label])).astype(int) for label in (3, 4))
    assert np.abs(three - four).max() > 9
    for wrong in ([10], [-3], [1, 2], [2**32]):
        with pytest.raises(GanExportError, match="doesn't have the label"):
            session.draw_bytes(0, 0, 3, np.array(wrong))
    session.close()


@pytest.mark.parametrize("name", ["embedding-times", "udacity"])
def test_torchscript_draws_labels_and_the_uniform_prior(name: str, tmp_path: Path) -> None:
    path = sampler(name, tmp_path, "torchscript")
    module = torch.jit.load(str(path))
    prior = "uniform" if name == "udacity" else "normal"
    z = module.latents(2**63 - 1, 2**40, 9).numpy()
    assert np.array_equal(bits(z), bits(latents.draw(2**63 - 1, 2**40, 9, 100, prior)))  # type: ignore[arg-type]
    if name == "udacity":
        return
    label = lambda *values: torch.tensor(values)  # noqa: E731
    assert module.labels(9, 2**40, 50, label(RANDOM)).tolist() == latents.labels(9, 2**40, 50, 10).tolist()
    assert module.labels(9, 2**40, 50, label(ALL)).tolist() == ((2**40 + np.arange(50)) % 10).tolist()
    assert module.labels(9, 0, 3, label(4)).tolist() == [4, 4, 4]
    assert module.labels(1, 0, 3, label(3, ALL, 0)).tolist() == [3, 1, 0]
    for wrong in (label(10), label(-3), label(1, 2), label(2**32)):
        with pytest.raises(torch.jit.Error, match="is_out_of_range"):
            module(0, 0, 3, wrong)


@pytest.mark.long
def test_the_commands_know_such_a_file(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    source = tmp_path / "g.pth"
    source.write_bytes(classic_pth.read_bytes())
    made = command("gan-export", "onnx", source, "--sampler")
    assert made.code == 0, made
    path = tmp_path / "g.sampler.onnx"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.pth", path.name, f"{path.name}.report.json"]
    for arguments in ([], [source]):
        verified = command("gan-export", "verify", path, *arguments)
        assert verified.code == 0, verified
    shown = command("gan-export", "inspect", path)
    assert "sampler True" in shown.out
    assert "has no option sampler" in refused(command("gan-export", "native", source, "--sampler"))

    spot = ("-n", 5, "--seed", 2**32 + 9, "--start", 2**33, "--batch", 2)
    for name, file in (("a", source), ("b", path)):
        assert command("gan-sample", file, *spot, "-o", tmp_path / f"{name}.npy").code == 0
    a, b = (np.load(tmp_path / f"{name}.npy").astype(int) for name in "ab")
    assert np.abs(a - b).max() <= 1
    assert (a != b).mean() <= 1e-3
    np.save(tmp_path / "z.npy", np.zeros((1, 100), np.float32))
    for message, more in (
        ("takes a seed, not latents", ("--latents", tmp_path / "z.npy")),
        ("below 2^63", ("--seed", 2**63)),
        ("no labels", ("--label", "all")),
    ):
        assert message in refused(command("gan-sample", path, *more, "-o", tmp_path / "c.npy"))
    if find("openvino").availability().ok:
        narrowed = ("--seed", 2**32, "--runtime", "openvino")
        assert "below 2^32" in refused(command("gan-sample", path, "-n", 1, *narrowed, "-o", tmp_path / "c.npy"))
    assert not (tmp_path / "c.npy").exists()

    torch.save({k: v * 1.01 for k, v in torch.load(source).items()}, tmp_path / "other.pth")
    assert command("gan-export", "verify", path, tmp_path / "other.pth").code == 1


@pytest.mark.parametrize("exporter", ["onnx", "torchscript", pytest.param("pt2", marks=pytest.mark.long)])
def test_gan_sample_chooses_labels_as_from_a_checkpoint(exporter: str, tmp_path: Path, command: Command) -> None:
    labeled = sampler("embedding-times", tmp_path, exporter)
    (source,) = (p for p in labeled.parent.iterdir() if p != labeled)
    for label in ((), ("--label", "all"), ("--label", "3")):
        for name, file in (("a", source), ("b", labeled)):
            done = command("gan-sample", file, "-n", 12, "--start", 7, *label, "-o", tmp_path / f"{name}.npy")
            assert done.code == 0, done
        a, b = (np.load(tmp_path / f"{name}.npy").astype(int) for name in "ab")
        assert np.abs(a - b).max() <= 1, label


@pytest.mark.long
def test_the_bench_measures_it_from_a_seed(plain: Path, classic_pth: Path) -> None:
    from gan_export.bench.measure import run
    from gan_export.bench.plan import Plan
    from gan_export.bench.target import sort_files

    plan = Plan(batches=(3,), quantities=("model", "end_to_end"), rounds=2, block_seconds=0.01, warm_seconds=0.05)
    plan = dataclasses.replace(plan, device="cpu", threads=1, roofline=False)
    both = ("onnxruntime", "onnx-sampler", "torchscript-sampler", "pt2-sampler")
    for files, runtimes in (([plain], ("onnx-sampler",)), ([classic_pth, plain], both)):
        done = run(dataclasses.replace(plan, runtimes=runtimes), sort_files(files), lambda _: None)
        assert {(row.contender, row.quantity) for row in done.rows} == {
            (name, quantity) for name in runtimes for quantity in ("model", "end_to_end")
        }
        assert all(row.parity is not None and row.parity.passed for row in done.rows)


def test_the_same_bytes_each_time(classic_pth: Path, plain: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    write(exporters.find("onnx"), checkpoint.read(classic_pth), again, Options(sampler=True))
    assert again.read_bytes() == plain.read_bytes()
