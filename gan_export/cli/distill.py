"""gan-train distill: train a smaller generator from a large one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gan_export._lib.extras import require_training
from gan_export.cli import common
from gan_export.cli.inspect import read_checkpoint
from gan_export.cli.options import Strict, reads_checkpoints
from gan_export.cli.say import say, suggest, table
from gan_export.cli.stopping import interruptible
from gan_export.errors import GanExportError, printable
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.training.distill.events import Began, Event, Measured
    from gan_export.training.distill.trainer import Distilled

Runtimes = Annotated[
    str | None,
    typer.Option("--runtimes", help="Runtimes to time at the end, with commas; none for none.", show_default="usual"),
]


@reads_checkpoints
def distill(
    teacher: Annotated[Path, typer.Argument(metavar="TEACHER", help="The checkpoint of the large generator.")],
    *,
    channels: Annotated[
        float | None, typer.Option("--channels", help="Share of the teacher's channels.", show_default="0.5")
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(
            "--without", metavar="NAMES", help="Layers that the student doesn't have, with commas.", show_default=False
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", metavar="TOML", help="A file with the settings.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The run's folder.  The default is runs/NAME-student.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a field; repeatable.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Folder of torchvision's datasets, for data.source.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same weights.")] = None,
    runtimes: Runtimes = None,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Train a student with fewer channels or layers to make TEACHER's images, without data."""
    from gan_export.training import run_dir
    from gan_export.training.distill import recipe as recipes

    given = [
        *(settings or []),
        *([] if channels is None else [f"student.channels={_share(channels)}"]),
        *([] if without is None else [f"student.without={json.dumps([n.strip() for n in without.split(',')])}"]),
        *([] if device is None else [f"compute.device={device}"]),
        *([] if seed is None else [f"train.seed={seed}"]),
    ]
    read = recipes.load(recipe, given)
    into = out or Path("runs") / f"{teacher.stem}-student"
    run_dir.check_new(into)  # before torch is imported, so that an error is printed at once
    if not teacher.exists():
        raise GanExportError(f"{printable(str(teacher))}: no such file")
    _check_runtimes(runtimes)
    require_training()

    from gan_export.training.distill import trainer

    found = read_checkpoint(teacher, overrides, strict)
    with interruptible() as stop, _Display() as shown:
        done = trainer.distill(read, teacher, found, into, trainer.Options(data_root, shown, stop))
    finish(done, runtimes)


def resume(run: Path, settings: list[str], data_root: Path | None, runtimes: str | None) -> None:
    """Continue a student's run; what `gan-train resume` does with one."""
    _check_runtimes(runtimes)
    require_training()

    from gan_export.training.distill import trainer

    with interruptible() as stop, _Display() as shown:
        done = trainer.resume(run, settings, trainer.Options(data_root, shown, stop))
    finish(done, runtimes)


def finish(done: Distilled, runtimes: str | None) -> None:
    """Time both generators, and print the table and what to do next."""
    from gan_export.training.distill import trainer

    if done.ended.interrupted:
        say(f"stopped at step {done.ended.step}; nothing is lost.  Continue with:", error=True)
        suggest("gan-train", "resume", done.folder, error=True)
        raise typer.Exit(common.INTERRUPTED)
    assert done.student is not None
    speeds = _speeds(done, runtimes)
    figures = trainer.add_speeds(done.folder, speeds)
    _print_table(figures)
    say(f"done: {done.ended.step} steps in {done.ended.seconds:.0f} s of training")
    say(f"  student    {done.student}")
    say(f"  figures    {done.folder / trainer.FIGURES}")
    say("next:")
    suggest("gan-export", "onnx", done.student)
    suggest("gan-sample", done.student, "-n", 64, "--seed", 7, "-o", "grid.png")


def _check_runtimes(names: str | None) -> None:
    if names not in (None, "none"):
        from gan_export.bench import backends

        for name in str(names).split(","):
            backends.find(name.strip())


def _speeds(done: Distilled, runtimes: str | None) -> list[dict[str, Any]]:
    """Return a row per runtime: its name, and the images per second of the teacher and of the student."""
    if runtimes == "none":
        return []
    from gan_export.bench import pair
    from gan_export.training.distill import trainer

    names = pair.available(pair.USUAL) if runtimes is None else tuple(n.strip() for n in runtimes.split(","))
    assert done.student is not None
    say(f"timing both in {', '.join(names)}")
    found = pair.compare(done.folder / trainer.TEACHER, done.student, names)
    return [{"runtime": s.title, "teacher": s.first, "student": s.second, "why": s.why} for s in found]


def _print_table(figures: Mapping[str, Any]) -> None:
    teacher, student = figures["teacher"], figures["student"]
    rows = [
        _row("parameters", teacher["parameters"], student["parameters"], "{:,}"),
        _row("operations per image", teacher["operations"] / 1e6, student["operations"] / 1e6, "{:,.1f} MFLOP"),
        _row("bytes of weights", teacher["bytes"], student["bytes"], "{:,}"),
    ]
    for speed in figures["speeds"]:
        name = f"images/s, {speed['runtime']}"
        if speed["teacher"] is None or speed["student"] is None:
            rows.append((name, "-", "-", speed["why"][:60]))
            continue
        times = f"{speed['student'] / speed['teacher']:.1f} times as fast"
        rows.append((name, f"{speed['teacher']:,.0f}", f"{speed['student']:,.0f}", times))
    psnr = student["psnr"]
    rows.append(("PSNR to the teacher", "", "equal" if psnr is None else f"{psnr:.2f} dB", ""))
    if "frechet_to_teacher" in student:
        rows.append(("Frechet distance to the teacher", "", f"{student['frechet_to_teacher']:.4g}", ""))
    if "frechet" in student:
        ratio = f"{student['frechet'] / teacher['frechet']:.2f} times" if teacher["frechet"] > 0 else ""
        rows.append(("Frechet distance to the data", f"{teacher['frechet']:.4g}", f"{student['frechet']:.4g}", ratio))
    table(("", "teacher", "student", ""), rows, right=frozenset({"teacher", "student"}), whole_first=True)


def _row(name: str, teacher: float, student: float, form: str) -> tuple[str, str, str, str]:
    return name, form.format(teacher), form.format(student), f"1/{teacher / student:.1f}"


class _Display:
    """A display of a run's events, as a context manager: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, losses="")
        self._every = self._next = 1

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()  # always, because the bar hides the cursor

    def __call__(self, event: Event) -> None:
        from gan_export.training import events as common_events
        from gan_export.training.distill import events

        match event:
            case events.Began():
                self._began(event)
            case events.Stepped(step=step):
                self._bar.update(self._task, completed=step)
            case events.Measured():
                self._measured(event)
            case events.Scored(step=step, student=student) if student["psnr"] is not None:
                self._say(f"step {step}: PSNR to the teacher {student['psnr']:.2f} dB")
            case common_events.Warned(step=step, text=text):
                self._say(f"warning at step {step}: {text}", error=True)
            case common_events.Wrote(kind="checkpoint", path=path):
                self._say(f"wrote {path}")
            case common_events.Ended():
                self._stop()
            case _:
                pass

    def _stop(self) -> None:
        if self._bar.live.is_started:  # rich prints an empty line when it stops a bar that never started
            self._bar.stop()

    def _began(self, event: Began) -> None:
        self._every = max(1, event.steps // 20)
        self._next = event.step + self._every
        where = f"from step {event.step}" if event.step else "from the start"
        less = event.teacher_operations / event.student_operations
        self._say(
            f"{event.recipe.teacher}: {event.teacher_parameters:,} parameters; its student: "
            f"{event.student_parameters:,}, with 1/{less:.1f} of the operations"
        )
        features = ", ".join(event.features) or "none of its layers"
        self._say(
            f"{event.steps} steps of {event.recipe.train.batch} on {event.device}, {where}, into {event.folder}; "
            f"features: {features}; discriminator: {event.discriminator}"
        )
        if self._bar.console.is_terminal:
            self._bar.start()
        self._bar.update(self._task, total=event.steps, completed=event.step)

    def _measured(self, event: Measured) -> None:
        losses = f"pixel {event.pixel:.4f}  features {event.features:.3f}  {event.images_per_second:.0f} img/s"
        self._bar.update(self._task, losses=losses)
        if not self._bar.console.is_terminal and event.step >= self._next:
            self._next = event.step + self._every
            self._say(f"step {event.step}: {losses}")

    def _say(self, text: str, *, error: bool = False) -> None:
        if self._bar.live.is_started:
            self._bar.console.print(printable(text, limit=2000), markup=False, highlight=False)
        else:
            say(text, error=error)


def _share(channels: float) -> float:
    """Return the share; raise GanExportError for what TOML has and a recipe can't mean, such as nan."""
    from gan_export.errors import GanExportError

    if not 0 < channels <= 1:
        raise GanExportError(f"--channels {channels:g}: must be above 0 and below 1, a share of the teacher's channels")
    return channels
