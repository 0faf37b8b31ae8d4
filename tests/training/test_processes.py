"""Two processes train one run: on both the same weights, those that one process trains, and resumed to the bit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gan_export.training import snapshot
from gan_export.training.recipe import load
from tests.training.common import PROGRAM, environment, gan_train, refused, same, tiny_recipe, train_here

# batches of 16 that divide in two, no last smaller one
SETTINGS = (
    "compute.sync_norm=true", "data.drop_last=true", "ema.decay=0.9", "ema.recalibrate=64", "loss.r1=1",
    "augment.noise=0.1", "augment.translate=0.125", "loss.flip=0.1",
)  # fmt: skip


def _words(settings: tuple[str, ...]) -> list[str]:
    return [word for s in settings for word in ("--set", s)]


@pytest.mark.long
def test_two_processes_train_what_one_trains(tmp_path: Path, pictures: Path) -> None:
    """With BatchNorm over both, every weight is that of one process at the same batch, up to rounding."""
    recipe = tiny_recipe(tmp_path, pictures)
    few = (*SETTINGS, "train.epochs=1")
    result = gan_train(recipe, "-o", tmp_path / "two", "--devices", 2, *_words(few))
    assert result.returncode == 0, result.stderr
    train_here(recipe, tmp_path / "one", *few)
    one, two = (snapshot.read(tmp_path / run / "snapshots" / "00000006.pt") for run in ("one", "two"))
    assert torch.equal(one["noise"], two["noise"])
    start = snapshot.start(load(str(recipe), few), torch.device("cpu"))
    for net in ("generator", "discriminator"):
        for name, before in getattr(start, net).state_dict().items():
            if name.endswith("bias") or not before.is_floating_point():
                continue  # a bias before a BatchNorm has no gradient but rounding, which Adam makes full steps of
            moved = (one[net][name] - before).abs().mean()
            apart = (one[net][name] - two[net][name]).abs().mean()
            assert apart < 0.05 * moved, (net, name, apart, moved)


@pytest.mark.long
def test_both_processes_hold_the_same_weights(tmp_path: Path, pictures: Path) -> None:
    """Each writes down what it holds at the end; without BatchNorm over both, statistics may differ, weights not."""
    watching = (
        "import sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from gan_export.training import processes, recipe, snapshot, trainer\n"
        "start = snapshot.start\n"
        "def watched(*args):\n"
        "    now = start(*args)\n"
        "    import atexit\n"
        "    end = lambda: torch.save([p.detach() for n in (now.generator, now.discriminator) for p in n.parameters()],"
        f" {str(tmp_path)!r} + f'/{{now.group.rank}}.pt')\n"
        "    snapshot.ended = end\n"
        "    return now\n"
        "snapshot.start = watched\n"
        "go = processes._go\n"
        "def ending(*args):\n"
        "    ended = go(*args)\n"
        "    snapshot.ended()\n"
        "    return ended\n"
        "processes._go = ending\n"
        "if __name__ == '__main__':\n"
        f"    read = recipe.load({str(tiny_recipe(tmp_path, pictures))!r}, ['train.epochs=1'])\n"
        f"    processes.run(processes.Plan(2), read, Path({str(tmp_path / 'run')!r}), [], trainer.Options())\n"
    )
    script = tmp_path / "watching.py"
    script.write_text(watching)
    result = subprocess.run(
        [sys.executable, str(script)], env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    same(*(torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)))


@pytest.mark.long
def test_two_processes_killed_and_resumed_end_with_the_same_bits(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    many = (*SETTINGS, "train.epochs=8", "output.preview_every=8", "output.save_every=8")
    assert gan_train(recipe, "-o", tmp_path / "whole", "--devices", 2, *_words(many), timeout=240).returncode == 0
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*PROGRAM, str(recipe), "-o", str(killed), "--devices", "2", *_words(many)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(killed.glob("snapshots/*.pt")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert not list(killed.glob("generator_8.pth"))
    result = gan_train("resume", killed, "--devices", 2, timeout=240)
    assert result.returncode == 0, result.stderr
    for name in ("generator_8.pth", "discriminator_8.pth"):
        assert (tmp_path / "whole" / name).read_bytes() == (killed / name).read_bytes()


@pytest.mark.long
def test_two_machines_train_as_two_processes_of_one(tmp_path: Path, pictures: Path) -> None:
    """Both here, each with its own command; Ctrl-C on the second stops both, and the printed words go on."""
    recipe = tiny_recipe(tmp_path, pictures)
    few = (*SETTINGS, "train.epochs=1")
    assert gan_train(recipe, "-o", tmp_path / "one", "--devices", 2, *_words(few)).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def nodes(*words: object) -> list[subprocess.Popen[str]]:
        common = {**environment(), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        return [
            subprocess.Popen(
                [*PROGRAM, *map(str, words), "--nodes", "2"], env={**common, "NODE_RANK": str(rank)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank in range(2)
        ]  # fmt: skip

    for process in nodes(recipe, "-o", tmp_path / "two", *_words(few)):
        output = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert (tmp_path / "two" / "generator_1.pth").read_bytes() == (tmp_path / "one" / "generator_1.pth").read_bytes()

    stopped = tmp_path / "stopped"
    both = nodes(recipe, "-o", stopped, *_words((*SETTINGS, "train.epochs=10000")))
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(stopped.glob("snapshots/*.pt")):
        time.sleep(0.05)
    both[1].send_signal(signal.SIGINT)
    for process in both:
        output = process.communicate(timeout=120)
        assert process.returncode == 130, output
        assert f"gan-train resume {stopped} --nodes 2" in output[1]


@pytest.mark.long
def test_torchrun_trains_what_our_own_processes_train(tmp_path: Path, pictures: Path) -> None:
    """To the bit, by gloo on the CPU; the first process alone speaks, and a resumed run goes on under torchrun too."""
    recipe = tiny_recipe(tmp_path, pictures)
    few = (*SETTINGS, "compute.device=cpu", "train.epochs=1")
    assert gan_train(recipe, "-o", tmp_path / "ours", "--devices", 2, *_words(few)).returncode == 0

    def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "gan_export.cli.train"]
        return subprocess.run(
            [sys.executable, *launch, *map(str, words)],
            env=environment(), capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    done = torchrun(recipe, "-o", tmp_path / "theirs", *_words(few))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 1
    for name in ("generator_1.pth", "discriminator_1.pth"):
        assert (tmp_path / "theirs" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()
    done = torchrun("resume", tmp_path / "theirs", "--set", "train.epochs=2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "theirs" / "generator_2.pth").is_file()


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL needs a GPU per process; there are not two")
def test_two_gpus_speak_by_nccl(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    few = (*SETTINGS, "compute.device=cuda", "train.epochs=1")
    done = gan_train(recipe, "-o", tmp_path / "two", "--devices", 2, *_words(few), timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_what_ends_another_process_is_told_by_the_first(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    breaks = (
        "from gan_export.training import batches\n"
        "get = batches.Batches.get\n"
        "def gone(self, *args):\n"
        "    if self._group.rank:\n"
        "        raise OSError(5, 'the disk of the second is gone')\n"
        "    return get(self, *args)\n"
        "batches.Batches.get = gone\n"
        "if __name__ == '__main__':\n"
        "    from gan_export.cli.train import main\n"
        "    main()\n"
    )
    script = tmp_path / "breaks.py"
    script.write_text(breaks)
    words = [str(recipe), "-o", str(tmp_path / "run"), "--devices", "2", *_words(SETTINGS)]
    result = subprocess.run(
        [sys.executable, str(script), *words],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "process 1: " in result.stderr
    assert "the disk of the second is gone; `gan-train resume` goes on" in result.stderr


@pytest.mark.long
def test_half_precision_keeps_the_sums_over_both(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    few = (*SETTINGS[:2], "train.epochs=1", "compute.autocast=bf16")
    result = gan_train(recipe, "-o", tmp_path / "two", "--devices", 2, *_words(few))
    assert result.returncode == 0, result.stderr
    train_here(recipe, tmp_path / "one", *few)
    one, two = (snapshot.read(tmp_path / run / "snapshots" / "00000006.pt") for run in ("one", "two"))
    means = [s["generator"]["model.1.running_mean"] for s in (one, two)]
    torch.testing.assert_close(*means, rtol=0.05, atol=0.01)


@pytest.mark.long
def test_plans_that_can_not_be_are_refused(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path, pictures)
    refused(gan_train(recipe, "-o", tmp_path / "run", "--devices", 0), "--devices 0")
    refused(gan_train(recipe, "-o", tmp_path / "run", "--nodes", 2), "MASTER_ADDR", "NODE_RANK")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("NODE_RANK", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in ("abc", str(taken.getsockname()[1])):
            monkeypatch.setenv("MASTER_PORT", port)
            refused(gan_train(recipe, "-o", tmp_path / "run", "--nodes", 2), f"can't meet at tcp://127.0.0.1:{port}")
    monkeypatch.setenv("MASTER_PORT", "29500")
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    refused(gan_train(recipe, "-o", tmp_path / "run", "--devices", 2), "torchrun sets", "leave out --devices")
    monkeypatch.setenv("RANK", "2")
    refused(gan_train(recipe, "-o", tmp_path / "run"), "RANK=2, WORLD_SIZE=2", "a rank must be below its size")
    monkeypatch.setenv("RANK", "-1")
    refused(gan_train(recipe, "-o", tmp_path / "run"), "must be whole numbers")
    assert not (tmp_path / "run").exists()
