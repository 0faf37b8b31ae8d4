"""The bounds of a recipe's fields."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gan_export._lib.schema import did_you_mean
from gan_export.errors import GanExportError, printable

if TYPE_CHECKING:
    from gan_export.training.recipe import Augment, Loss, Recipe

DIGITS = ("mnist-10k", "mnist")  # the datasets that the bundled classifier can measure
SOURCES = ("mnist-10k", "mnist", "fashion-mnist", "cifar10", "folder", "npz", "emoji", "solids")
PATHS = ("folder", "npz", "emoji")  # those that read data.path; "solids" reads nothing, every other one --data-root
VOLUMES = ("npz", "solids")  # the sources of volumes
MOST_SIDE = 128  # of volumes


def check(recipe: Recipe) -> None:
    """Raise GanExportError for the first field that is out of bounds or contradicts another."""
    r = recipe
    plain = r.name.isprintable() and r.name == r.name.strip(". ") and not {"/", "\\", ":"} & set(r.name)
    _bound(
        plain and 1 <= len(r.name) <= 100,
        "name",
        printable(r.name, 60),
        "the name of a folder, of 1 to 100 characters",
    )
    levels = _check_data(r)
    for net, widths in (("generator", r.generator.widths), ("discriminator", r.discriminator.widths)):
        fits = len(widths) == levels and all(1 <= w <= 8192 for w in widths)
        _bound(fits, f"{net}.widths", list(widths), f"{levels} numbers from 1 to 8192 at data.size {r.data.size}")
    _bound(1 <= r.generator.nz <= 8192, "generator.nz", r.generator.nz, "1 to 8192")
    _bound(0 <= r.generator.classes <= 65536, "generator.classes", r.generator.classes, "0 to 65536")
    _bound(1 <= r.generator.embedding <= 8192, "generator.embedding", r.generator.embedding, "1 to 8192")
    _check_loss(r.loss)
    if r.loss.gradient_penalty and r.discriminator.norm == "batch":
        raise GanExportError(
            "loss.gradient_penalty needs scores of single images, and discriminator.norm=batch mixes those of a batch; "
            "set discriminator.norm=none"
        )
    bounded = r.discriminator.spectral or r.loss.gradient_penalty or r.loss.r1 or r.loss.r2
    if r.loss.kind == "wasserstein" and not bounded:
        raise GanExportError(
            "loss.kind=wasserstein needs a discriminator of bounded slope: set loss.gradient_penalty=10, "
            "or discriminator.spectral=true"
        )
    _check_augment(r.augment)
    _bound(0 <= r.discriminator.names <= 65536, "discriminator.names", r.discriminator.names, "0 to 65536")
    _bound(0 <= r.loss.naming <= 1e3, "loss.naming", r.loss.naming, "0 to 1000")
    if r.loss.cells and not r.loss.naming:
        raise GanExportError("loss.cells requires loss.naming above 0; set it, or leave loss.cells off")
    if r.loss.cells and r.generator.classes:
        raise GanExportError("loss.cells is for a generator without labels; leave it off, or generator.classes at 0")
    if r.loss.cells and r.generator.nz < r.discriminator.names:
        raise GanExportError(
            f"loss.cells uses the first {r.discriminator.names} values of a latent; raise generator.nz"
        )
    if r.loss.naming and not r.discriminator.names:
        raise GanExportError(
            "loss.naming needs an auxiliary classifier: set discriminator.names to the number of classes"
        )
    _bound(0 <= r.discriminator.slope < 1, "discriminator.slope", r.discriminator.slope, "0 to 1")
    for net, adam in (("generator", r.optimizer.generator), ("discriminator", r.optimizer.discriminator)):
        _bound(0 < adam.lr <= 1, f"optimizer.{net}.lr", adam.lr, "over 0, at most 1")
        _bound(0 <= adam.beta1 < 1, f"optimizer.{net}.beta1", adam.beta1, "0 to under 1")
        _bound(0 <= adam.beta2 < 1, f"optimizer.{net}.beta2", adam.beta2, "0 to under 1")
        _bound(0 <= adam.weight_decay < 1, f"optimizer.{net}.weight_decay", adam.weight_decay, "0 to under 1")
    _bound(0 <= r.optimizer.decay_from <= 1, "optimizer.decay_from", r.optimizer.decay_from, "0 to 1")
    _bound(0 <= r.ema.decay < 1, "ema.decay", r.ema.decay, "0 to under 1")
    least = 1 if r.ema.decay else 0  # the average has no other statistics
    _bound(r.ema.recalibrate >= least, "ema.recalibrate", r.ema.recalibrate, f"{least} or more")
    _bound(r.train.epochs >= 1, "train.epochs", r.train.epochs, "1 or more")
    _bound(r.train.minutes >= 0, "train.minutes", r.train.minutes, "0 or more")
    _bound(2 <= r.train.batch <= 65536, "train.batch", r.train.batch, "2 to 65536")
    _bound(1 <= r.train.critic_steps <= 100, "train.critic_steps", r.train.critic_steps, "1 to 100")
    _bound(0 <= r.train.seed < 2**63, "train.seed", r.train.seed, "0 to 2^63-1")
    for name in ("save_every", "preview_every", "snapshot_every", "keep", "log_every"):
        _bound(getattr(r.output, name) >= 1, f"output.{name}", getattr(r.output, name), "1 or more")
    _bound(r.output.metrics_every >= 0, "output.metrics_every", r.output.metrics_every, "0 or more")
    _bound(r.output.metrics_pictures >= 1000, "output.metrics_pictures", r.output.metrics_pictures, "1000 or more")
    _check_metrics(r)
    kind, _, index = r.compute.device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (
        ":" in r.compute.device and not (kind == "cuda" and index.isdigit())
    ):
        raise GanExportError(
            f"device {printable(r.compute.device)} is unknown; it must be auto, cpu, cuda, cuda:N or mps"
        )
    _bound(0 <= r.compute.threads <= 1024, "compute.threads", r.compute.threads, "0 to 1024")


def _check_metrics(r: Recipe) -> None:
    """Raise GanExportError if the bundled classifier would have to read other images than MNIST's digits."""
    digits = r.data.source in DIGITS and (r.data.size, r.data.channels) == (32, 1)
    if r.output.metrics_every and r.output.metrics_features == "digits" and not digits:
        raise GanExportError(
            f"output.metrics_every: there are no features for {r.data.source} at {r.data.channels}x{r.data.size}; "
            "the bundled classifier reads MNIST's digits at 1x32, so set output.metrics_features=NETWORK.onnx, or "
            "leave it at 0"
        )


def _check_data(r: Recipe) -> int:
    """Return how often images are halved down to 4x4."""
    data = r.data
    if data.source not in SOURCES:
        near = did_you_mean(data.source, SOURCES)
        raise GanExportError(f"data.source is {printable(data.source)}{near}; it must be one of {', '.join(SOURCES)}")
    if data.source == "folder" and not data.path:
        raise GanExportError("data.path is missing: name the folder of images, set data.path=DIR")
    if data.source == "npz" and not data.path:
        raise GanExportError("data.path is missing: name the file of arrays, set data.path=FILE.npz")
    _bound(0 <= data.memory <= 2**20, "data.memory", data.memory, "0 to 2^20 GiB")
    levels = math.log2(data.size / 4) if data.size >= 8 else 0
    _bound(levels >= 1 and levels == int(levels) and data.size <= 1024, "data.size", data.size, "8, 16, 32 ... 1024")
    _bound(data.channels in (1, 3), "data.channels", data.channels, "1 or 3")
    _bound(data.dims in (2, 3), "data.dims", data.dims, "2 for images or 3 for volumes")
    if data.dims == 3:
        _check_volumes(r)
    elif data.source == "solids":
        raise GanExportError("data.source solids are volumes; set data.dims=3")
    return int(levels)


def _check_volumes(r: Recipe) -> None:
    """Raise GanExportError for what is only defined for images."""
    data = r.data
    _bound(data.source in VOLUMES, "data.source", data.source, f"{' or '.join(VOLUMES)} with data.dims 3")
    _bound(data.size <= MOST_SIDE, "data.size", data.size, f"at most {MOST_SIDE} with data.dims 3")
    _bound(data.channels == 1, "data.channels", data.channels, "1 with data.dims 3")
    for name in ("translate", "cutout", "color"):
        _bound(not getattr(r.augment, name), f"augment.{name}", getattr(r.augment, name), "off with data.dims 3")
    _bound(not r.output.metrics_every, "output.metrics_every", r.output.metrics_every, "0 with data.dims 3")
    _bound(not r.compute.sync_norm, "compute.sync_norm", r.compute.sync_norm, "off with data.dims 3")


def _check_loss(loss: Loss) -> None:
    _bound(0 <= loss.smooth < 0.5, "loss.smooth", loss.smooth, "0 to under 0.5")
    if loss.smooth and loss.kind not in ("bce", "non-saturating"):
        raise GanExportError(f"loss.smooth is for bce and non-saturating, not for {loss.kind}; leave it at 0")
    _bound(0 <= loss.flip < 0.5, "loss.flip", loss.flip, "0 to under 0.5")
    for name in ("r1", "r2", "gradient_penalty"):
        _bound(0 <= getattr(loss, name) <= 1e6, f"loss.{name}", getattr(loss, name), "0 to 1e6")
    _bound(1 <= loss.penalty_every <= 1000, "loss.penalty_every", loss.penalty_every, "1 to 1000")


def _check_augment(augment: Augment) -> None:
    _bound(0 <= augment.noise <= 10, "augment.noise", augment.noise, "0 to 10")
    _bound(0 < augment.noise_until <= 1, "augment.noise_until", augment.noise_until, "over 0, at most 1")
    _bound(0 <= augment.translate <= 0.5, "augment.translate", augment.translate, "0 to 0.5")
    _bound(0 <= augment.cutout < 1, "augment.cutout", augment.cutout, "0 to under 1")


def _bound(holds: bool, name: str, value: object, bounds: str) -> None:
    if not holds:
        raise GanExportError(f"{name} is {value}; it must be {bounds}")
