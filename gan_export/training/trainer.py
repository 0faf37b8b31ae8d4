"""A complete run: epochs of steps, with logs, previews, checkpoints and snapshots, which can be resumed after any end.

`run_dir` has the layout of the folder.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_export.errors import CheckFailedError, GanExportError, Topic, linked
from gan_export.training import devices, events, losses, monitor, preview, run_dir, step
from gan_export.training import snapshot as snapshots
from gan_export.training.batches import Batches, steps_per_epoch
from gan_export.training.bounds import PATHS
from gan_export.training.cuda_graph import Recorded
from gan_export.training.data import DataSource, open_source
from gan_export.training.distributed import ALONE, Group
from gan_export.training.recipe import Recipe, resumed
from gan_export.training.scoring import Scorer

_SCORED_SEED = 1  # of the measured images; previews use seed 0
_PIECE = 256  # measured images per batch


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run that are not part of its recipe.

    should_stop is called after every step; when it returns true, the run writes a snapshot and returns.
    """

    data_root: Path | None = None
    tensorboard: bool = False
    observe: events.Observer = lambda event: None
    should_stop: Callable[[], bool] = lambda: False
    group: Group = ALONE


def train(recipe: Recipe, run: Path, options: Options) -> events.Ended:
    """Train `recipe` in the new folder `run`.

    Raises GanExportError for bad input before anything is written, CheckFailedError when the training
    diverges.  Deterministic: the same recipe, data, device, thread count and instruction set give the same bits.
    """
    if options.group.leads:
        run_dir.check_new(run)
    return _run(recipe, run, None, options)


@linked(Topic.RUNS)
def resume(run: Path, settings: list[str], options: Options) -> events.Ended:
    """Continue the run in `run` from its newest snapshot, or from its start if there is none.

    The bits are the same as without the interruption, on the CPU with the same thread count and instruction set; a
    difference in these causes a warning.
    """
    recipe = resumed(run_dir.recipe(run), settings)
    newest = run_dir.snapshots(run)[-1:]
    return _run(recipe, run, snapshots.read(newest[0]) if newest else None, options)


def _run(recipe: Recipe, run: Path, snapshot: dict[str, Any] | None, options: Options) -> events.Ended:
    try:
        return _train(recipe, run, snapshot, options)
    except RuntimeError as e:  # torch.OutOfMemoryError, and the message of its CPU allocator
        if not isinstance(e, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(e):
            raise
        raise GanExportError(f"out of memory with train.batch {recipe.train.batch}; lower it") from e


def _train(recipe: Recipe, run: Path, snapshot: dict[str, Any] | None, options: Options) -> events.Ended:
    if options.tensorboard:
        events.require_tensorboard()
    device = devices.choose(recipe.compute.device)
    if options.group.size > 1:
        device = devices.of_process(device, options.group.local, torch.cuda.device_count())
    devices.check(recipe.compute, device)
    data_root = options.data_root
    if data_root is None and snapshot is not None and snapshot["data_root"] is not None:
        data_root = Path(snapshot["data_root"])
    source = open_source(recipe.data, data_root)
    per_epoch = steps_per_epoch(
        len(source), recipe.data, recipe.train.batch * recipe.train.critic_steps, options.group.size
    )
    _check_labels(recipe, source)
    scorer = Scorer(recipe.output, source) if recipe.output.metrics_every and options.group.leads else None
    if snapshot is not None and snapshot["data"] != snapshots.fingerprint(source):
        by = "set data.path=PLACE" if recipe.data.source in PATHS else "data_root="
        raise GanExportError(f"the data differs from that of the run; name the right data with {by}")

    if snapshot is not None and (done := snapshot["step"]) > recipe.train.epochs * per_epoch:
        raise GanExportError(
            f"the run is at step {done} already, in epoch {-(-done // per_epoch)}; "
            f"train.epochs must be {-(-done // per_epoch)} or more, not {recipe.train.epochs}"
        )

    with ExitStack() as stack:
        stack.enter_context(devices.configured(recipe.compute, device))
        now = snapshots.start(recipe, device, options.group)
        if snapshot is not None:
            snapshots.restore(now, snapshot)
        if not options.group.leads:
            return _RunSession(now, source, data_root, run, None, options.observe).go(per_epoch, options.should_stop)
        stack.enter_context(run_dir.lock_run_dir(run))
        stack.enter_context(run_dir.explain_disk_full(run))
        run_dir.make(run, recipe)
        log = stack.enter_context(closing(events.JsonLog(run / run_dir.LOG, snapshot["log_bytes"] if snapshot else 0)))
        observers: list[events.Observer] = [log, options.observe]
        if options.tensorboard:
            observers.append(stack.enter_context(closing(events.Board(run / run_dir.BOARD, now.step))))
        tell = events.broadcast(observers)
        tell(events.Began(
            recipe=recipe, folder=run, device=str(device), pictures=len(source), skipped=source.skipped,
            step=now.step, steps=recipe.train.epochs * per_epoch, steps_per_epoch=per_epoch,
        ))  # fmt: skip
        if snapshot is not None:
            for changed in devices.differences(snapshot["machine"], devices.machine(device, now.group.size)):
                tell(events.Warned(now.step, f"resumed in another environment, so the bits may differ: {changed}"))
        return _RunSession(now, source, data_root, run, log, tell, scorer).go(per_epoch, options.should_stop)


def make_step(now: snapshots.State) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """Return `step.step` of a state, recorded if the recipe allows it: on CUDA, in one process.

    Not with loss.mixed: its random order uses a sort, whose recording is untested.
    """
    possible = now.device.type == "cuda" and now.group.size == 1 and not now.recipe.loss.mixed
    return Recorded(now) if possible and now.recipe.compute.graphs else partial(step.step, now)


@dataclass
class _RunSession:
    """The part of one process in a run, from a state to the end or an interruption."""

    now: snapshots.State
    source: DataSource
    data_root: Path | None
    run: Path
    log: events.JsonLog | None  # None for all processes but the first, which write nothing
    tell: events.Observer
    scorer: Scorer | None = None  # if the recipe measures

    def go(self, per_epoch: int, should_stop: Callable[[], bool]) -> events.Ended:
        now, recipe = self.now, self.now.recipe
        out, total = recipe.output, recipe.train.epochs * per_epoch
        limit = recipe.train.minutes * 60 or math.inf
        batches = Batches(self.source, recipe, now.device, now.group)
        meter = _Meter(now, self.tell, self.run)
        move = make_step(now)
        stopped = False
        epoch = max(1, -(-now.step // per_epoch))  # counted from 1, of the last step done
        over = now.step > 0 and now.seconds >= limit  # train.minutes had ended it
        while now.step < total and not stopped and not over:
            at, within = divmod(now.step, per_epoch)
            now.progress = now.step / total
            _set_rates(now)
            real = batches.get(at, within)
            meter.take(move(real, batches.labels(at, within)), len(real))
            now.step += 1
            epoch = at + 1
            self.tell(events.Stepped(now.step, epoch))
            last, stopped = now.group.any_rank(now.step == total or meter.elapsed() >= limit, should_stop())
            stopped = stopped and not last
            snap = now.step % out.snapshot_every == 0 or last or stopped
            whole = within + 1 == per_epoch
            score = out.metrics_every and (now.step % out.metrics_every == 0 or last)
            if meter.full() or snap or whole or score:
                meter.read(epoch)
            if now.group.leads:
                with meter.paused():  # the time for writing files is not training time
                    if last or (whole and epoch % out.preview_every == 0):
                        self._preview(epoch)
                    if last or (whole and epoch % out.save_every == 0):
                        self._save(epoch)
                    if score:
                        self._score(epoch, now.seconds)
                    if snap:
                        self._snapshot(epoch)
            if last:
                break
        ended = events.Ended(now.step, epoch, now.seconds, interrupted=stopped)
        self.tell(ended)
        return ended

    def _preview(self, epoch: int) -> None:
        sheets = preview.preview_grids(self.now, self.source)
        for path in preview.write(sheets, self.run, epoch):
            self.tell(events.Wrote(self.now.step, epoch, "preview", path))

    def _score(self, epoch: int, seconds: float) -> None:
        settings, count = self.now.recipe.generator, self.now.recipe.output.metrics_pictures
        shown = snapshots.eval_generator(self.now)
        starts = range(0, count, _PIECE)
        pieces = [
            preview.draw(shown, settings, _SCORED_SEED, min(_PIECE, count - s), self.now.device, start=s)
            for s in starts
        ]
        labels = snapshots.labels(settings, 0, count, torch.device("cpu"))
        assert self.scorer is not None
        figures = self.scorer.score(np.concatenate(pieces), None if labels is None else labels.numpy())
        self.tell(events.Scored(self.now.step, epoch, seconds, figures))

    def _save(self, epoch: int) -> None:
        nets = (("generator", snapshots.eval_generator(self.now)), ("discriminator", self.now.discriminator))
        for name, net in nets:
            path = run_dir.checkpoint(self.run, name, epoch)
            snapshots.save({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}, path)
            self.tell(events.Wrote(self.now.step, epoch, "checkpoint", path))

    def _snapshot(self, epoch: int) -> None:
        assert self.log is not None
        snapshot = snapshots.capture(self.now, self.source, self.data_root, self.log.position())
        path = snapshots.write(snapshot, self.run, self.now.recipe.output.keep)
        self.tell(events.Wrote(self.now.step, epoch, "snapshot", path))


class _Meter:
    """A collector of the steps' readings and times, which reads them once per window, so that a GPU never waits."""

    def __init__(self, now: snapshots.State, tell: events.Observer, run: Path) -> None:
        self._now, self._tell, self._run = now, tell, run
        self._rows = torch.zeros(now.recipe.output.log_every, len(step.READINGS), device=now.device)
        self._count = self._pictures = 0
        self._watch = monitor.TrainingMonitor(losses.of(now.recipe.loss))
        self._began = time.perf_counter()

    def take(self, readings: torch.Tensor, pictures: int) -> None:
        self._rows[self._count] = readings
        self._count += 1
        self._pictures += pictures * self._now.group.size

    def full(self) -> bool:
        return self._count == len(self._rows)

    def elapsed(self) -> float:
        """Return the seconds of training, including this window."""
        return self._now.seconds + time.perf_counter() - self._began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def read(self, epoch: int) -> None:
        """Report the means of the window and end it; raise CheckFailedError at a NaN or infinite value."""
        now = self._now
        now.group.average([self._rows[: self._count]])
        rows = self._rows[: self._count].cpu().numpy().astype(np.float64)  # waits for a GPU
        seconds, now.seconds = self.elapsed() - now.seconds, self.elapsed()
        if trouble := monitor.not_finite(rows):
            self._diverged(now.step - self._count + 1 + trouble[0], trouble[1])
        loss_d, loss_g, generated, real = (float(v) for v in rows.mean(axis=0))
        self._tell(events.Measured(
            now.step, epoch, loss_d=loss_d, loss_g=loss_g, score_generated=generated, score_real=real,
            images_per_second=self._pictures / max(seconds, 1e-9), seconds=now.seconds,
        ))  # fmt: skip
        if warning := self._watch.look(rows):
            self._tell(events.Warned(now.step, warning))
        self._count = self._pictures = 0
        self._began = time.perf_counter()

    def _diverged(self, at: int, what: str) -> None:
        text = f"training diverged: {what} at step {at}"
        self._tell(events.Warned(at, text))
        kept = run_dir.snapshots(self._run)[-1:]
        last = f"the last good snapshot is {kept[0].name}" if kept else "there is no earlier snapshot"
        raise CheckFailedError(f"{text}; {last}; try a lower optimizer.generator.lr and optimizer.discriminator.lr")


def _check_labels(recipe: Recipe, source: DataSource) -> None:
    for field, classes in (
        ("generator.classes", recipe.generator.classes),
        ("discriminator.names", recipe.discriminator.names),
    ):
        if not classes:
            continue
        if source.labels is None:
            raise GanExportError(
                f"{field} is {classes}, but the images of {source.name} have no labels; "
                "put each class into its own folder, or set it to 0"
            )
        if (found := int(source.labels.max()) + 1) > classes:
            raise GanExportError(f"{field} is {classes}, and {source.name} has {found}; set it to {found}")


def _set_rates(now: snapshots.State) -> None:
    o, progress = now.recipe.optimizer, now.progress
    factor = 1.0 if progress < o.decay_from else (1 - progress) / (1 - o.decay_from)
    for optimizer, lr in ((now.optimizer_g, o.generator.lr), (now.optimizer_d, o.discriminator.lr)):
        optimizer.rate.set(lr * factor)
