"""A complete run: steps, with a log, previews, checkpoints and snapshots, which can be resumed after any end.

The run's folder is that of `training.run_dir`, with these names of its own:

distill.json               every setting
teacher.safetensors        the teacher, so that a run needs no other file
student_STEP.safetensors   the student with its spec, which every command reads without flags
figures.json               the last measurement of both
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_export import checkpoint as checkpoints
from gan_export import images
from gan_export._lib import plaindata
from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_file, write_text
from gan_export.checkpoint import Checkpoint, Source
from gan_export.errors import CheckFailedError, GanExportError, printable
from gan_export.graph.spec import GeneratorSpec, flops
from gan_export.training import devices, run_dir, snapshot
from gan_export.training import recipe as recipes
from gan_export.training.distill import events, files, measuring
from gan_export.training.distill import recipe as distilling
from gan_export.training.distill import state as states
from gan_export.training.distill.network import Network
from gan_export.training.distill.recipe import Distilling
from gan_export.training.distill.state import State
from gan_export.training.distill.step import READINGS, step
from gan_export.training.events import Ended, JsonLog, Warned, Wrote

TEACHER = "teacher.safetensors"
FIGURES = "figures.json"
_PREVIEWED = 64


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run that are not part of its recipe; see `training.trainer.Options`."""

    data_root: Path | None = None
    observe: events.Observer = lambda event: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Distilled:
    """A run that ended or was interrupted.  `student` is its last checkpoint, and None before the first."""

    folder: Path
    student: Path | None
    ended: Ended

    def result(self) -> run_dir.DistillResult:
        """Return the public result of a run that wasn't interrupted."""
        assert self.student is not None
        return run_dir.DistillResult(
            self.folder, self.student, self.ended.step, self.ended.seconds, figures(self.folder)
        )


def is_run(folder: Path) -> bool:
    """Return whether a student's run is in the folder."""
    return (folder / distilling.RECIPE).is_file()


def distill(recipe: Distilling, teacher: Path, read: Checkpoint, run: Path, options: Options) -> Distilled:
    """Train a student of the generator in the file `teacher`, read as `read`, into the new folder `run`.

    Raises GanExportError for bad input before anything is written, CheckFailedError when the training diverges.
    Deterministic: the same recipe, teacher, device, thread count and instruction set give the same bits.
    """
    run_dir.check_new(run)
    weights = None
    if recipe.discriminator.start == "beside" and recipe.loss.adversarial:
        found = states.beside(teacher)
        judge = dataclasses.replace(recipe.discriminator, start="none")
        if found is not None:
            settings, weights = found
            judge = dataclasses.replace(recipe.discriminator, network=settings)
        recipe = dataclasses.replace(recipe, discriminator=judge)
    recipe = dataclasses.replace(recipe, teacher=teacher.name, teacher_sha256=read.source.sha256)

    def begin(now: State) -> None:
        if now.judge is not None and weights is not None:
            now.judge.load_state_dict(weights)

    return _run(recipe, read, run, None, begin, options)


def resume(run: Path, settings: list[str], options: Options) -> Distilled:
    """Continue the run in `run` from its newest snapshot; the bits are the same as without the interruption."""
    recipe = distilling.resumed(distilling.read(run), settings)
    kept = run_dir.snapshots(run)[-1:]
    if not kept:
        raise GanExportError(
            f"{printable(str(run))} was stopped before its first snapshot; remove it and start the run again"
        )
    held = snapshot.read(kept[0])
    return _run(recipe, checkpoints.read(run / TEACHER), run, held, lambda now: None, options)


def _run(  # noqa: PLR0917
    recipe: Distilling,
    teacher: Checkpoint,
    run: Path,
    held: dict[str, Any] | None,
    begin: Callable[[State], None],
    options: Options,
) -> Distilled:
    device = devices.choose(recipe.compute.device)
    compute = recipe.compute
    configured = recipes.Compute(
        device=compute.device, threads=compute.threads, tf32=compute.tf32, deterministic=compute.deterministic
    )
    with ExitStack() as stack:
        stack.enter_context(devices.configured(configured, device))
        now = states.start(recipe, teacher, device)
        image = teacher.spec.signature.outputs[0].dims({})
        meter = measuring.Meter(recipe, image, options.data_root)
        begin(now)
        if held is not None:
            try:
                states.restore(now, held)
            except (KeyError, RuntimeError, TypeError, AttributeError, ValueError):
                raise GanExportError(f"{printable(str(run))}: the snapshot is of another run; remove it") from None
        stack.enter_context(run_dir.lock_run_dir(run))
        stack.enter_context(run_dir.explain_disk_full(run))
        _write(run / distilling.RECIPE, recipe.to_json())
        log = stack.enter_context(closing(JsonLog(run / run_dir.LOG, held["log_bytes"] if held else 0)))
        session = _Session(now, teacher, run, log, meter, options)
        if held is None:
            files.save(teacher.spec, teacher.weights, teacher.source, run / TEACHER)
            session.snapshot()
        session.began()
        if held is not None:
            for changed in devices.differences(held["machine"], devices.machine(device)):
                session.tell(Warned(now.step, f"resumed in another environment, so the bits may differ: {changed}"))
        return session.go()


@dataclass
class _Session:
    """A run from a state to the end or an interruption."""

    now: State
    teacher: Checkpoint
    run: Path
    log: JsonLog
    meter: measuring.Meter
    options: Options

    def tell(self, event: events.Event) -> None:
        self.log(event)
        self.options.observe(event)

    def began(self) -> None:
        now, recipe = self.now, self.now.recipe
        specs = (now.teacher.spec, now.spec)
        counts = [_count(spec) for spec in specs]
        work = [sum(flops(spec).values()) for spec in specs]
        judge = {"beside": "the teacher's", "new": "new"}.get(recipe.discriminator.start, "none")
        self.tell(events.Began(
            recipe=recipe, folder=self.run, device=str(now.device), step=now.step, steps=recipe.train.steps,
            teacher_parameters=counts[0], student_parameters=counts[1], teacher_operations=work[0],
            student_operations=work[1], features=() if now.features is None else now.features.kept,
            discriminator="none" if now.judge is None else judge,
        ))  # fmt: skip

    def go(self) -> Distilled:
        now, out, total = self.now, self.now.recipe.output, self.now.recipe.train.steps
        pace = _Pace(now, self.tell, self.run)
        stopped = False
        saved: Path | None = None
        if now.step == total and self._path().is_file():  # a run that had ended
            saved = self._path()
        while now.step < total and not stopped:
            pace.take(step(now))
            now.step += 1
            self.tell(events.Stepped(now.step))
            last = now.step == total
            stopped = self.options.should_stop() and not last
            due = last or stopped or now.step % out.snapshot_every == 0
            score = last or (out.metrics_every and now.step % out.metrics_every == 0)
            save, preview = (last or now.step % every == 0 for every in (out.save_every, out.preview_every))
            if pace.full() or due or score or save:
                pace.read()
            if not (due or score or save or preview):
                continue
            with pace.paused():  # the time for measuring and writing files is not training time
                if score or save or preview:
                    shown = states.eval_student(now)
                    if preview:
                        self._preview(shown)
                    if save:
                        saved = self._save(shown)
                    if score:
                        self._score(shown, last=last)
                if due:
                    self.snapshot()
        ended = Ended(now.step, now.step, now.seconds, interrupted=stopped)
        self.tell(ended)
        return Distilled(self.run, saved, ended)

    def snapshot(self) -> None:
        path = snapshot.write(states.capture(self.now, self.log.position()), self.run, self.now.recipe.output.keep)
        self.tell(Wrote(self.now.step, self.now.step, "snapshot", path))

    def _path(self) -> Path:
        return self.run / f"student_{self.now.step}.safetensors"

    def _save(self, shown: Network) -> Path:
        path = self._path()
        recipe = self.now.recipe  # the run's copy of the teacher has other bytes than the file it was read from
        origin = Source(recipe.teacher, recipe.teacher_sha256, "the teacher of this student")
        files.save(self.now.spec, shown.weights(), origin, path)
        self.tell(Wrote(self.now.step, self.now.step, "checkpoint", path))
        return path

    def _preview(self, shown: Network) -> None:
        """Write 64 images of the student, and images of it next to its teacher's for the same latents."""
        feeds = self.now.feeds(0, 0, _PREVIEWED)
        ours, theirs = (measuring.draw(net, feeds) for net in (shown, self.now.teacher))
        rows = [piece[4 * i : 4 * i + 4] for i in range(8) for piece in (ours, theirs)]
        sheets = {"grid": images.grid(ours, 8), "beside-teacher": images.grid(np.concatenate(rows), 8)}
        for name, sheet in sheets.items():
            path = self.run / run_dir.PREVIEWS / f"{self.now.step:07d}_{name}.png"
            path.parent.mkdir(exist_ok=True)
            images.write_png(path, sheet)
            self.tell(Wrote(self.now.step, self.now.step, "preview", path))

    def _score(self, shown: Network, *, last: bool) -> None:
        now, out = self.now, self.now.recipe.output
        count = out.metrics_pictures_at_end if last else out.metrics_pictures
        found = self.meter.figures(now, shown, count)
        self.tell(events.Scored(now.step, now.seconds, found["teacher"], found["student"]))
        if last:
            for name, spec, path in (
                ("teacher", now.teacher.spec, self.run / TEACHER),
                ("student", now.spec, self._path()),
            ):
                size = {
                    "parameters": _count(spec),
                    "operations": sum(flops(spec).values()),
                    "bytes": path.stat().st_size,
                }
                found[name] = {**size, **found[name]}
            _write(self.run / FIGURES, {"images": count, "seed": measuring.SEED, **found})


def _count(spec: GeneratorSpec) -> int:
    return sum(math.prod(shape) for shape in spec.parameters().values())


class _Pace:
    """A collector of the steps' readings and times, which reads them once per window, so that a GPU never waits."""

    def __init__(self, now: State, tell: events.Observer, run: Path) -> None:
        self._now, self._tell, self._run = now, tell, run
        self._rows = torch.zeros(now.recipe.output.log_every, len(READINGS), device=now.device)
        self._count = 0
        self._began = time.perf_counter()

    def take(self, readings: torch.Tensor) -> None:
        self._rows[self._count] = readings
        self._count += 1

    def full(self) -> bool:
        return self._count == len(self._rows)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def read(self) -> None:
        """Report the means of the window and end it; raise CheckFailedError at a NaN or infinite value."""
        now = self._now
        rows = self._rows[: self._count].cpu().numpy().astype(np.float64)  # waits for a GPU
        seconds = time.perf_counter() - self._began
        now.seconds += seconds
        if not np.isfinite(rows).all():
            first = now.step - self._count + 1 + int(np.argmax(~np.isfinite(rows).all(axis=1)))
            text = f"training diverged: a loss is not finite at step {first}"
            self._tell(Warned(first, text))
            kept = run_dir.snapshots(self._run)[-1:]
            last = f"the last good snapshot is {kept[0].name}" if kept else "there is no earlier snapshot"
            raise CheckFailedError(f"{text}; {last}; try a lower optimizer.student.lr")
        if self._count:
            means = dict(zip(READINGS, map(float, rows.mean(axis=0)), strict=True))
            rate = self._count * now.recipe.train.batch / max(seconds, 1e-9)
            self._tell(events.Measured(now.step, **means, images_per_second=rate, seconds=now.seconds))
        self._count = 0
        self._began = time.perf_counter()


def add_speeds(run: Path, speeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Add images per second to figures.json, and return its content; see `figures`."""
    held = {**figures(run), "speeds": speeds}
    _write(run / FIGURES, held)
    return held


def figures(run: Path) -> dict[str, Any]:
    """Return the content of figures.json; raise GanExportError if it isn't there or is damaged."""
    try:
        held = plaindata.from_json((run / FIGURES).read_bytes())
        if not isinstance(held, dict):
            raise ValueError("no object")
    except (OSError, ValueError):
        raise GanExportError(f"{printable(str(run / FIGURES))} is missing or damaged; start a new run") from None
    return held


def _write(path: Path, data: Mapping[str, Any]) -> None:
    with atomic_file(path) as temporary:
        write_text(temporary, json_text(data, indent=2))
