"""gan-sample: the same pictures from any runtime, batch or start, in every kind of output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_export import images, latents
from tests.conftest import Artifacts, Command, interruptible, of_channels, refused


@pytest.fixture(scope="session")
def wanted(classic: nn.Module) -> np.ndarray:
    """Images 0..69 of seed 7 as the original module draws them."""
    with torch.no_grad():
        z = torch.from_numpy(latents.draw(7, 0, 70, 100))[:, :, None, None]
        return images.to_bytes(classic(z).numpy())


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    step = np.abs(got.astype(int) - wanted.astype(int))
    return got.shape == wanted.shape and int((step > 0).sum()) <= max(1, step.size // 10_000) and step.max() <= 1


@pytest.fixture(scope="session", params=["checkpoint", "onnx", "torchscript"])
def file(request: pytest.FixtureRequest, classic_pth: Path, artifacts: Artifacts) -> Path:
    return classic_pth if request.param == "checkpoint" else artifacts[request.param]


@pytest.mark.parametrize("batch", [1, 64])
def test_the_same_pictures_from_every_file_and_batch(
    command: Command, file: Path, wanted: np.ndarray, tmp_path: Path, batch: int
) -> None:
    out = tmp_path / "x.npy"
    result = command("gan-sample", file, "-n", 70, "--seed", 7, "--batch", batch, "-o", out)
    assert result.code == 0, result
    assert same(np.load(out), wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_a_file_is_told_by_content_not_by_name(
    command: Command, artifacts: Artifacts, wanted: np.ndarray, tmp_path: Path
) -> None:
    disguised = tmp_path / "model.pth"
    disguised.write_bytes(artifacts["onnx"].read_bytes())
    assert command("gan-sample", disguised, "-n", 5, "--seed", 7, "-o", tmp_path / "x.npy").code == 0
    assert same(np.load(tmp_path / "x.npy"), wanted[:5])


def test_every_output_holds_the_same_pictures(
    command: Command, artifacts: Artifacts, wanted: np.ndarray, tmp_path: Path
) -> None:
    for name in ("g.png", "x.npz", "folder"):
        arguments = (artifacts["onnx"], "-n", 9, "--seed", 7, "-o", tmp_path / name)
        assert command("gan-sample", *arguments).code == 0
    sheet = np.asarray(Image.open(tmp_path / "g.png"))
    assert same(sheet[:, :, None], images.grid(wanted[:9]))
    assert same(np.load(tmp_path / "x.npz")["images"], wanted[:9])
    names = sorted(p.name for p in (tmp_path / "folder").iterdir())
    assert names == [f"{i:08d}.png" for i in range(9)]
    drawn = np.stack([np.asarray(Image.open(tmp_path / "folder" / n)) for n in names])[..., None]
    assert same(drawn, wanted[:9])


def test_two_machines_share_a_folder(
    command: Command, artifacts: Artifacts, wanted: np.ndarray, tmp_path: Path
) -> None:
    for start, count in ((0, 4), (4, 3)):
        arguments = ("-n", count, "--start", start, "--seed", 7, "-o", tmp_path / "all")
        assert command("gan-sample", artifacts["onnx"], *arguments).code == 0
    files = sorted((tmp_path / "all").iterdir())
    assert same(np.stack([np.asarray(Image.open(f)) for f in files])[..., None], wanted[:7])


def test_a_folder_that_is_there_may_have_any_name(command: Command, file: Path, tmp_path: Path) -> None:
    (tmp_path / "run.v2").mkdir()
    result = command("gan-sample", file, "-n", 2, "-o", tmp_path / "run.v2")
    assert result.code == 0, result
    assert sorted(p.name for p in (tmp_path / "run.v2").iterdir()) == ["00000000.png", "00000001.png"]


@pytest.mark.long
def test_pictures_of_two_channels_are_pngs(command: Command, tmp_path: Path) -> None:
    two = of_channels(2, tmp_path)
    for name in ("g.png", "folder"):
        assert command("gan-sample", two, "-n", 1, "-o", tmp_path / name).code == 0
    assert command("gan-sample", "dataset", two, "-n", 1, "--format", "png", "-o", tmp_path / "set").code == 0
    alone = np.asarray(Image.open(tmp_path / "folder" / "00000000.png"))
    assert alone.shape == (32, 32, 2)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "g.png"))[2:-2, 2:-2], alone)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "set" / "00000" / "00000000.png")), alone)


@pytest.mark.parametrize("form", ["npy", "pt", "pt4d"])
def test_own_latents_are_drawn(command: Command, file: Path, wanted: np.ndarray, tmp_path: Path, form: str) -> None:
    z = latents.draw(7, 0, 6, 100)
    fixed = tmp_path / f"fixed_noise.{form[:3]}"
    if form == "npy":
        np.save(fixed, z)
    else:
        torch.save(torch.from_numpy(z if form == "pt" else z[:, :, None, None]), fixed)
    assert command("gan-sample", file, "--latents", fixed, "-o", tmp_path / "x.npy").code == 0
    assert same(np.load(tmp_path / "x.npy"), wanted[:6])


def test_an_onnx_file_is_sampled_without_torch(artifacts: Artifacts, tmp_path: Path) -> None:
    program = (
        "import sys; from gan_export.cli.sample import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules\n"
    )
    arguments = [str(artifacts["onnx"]), "-n", "3", "-o", str(tmp_path / "g.png")]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    assert (tmp_path / "g.png").is_file()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_does_not_grow_with_the_count(artifacts: Artifacts, tmp_path: Path) -> None:
    """20,000 pictures are 20 MB: a process that kept them, as bytes or as floats, would show it."""
    program = (
        "import sys; from pathlib import Path; from gan_export.sampling import opening, write\n"
        # VmHWM: unlike ru_maxrss it holds nothing of the parent
        "peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "with opening.open_generator(Path(sys.argv[1]), threads=1) as g:\n"
        "    peaks = []\n"
        "    for count in (2_000, 20_000):\n"
        "        write.sample(g, Path('x.npy'), seed=0, start=0, count=count)\n"
        "        peaks.append(peak())\n"
        "print(peaks[1] - peaks[0])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(artifacts["onnx"])],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(run.stdout) * 1024 < 6_000_000
    assert np.load(tmp_path / "x.npy", mmap_mode="r").shape == (20_000, 32, 32, 1)


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_it_leaves_no_half_file(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    listening = f"import signal; signal.signal(signal.{name}, signal.SIG_DFL)"  # under nohup, too
    program = f"{listening}; from gan_export.cli.sample import main; main()"
    arguments = [str(artifacts["onnx"]), "-n", "5000000", "-o", "x.npy", "--batch", "8"]
    run = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=tmp_path, stderr=subprocess.PIPE)
    number = getattr(signal, name)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(number)
        with contextlib.suppress(ProcessLookupError):
            run.send_signal(number)  # as `timeout` does
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 128 + number
    assert err.decode().splitlines() == [f"gan-sample: ended by {name}"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.npy", pytest.param("x.npz", marks=pytest.mark.long), "g.png"])
def test_an_interrupt_leaves_no_half_file(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"what was here")
    program = "from gan_export.cli.sample import main; main()"
    arguments = [str(artifacts["onnx"]), "-n", "5000000" if name != "g.png" else "200000", "-o", name, "--batch", "8"]
    run = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=interruptible
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline and name != "g.png":
            time.sleep(0.05)
        if name == "g.png":
            time.sleep(3)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert b"Traceback" not in err
    assert b"interrupted" in err
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"what was here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 0), "1 to 2^40"),
        (("-n", -5), "1 to 2^40"),
        (("-n", 10**20), "1 to 2^40"),
        (("-n", "x"), "must be a whole number"),
        (("--threads", 100_000), "--threads 100000: must be 1 to 1024"),
        (("--batch", 0), "at least 1"),
        (("--seed", -1), "2^64-1"),
        (("--start", -1), "2^64-1"),
        (("--start", (1 << 64) - 3), "2^64-1"),
        (("-o", "x.jpeg"), ".jpeg"),
        (("-o", "no/such/x.npy"), "not a folder"),
        (("--label", 3), "no labels"),
        (("--label", "x"), "--label x"),
        (("--latents", "nothing.npy"), "no such file"),
        (("--latents", "z.npy", "--latent-scale", 0.5), "leave -n, --seed, --start, --latent-scale out"),
        (("--runtime", "eager"), "eager"),
        (("--runtime", "onxruntime"), "onnxruntime"),
        (("--device", "tpu"), "--device tpu"),
        (("--arch", "dcgan"), "is an export"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    command: Command, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in refused(command("gan-sample", artifacts["onnx"], *arguments))
    assert not list(tmp_path.iterdir())


def test_latents_of_another_size_are_refused(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.full((4, 100), np.nan, np.float32))
    assert "not finite" in refused(command("gan-sample", artifacts["onnx"], "--latents", tmp_path / "nan.npy"))
    np.save(tmp_path / "z.npy", np.zeros((4, 99), np.float32))
    arguments = ("--latents", tmp_path / "z.npy", "-o", tmp_path / "x.npy")
    assert "(N, 100)" in refused(command("gan-sample", artifacts["onnx"], *arguments))
    (tmp_path / "z.pt").write_bytes(b"no tensor at all")
    arguments = ("--latents", tmp_path / "z.pt", "-o", tmp_path / "x.npy")
    assert "z.pt" in refused(command("gan-sample", artifacts["onnx"], *arguments))
    assert not (tmp_path / "x.npy").exists()


def test_seeds_of_numpy_are_those_of_other_scripts(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    onnx = artifacts["onnx"]
    assert command("gan-sample", onnx, "--rng", "numpy", "--seeds", "3-4,85", "-o", tmp_path / "n.npy").code == 0
    np.save(tmp_path / "z.npy", np.concatenate([np.random.RandomState(s).randn(1, 100) for s in (3, 4, 85)]))
    assert command("gan-sample", onnx, "--latents", tmp_path / "z.npy", "-o", tmp_path / "z-images.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "n.npy"), np.load(tmp_path / "z-images.npy"))
    for words, message in (
        (("--rng", "numpy", "--seeds", "4-3"), "such as 0-10,85"),
        (("--rng", "mersenne"), "philox or numpy"),
        (("--seeds", "3"), "--rng numpy"),
        (("--rng", "numpy", "--latents", "z.npy"), "leave one out"),
    ):
        assert message in refused(command("gan-sample", onnx, *words, "-o", tmp_path / "x.png"))
