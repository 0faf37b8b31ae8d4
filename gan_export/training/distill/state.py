"""The changing state of a run, and its snapshots on disk.

Latents are a function of (seed, step), and nothing else of a step is random, so a resumed run computes the same bits.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_export.checkpoint import Checkpoint
from gan_export.errors import GanExportError, printable
from gan_export.graph.narrow import narrowed
from gan_export.graph.shallow import without
from gan_export.graph.spec import GeneratorSpec
from gan_export.training import devices, models, run_dir
from gan_export.training import recipe as recipes
from gan_export.training.adam import Adam
from gan_export.training.distill import features
from gan_export.training.distill.features import Features
from gan_export.training.distill.network import Network
from gan_export.training.distill.recipe import Distilling
from gan_export.training.step_scalar import StepScalar

FORMAT = 1
_TRAINING = 1 << 63  # training's latents have the seeds from here on, far from those of previews and measurements
_CALIBRATION = (1 << 63) - 1  # the seed of BatchNorm's latents


@dataclass
class State:
    """The networks, and the position of the run.  `average` is None without an EMA, `judge` without a discriminator."""

    recipe: Distilling
    device: torch.device
    teacher: Network
    student: Network
    average: Network | None
    features: Features | None
    judge: models.Discriminator | None
    optimizer: Adam
    optimizer_d: Adam | None
    step: int = 0
    seconds: float = 0.0

    @property
    def spec(self) -> GeneratorSpec:
        """The student's."""
        return self.student.spec

    def feeds(self, seed: int, start: int, count: int) -> dict[str, Tensor]:
        """Return the inputs of images start .. start+count-1 of `seed` on the device, by the latent law."""
        given = self.teacher.spec.signature.feeds(seed, range(start, start + count))
        return {name: torch.from_numpy(array).to(self.device) for name, array in given.items()}

    def batch(self) -> dict[str, Tensor]:
        """Return the inputs of the next step."""
        count = self.recipe.train.batch
        return self.feeds(_TRAINING + self.recipe.train.seed, self.step * count, count)


def check_teacher(teacher: GeneratorSpec) -> None:
    """Raise GanExportError unless the teacher makes one image from a latent, and perhaps a label, and nothing else."""
    signature = teacher.signature
    for port in signature.inputs:
        if port.kind not in ("latent", "label") or (port.kind == "latent" and port.name != "z"):
            raise GanExportError(
                f"the teacher takes {printable(port.name)} ({port.kind}); a student only learns from a generator that "
                "takes a latent z, and perhaps a label"
            )
    if len(signature.outputs) != 1 or signature.outputs[0].kind != "image" or signature.sizes:
        raise GanExportError("the teacher must give one image of a fixed size, and nothing else")
    if signature.outputs[0].range != (-1.0, 1.0):
        raise GanExportError("the teacher's images must be in [-1, 1]; leave out raw=")


def start(recipe: Distilling, teacher: Checkpoint, device: torch.device) -> State:
    """Return the state before the first step, a function of the recipe and the teacher.

    A layer with the same shapes as in the teacher begins with the teacher's weights, every other with torch's own.
    Raises GanExportError for a teacher that is not supported, and unless the student is narrower or has fewer layers.
    """
    check_teacher(teacher.spec)
    spec = without(teacher.spec, recipe.student.without)
    if recipe.student.channels < 1 or recipe.student.widths:
        spec = narrowed(spec, recipe.student.channels, recipe.student.widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        whole, student = Network(teacher.spec), Network(spec)
        whole.take(teacher.weights)
        student.take(teacher.weights)
        learned = features.find(recipe.loss.features_of, spec, teacher.spec, device) if recipe.loss.features else None
        judge = _judge(recipe, teacher.spec)
    whole.eval().requires_grad_(False)
    layout = torch.channels_last if recipe.compute.channels_last else torch.contiguous_format
    nets: list[nn.Module] = [whole, student]
    nets += [] if learned is None else [learned.learned]
    nets += [] if judge is None else [judge]
    for net in nets:
        net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    average = copy.deepcopy(student).requires_grad_(False) if recipe.ema.decay else None
    held = device if device.type == "cuda" else None
    weights = [*student.parameters(), *(() if learned is None else learned.learned.parameters())]
    optimizer = _adam(weights, recipe.optimizer.student, held)
    optimizer_d = None
    if judge is not None:
        optimizer_d = _adam(_scoring(judge), recipe.optimizer.discriminator, held)
    return State(recipe, device, whole, student, average, learned, judge, optimizer, optimizer_d)


def beside(teacher: Path) -> tuple[recipes.Discriminator, dict[str, Tensor]] | None:
    """Return the settings and weights of the discriminator that gan-train saved with a generator; None without one.

    Raises GanExportError if the file is there and is not that discriminator.
    """
    kind, _, epoch = teacher.stem.partition("_")
    file = teacher.with_name(f"discriminator_{epoch}.pth")
    if kind != "generator" or not file.is_file() or not (teacher.parent / run_dir.RECIPE).is_file():
        return None
    recipe = run_dir.recipe(teacher.parent)
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        _, d = models.build(recipe)
        d.load_state_dict(weights)
    except Exception as e:  # torch raises many types on damaged files
        raise GanExportError(
            f"{printable(str(file))} is not the discriminator of the run's recipe; set discriminator.start=none"
        ) from e
    return recipe.discriminator, d.state_dict()


@torch.no_grad()
def eval_student(state: State) -> Network:
    """Return the student to preview and save, in eval mode: the average if there is one, else the network itself.

    The BatchNorm statistics of the average are measured from fixed latents each time.
    """
    if state.average is None:
        return copy.deepcopy(state.student).eval()
    shown = copy.deepcopy(state.average).train()
    norms = [m for m in shown.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over the batches
    if norms:
        for first in range(0, state.recipe.ema.recalibrate, 256):
            shown.image(state.feeds(_CALIBRATION, first, 256))
    return shown.eval()


def capture(state: State, log_bytes: int) -> dict[str, Any]:
    """Return a snapshot, which contains only tensors, numbers and strings."""
    return {
        "format": FORMAT,
        "recipe": state.recipe.to_json(),
        "step": state.step,
        "seconds": state.seconds,
        "student": state.student.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "features": None if state.features is None else state.features.learned.state_dict(),
        "judge": None if state.judge is None else state.judge.state_dict(),
        "optimizer": state.optimizer.state(),
        "optimizer_d": None if state.optimizer_d is None else state.optimizer_d.state(),
        "machine": devices.machine(state.device),
        "log_bytes": log_bytes,
    }


def restore(state: State, snapshot: Mapping[str, Any]) -> None:
    """Restore a new `state` from `snapshot`."""
    state.student.load_state_dict(snapshot["student"])
    if state.average is not None:
        state.average.load_state_dict(snapshot["average"])
    if state.features is not None:
        state.features.learned.load_state_dict(snapshot["features"])
    state.optimizer.restore(snapshot["optimizer"])
    if state.judge is not None and state.optimizer_d is not None:
        state.judge.load_state_dict(snapshot["judge"])
        state.optimizer_d.restore(snapshot["optimizer_d"])
    state.step, state.seconds = snapshot["step"], snapshot["seconds"]


def _judge(recipe: Distilling, teacher: GeneratorSpec) -> models.Discriminator | None:
    """Return a discriminator of the recipe's settings with initial weights, or None."""
    settings = recipe.discriminator
    if settings.start == "none" or not recipe.loss.adversarial:
        return None
    image = teacher.signature.outputs[0].dims(teacher.signature.usual_sizes())
    side = 4 * 2 ** len(settings.network.widths)
    if image[1:] != (side, side):
        raise GanExportError(
            f"discriminator.network.widths has {len(settings.network.widths)} numbers, for images of {side}x{side}; "
            f"the teacher's are {image[1]}x{image[2]}: give one per halving to 4x4, or set discriminator.start=none"
        )
    classes = next((port.classes for port in teacher.signature.inputs_of("label")), 0)
    return models.Discriminator(settings.network, image[0], classes or 0)


def _scoring(judge: models.Discriminator) -> list[nn.Parameter]:
    """Return the weights that a score depends on: not those of the auxiliary classifier."""
    unused = set() if judge.names is None else set(judge.names.parameters())
    return [w for w in judge.parameters() if w not in unused]


def _adam(weights: list[nn.Parameter], settings: recipes.Adam, held: torch.device | None) -> Adam:
    return Adam(weights, StepScalar(settings.lr, held), (settings.beta1, settings.beta2), settings.weight_decay)
