"""gan-train distill: a student learns its teacher's images, resumes to the bit, and says what it can't do."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

import gan_export
from gan_export import checkpoint
from gan_export.errors import GanExportError
from gan_export.metrics.evaluators import EVALUATORS, NamedEvaluator, find
from gan_export.training import models, report
from gan_export.training.distill import events, features, recipe, trainer
from gan_export.training.events import Wrote
from tests.conftest import interruptible
from tests.graph.test_narrow import BY_NAME as ORIGINALS_OF_LATENTS
from tests.metrics.test_features import write_network
from tests.originals.images_in import ORIGINALS_BY_NAME
from tests.training.common import PROGRAM, environment, gan_train, refused, same

SHORT = (
    "train.batch=8", "ema.recalibrate=256", "output.metrics_pictures=1000", "output.metrics_pictures_at_end=1000",
    "output.log_every=5", "output.snapshot_every=5", "output.save_every=100", "output.preview_every=100",
    "compute.threads=1",
)  # fmt: skip


def words(*settings: str) -> list[str]:
    return [word for setting in (*SHORT, *settings) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of 8x8 images with random weights and measured statistics."""
    torch.manual_seed(0)
    net = models.Generator(8, (24,), 1)
    for _ in range(20):
        net(torch.randn(64, 8, 1, 1))
    path = tmp_path_factory.mktemp("teacher") / "g.pth"
    torch.save(net.state_dict(), path)
    return path


def distill_here(
    teacher: Path, run: Path, *settings: str, stop: Callable[[], bool] = lambda: False
) -> tuple[trainer.Distilled, list[events.Event]]:
    """As the command does it, in this process."""
    observed: list[events.Event] = []
    read = recipe.load(None, [*SHORT, *settings])
    options = trainer.Options(observe=observed.append, should_stop=stop)
    return trainer.distill(read, teacher, checkpoint.read(teacher), run, options), observed


@pytest.mark.long
def test_the_command_distills_with_the_teachers_discriminator_and_ends_with_a_table(
    finished: Path, tmp_path: Path
) -> None:
    """A teacher that gan-train made: its discriminator lies beside it."""
    run = tmp_path / "run"
    done = gan_train(
        "distill", finished / "generator_2.pth", "--channels", 0.5, "-o", run, "--runtimes", "native",
        *words("train.steps=10", "data.source=mnist-10k", "loss.features_of=digits"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "discriminator: the teacher's" in done.stdout
    for row in ("parameters", "images/s, gan-export native", "PSNR to the teacher", "Frechet distance to the data"):
        assert row in done.stdout
    student = run / "student_10.safetensors"
    assert f"gan-export onnx {student}" in done.stdout
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    sheets = {f"previews/0000010_{s}.png" for s in ("grid", "beside-teacher")}
    kept = {"snapshots/00000005.pt", "snapshots/00000010.pt"}
    assert names == {"distill.json", "log.jsonl", "figures.json", "teacher.safetensors", student.name, *sheets, *kept}
    figures = json.loads((run / "figures.json").read_text())
    assert figures["speeds"][0]["student"] > 0
    assert figures["teacher"]["parameters"] > 2 * figures["student"]["parameters"]
    assert figures["student"]["frechet_to_teacher"] > 0
    assert figures["teacher"]["frechet"] > 0
    read, whole = checkpoint.read(student), checkpoint.read(finished / "generator_2.pth")
    assert read.reading.assumed == ()  # nothing is left to recognize
    assert read.spec.arch == whole.spec.arch
    assert read.spec.signature == whole.spec.signature
    held = torch.load(run / "snapshots" / "00000010.pt", weights_only=True)
    assert list(held["judge"]) == list(torch.load(finished / "discriminator_2.pth", weights_only=True))
    refused(gan_train("resume", run, "--set", "train.seed=3"), "a resumed run keeps its settings")


@pytest.mark.long
def test_ctrl_c_keeps_everything_and_the_run_goes_on_by_the_command(teacher: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "r.toml").write_text("[student]\nchannels = 0.25\n[train]\nsteps = 100000\n")
    given = ["distill", str(teacher), "-o", str(run), "--recipe", str(tmp_path / "r.toml"), *words()]
    with subprocess.Popen(
        [*PROGRAM, *given], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=interruptible,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing is lost" in message
    step = torch.load(max((run / "snapshots").iterdir()), weights_only=True)["step"]
    again = gan_train("resume", run, "--set", f"train.steps={step + 3}", "--set", "output.keep=9", "--runtimes", "none")
    assert again.returncode == 0, again.stderr
    assert f"from step {step}" in again.stdout
    assert json.loads((run / "distill.json").read_text())["student"]["channels"] == 0.25
    assert (run / f"student_{step + 3}.safetensors").is_file()


def test_a_student_comes_nearer_and_an_interrupted_run_ends_with_the_same_bits(teacher: Path, tmp_path: Path) -> None:
    settings = ("train.steps=60", "student.channels=0.5", "discriminator.start=new", "train.batch=16")
    narrow = "discriminator.network.widths=[8]"
    whole, observed = distill_here(teacher, tmp_path / "whole", *settings, narrow)
    measured = [e for e in observed if isinstance(e, events.Measured)]
    assert measured[-1].pixel < 0.6 * measured[0].pixel
    assert measured[-1].features < 0.6 * measured[0].features
    assert measured[-1].loss_d > 0
    (began,) = (e for e in observed if isinstance(e, events.Began))
    assert (began.discriminator, began.features) == ("new", ("relu0",))
    report.write(tmp_path / "whole", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3  # a chart of scores needs two measurements
    for text in ("of the operations of g.pth", "step 60 of 60", "PSNR to the teacher, dB", "data:image/png"):
        assert text in page
    calls = iter(range(100))
    run = tmp_path / "stopped"
    stopped, _ = distill_here(teacher, run, *settings, narrow, stop=lambda: next(calls) == 32)
    assert (stopped.student, stopped.ended.interrupted, stopped.ended.step) == (None, True, 33)
    again = trainer.resume(run, [], trainer.Options())
    assert whole.student is not None
    assert again.student is not None
    assert whole.student.read_bytes() == again.student.read_bytes()
    last = [torch.load(f / "snapshots" / "00000060.pt", weights_only=True) for f in (tmp_path / "whole", run)]
    for held in last:
        del held["seconds"], held["log_bytes"]
    same(*last)
    images = [e for e in observed if isinstance(e, Wrote) and e.kind == "preview"]
    assert len(images) == 2
    figures = json.loads((run / "figures.json").read_text())
    assert 10 < figures["student"]["psnr"] < 60
    assert "frechet" not in figures["student"]  # no evaluator reads 8x8 images, and there is no data


def test_from_python_a_student_can_be_shallower(tmp_path: Path) -> None:
    model = ORIGINALS_OF_LATENTS["mimicry-48"].build(8)
    torch.save(model.state_dict(), tmp_path / "g.pth")
    settings = {name: value for name, _, value in (s.partition("=") for s in SHORT)}
    made = gan_export.distill(
        tmp_path / "g.pth", tmp_path / "run", channels=1, without=("block3_sum",),
        settings={**{k: json.loads(v) for k, v in settings.items()}, "train.steps": 5, "discriminator.start": "none"},
    )  # fmt: skip
    assert (made.folder, made.step, made.student.name) == (tmp_path / "run", 5, "student_5.safetensors")
    assert made.figures["student"]["parameters"] < made.figures["teacher"]["parameters"]
    read = checkpoint.read(made.student)
    assert not any(layer.name.startswith("block3_conv") for layer in read.spec.layers)
    whole = checkpoint.read(tmp_path / "g.pth")
    kept = "block2_conv1.weight"
    assert np.corrcoef(read.weights[kept].ravel(), whole.weights[kept].ravel())[0, 1] > 0.9  # it began with these


def test_the_classifiers_module_gives_its_features() -> None:
    digits = find("digits")
    assert isinstance(digits, features.Differentiable)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), dtype=np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        given = digits.network()(x).numpy()
    np.testing.assert_allclose(given, find("digits").features(images), atol=2e-4)


class _Ranked:
    """An evaluator whose features have three dimensions."""

    def check(self, shape: tuple[int, int, int]) -> None: ...
    def network(self) -> nn.Module:
        return nn.Flatten(2)


def test_bad_input_is_one_line(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(gan_train("distill", teacher, "--channels", 1, cwd=tmp_path), "as wide as its teacher", "--channels 0.5")
    monkeypatch.setattr(EVALUATORS, "_entries", [*EVALUATORS, NamedEvaluator("ranked", cast(Any, _Ranked))])
    onnx = write_network(tmp_path / "c.onnx", np.zeros((1024, 4), np.float32))
    for settings, message in (
        (["student.channels=1.5"], "above 0 and below 1"),
        (["student.channels=0.999"], "as wide as its teacher"),
        (["student.widths.convt0=24", "student.channels=1"], "as wide as its teacher"),
        (["loss.features_of=ranked"], r"the features of 2 images are \(2, 1, 64\); they must be \(2, D\)"),
        ([f"loss.features_of={onnx}"], "gives no features that a student can learn from"),
        (["loss.features_of=digits"], "reads 28x28 or 32x32"),
        (["loss.features=0", "loss.pixel=0"], "nothing ties"),
        (["discriminator.start=new"], "for images of 32x32; the teacher's are 8x8"),
        (["loss.pixl=1"], "did you mean loss.pixel"),
        (["output.metrics_features=digits"], "reads 28x28 or 32x32"),
    ):
        with pytest.raises(GanExportError, match=message) as error:
            distill_here(teacher, tmp_path / "run", *settings)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()
    (tmp_path / "generator_2.pth").write_bytes(teacher.read_bytes())
    (tmp_path / "discriminator_2.pth").write_bytes(b"nothing")
    (tmp_path / "recipe.json").write_text('{"name": "x"}')
    with pytest.raises(GanExportError, match="is not the discriminator"):
        distill_here(tmp_path / "generator_2.pth", tmp_path / "run")


def test_a_teacher_of_images_is_refused(tmp_path: Path) -> None:
    original = next(o for o in ORIGINALS_BY_NAME.values() if o.arch == "junyanz_resnet")
    path = tmp_path / "g.pth"
    torch.save(original.container(original.model()), path)
    with pytest.raises(GanExportError, match=r"the teacher takes input \(image\)"):
        distill_here(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
