"""The changing state of a run, built from a recipe, and its snapshots on disk.

A snapshot is one file that plain `torch.load(..., weights_only=True)` reads: a dictionary of tensors, numbers
and texts.  It contains everything that the following steps depend on, so a resumed run computes the same bits.
"""

from __future__ import annotations

import copy
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_export import latents
from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError, printable
from gan_export.training import devices, models, recipe, run_dir
from gan_export.training.adam import Adam
from gan_export.training.data import DataSource
from gan_export.training.distributed import ALONE, Group, SyncBatchNorm, synchronized
from gan_export.training.recipe import Recipe
from gan_export.training.step_scalar import StepScalar

FORMAT = 1
CALIBRATION = 1 << 40  # image index at which BatchNorm's latents start: far from any preview's


@dataclass
class State:
    """The two networks of a recipe, and the position of the run.  `average` is None without an EMA."""

    recipe: Recipe
    device: torch.device
    generator: models.Generator
    discriminator: models.Discriminator
    average: models.Generator | None
    optimizer_g: Adam
    optimizer_d: Adam
    noise: torch.Generator  # the source of all random numbers of training
    step: int = 0  # steps done
    seconds: float = 0.0  # spent in them
    group: Group = ALONE
    progress: float = 0.0  # share of the run that is done, which determines learning rates and noise; set by the loop
    follow: StepScalar = field(default_factory=StepScalar)  # weight of the generator in an update of the average
    spread: StepScalar = field(default_factory=StepScalar)  # of instance noise


def start(recipe: Recipe, device: torch.device, group: Group = ALONE) -> State:
    """Return a run's state before its first step, a function of the recipe (and on a GPU, of the kind of device)."""
    g, d = models.build(recipe)
    if group.size > 1 and recipe.compute.sync_norm:
        synchronized(g)
        synchronized(d)
    layout = devices.memory_layout(recipe)
    for net in (g, d):
        net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    average = copy.deepcopy(g).requires_grad_(False) if recipe.ema.decay else None
    noise = torch.Generator(device=device)
    noise.manual_seed(recipe.train.seed)
    held = device if device.type == "cuda" else None
    o = recipe.optimizer
    adam_g, adam_d = _adam(g, o.generator, held), _adam(d, o.discriminator, held)
    follow, spread = StepScalar(device=held), StepScalar(device=held)
    return State(recipe, device, g, d, average, adam_g, adam_d, noise, group=group, follow=follow, spread=spread)


def eval_generator(state: State) -> models.Generator:
    """Return the generator to preview and save, in eval mode: the average if there is one, else the network itself.

    The BatchNorm statistics of the average are measured each time from the same latents: an average of running
    statistics would include those of other weights.
    """
    if state.average is None:
        return copy.deepcopy(state.generator).eval()
    shown = copy.deepcopy(state.average)
    count = state.recipe.ema.recalibrate
    if count:
        recalibrate(shown, state.recipe.generator, count, state.device)
    return shown.eval()


@torch.no_grad()
def recalibrate(generator: models.Generator, settings: recipe.Generator, count: int, device: torch.device) -> None:
    """Set every BatchNorm's running statistics to the mean over `count` images, in batches of 256."""
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        if isinstance(m, SyncBatchNorm):
            m.together = False  # only one process measures
        m.reset_running_stats()
        m.momentum = None  # a plain mean over the batches
    generator.train()
    for first in range(0, count, 256):
        z = latents.draw_torch(0, CALIBRATION + first, 256, settings.nz, device=device)
        generator(z.reshape(256, settings.nz, 1, 1), labels(settings, CALIBRATION + first, 256, device))
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum


def labels(settings: recipe.Generator, start: int, count: int, device: torch.device) -> torch.Tensor | None:
    """Return labels i mod classes of images start .. start+count-1, int64 (count,), or None without classes."""
    if not settings.classes:
        return None
    chosen = latents.labels_in_turn(np.arange(start, start + count, dtype=np.uint64), settings.classes)
    return torch.from_numpy(chosen).to(device)


def capture(state: State, source: DataSource, data_root: Path | None, log_bytes: int) -> dict[str, Any]:
    """Return a snapshot, which contains only tensors, numbers and strings."""
    return {
        "format": FORMAT,
        "recipe": state.recipe.to_json(),
        "step": state.step,
        "seconds": state.seconds,
        "generator": state.generator.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "optimizer_g": state.optimizer_g.state(),
        "optimizer_d": state.optimizer_d.state(),
        "noise": state.noise.get_state(),
        "machine": devices.machine(state.device, state.group.size),
        "data": fingerprint(source),
        "data_root": None if data_root is None else str(data_root),
        "log_bytes": log_bytes,
    }


def restore(state: State, snapshot: dict[str, Any]) -> None:
    """Restore a new `state` from `snapshot`."""
    state.generator.load_state_dict(snapshot["generator"])
    state.discriminator.load_state_dict(snapshot["discriminator"])
    if state.average is not None:
        state.average.load_state_dict(snapshot["average"])
    state.optimizer_g.restore(snapshot["optimizer_g"])
    state.optimizer_d.restore(snapshot["optimizer_d"])
    state.step = snapshot["step"]
    if snapshot["machine"]["device"] == state.device.type:
        state.noise.set_state(snapshot["noise"])
    else:  # a random generator of another kind of device, whose state can't be used here
        state.noise.manual_seed((state.recipe.train.seed * 1_000_003 + state.step) % 2**63)
    state.seconds = snapshot["seconds"]


def write(snapshot: dict[str, Any], run: Path, keep: int) -> Path:
    """Write the snapshot as snapshots/STEP.pt, completely or not at all; then remove all but the newest `keep`."""
    path = run_dir.snapshot(run, snapshot["step"])
    path.parent.mkdir(exist_ok=True)
    save(snapshot, path)
    for old in run_dir.snapshots(run)[:-keep]:
        old.unlink()
    return path


def save(data: dict[str, Any], path: Path) -> None:
    """Write with torch.save, completely or not at all; the same data gives the same bytes under any file name."""
    packed = io.BytesIO()
    torch.save(data, packed)
    with atomic_file(path) as temporary:
        temporary.write_bytes(packed.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Return the snapshot in a file; nothing in the file is executed."""
    try:
        snapshot = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises many types on damaged files
        reason = "it is damaged, or holds more than tensors, numbers and texts"
        raise GanExportError(
            f"{printable(str(path))} is not a snapshot ({reason}); remove it to continue from the one before"
        ) from e
    if not isinstance(snapshot, dict) or snapshot.get("format") != FORMAT:
        raise GanExportError(f"{printable(str(path))} is not a snapshot in this version's format ({FORMAT})")
    return snapshot


def fingerprint(source: DataSource) -> list[int]:
    """Return count and CRC of up to 256 images spread over the dataset, to recognize the dataset."""
    spread = np.linspace(0, len(source) - 1, min(256, len(source))).astype(np.int64)
    return [len(source), zlib.crc32(source.read(spread).tobytes())]


def _adam(net: torch.nn.Module, settings: recipe.Adam, held: torch.device | None) -> Adam:
    return Adam(
        net.parameters(), StepScalar(settings.lr, held), (settings.beta1, settings.beta2), settings.weight_decay
    )
