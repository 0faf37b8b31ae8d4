"""gan-train: train from a recipe or a TOML file into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gan_export._lib.extras import require_training
from gan_export.cli import common
from gan_export.cli import distill as distilled
from gan_export.cli.say import say, suggest
from gan_export.cli.stopping import Stop, interruptible
from gan_export.errors import GanExportError, printable

if TYPE_CHECKING:
    from gan_export.training import events
    from gan_export.training.events import Ended, Event
    from gan_export.training.processes import Plan
    from gan_export.training.trainer import Options

app = common.new_app(
    "Train a GAN from a recipe.  RECIPE is a name from `gan-train list`, or a TOML file.\n\n"
    "Every field can be overridden: --set train.epochs=5.  To continue a run that was "
    "interrupted, use `gan-train resume RUN`.",
    default="run",
)

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a field; repeatable.")
]
Root = Annotated[
    Path | None, typer.Option("--data-root", help="Folder of torchvision's datasets.  The default is ./data.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Devices = Annotated[int, typer.Option("--devices", help="Number of processes on this machine; they share each batch.")]
Nodes = Annotated[int, typer.Option("--nodes", help="Number of machines; set MASTER_ADDR, MASTER_PORT and NODE_RANK.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write scalars and previews for TensorBoard into the run's folder.")
]


@app.command("run")
def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a TOML file.")],
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The run's folder.  The default is runs/RECIPE.")
    ] = None,
    settings: Settings = None,
    data_root: Root = None,
    device: Device = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same weights.")] = None,
    fail_on_unreadable: Annotated[
        bool, typer.Option("--fail-on-unreadable", help="Refuse images that can't be read instead of skipping them.")
    ] = False,
    tensorboard: Tensorboard = False,
    devices: Devices = 1,
    nodes: Nodes = 1,
) -> None:
    """Train RECIPE (the default: `gan-train RECIPE`)."""
    from gan_export.training import recipe as recipes
    from gan_export.training import run_dir, torchrun

    more = [f"train.seed={seed}"] if seed is not None else []
    more += ["data.strict=true"] if fail_on_unreadable else []
    read = recipes.load(recipe, [*(settings or []), *more, *_device(device)])
    into = out or Path("runs") / read.name
    place = torchrun.place()
    if place is None or place.rank == 0:  # the first process may have created the folder already
        run_dir.check_new(into)  # before torch is imported, so that an error is printed at once
    require_training()

    from gan_export.training import processes

    with interruptible() as stop, _Display() as shown:
        plan = processes.Plan(devices, nodes)
        ended = processes.run(plan, read, into, [], _options(data_root, tensorboard, stop, shown))
    _finish(into, ended, plan)


@app.command("resume")
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of an interrupted run.")],
    *,
    settings: Settings = None,
    data_root: Root = None,
    device: Device = None,
    tensorboard: Tensorboard = False,
    devices: Devices = 1,
    nodes: Nodes = 1,
    runtimes: distilled.Runtimes = None,
) -> None:
    """Continue RUN exactly.  --set can change its end, output.*, its device, data.path and data.memory."""
    from gan_export.training import recipe as recipes
    from gan_export.training import run_dir
    from gan_export.training.distill import recipe as distilling

    given = [*(settings or []), *_device(device)]
    if (run / distilling.RECIPE).is_file():
        if tensorboard or (devices, nodes) != (1, 1):
            raise GanExportError("a student's run takes no --tensorboard, --devices and --nodes")
        distilling.resumed(distilling.read(run), given)
        distilled.resume(run, given, data_root, runtimes)
        return
    if runtimes is not None:
        raise GanExportError("--runtimes is for a student's run, which ends with speeds")
    recipes.resumed(run_dir.recipe(run), given)  # before torch is imported, so that an error is printed at once
    require_training()

    from gan_export.training import processes

    with interruptible() as stop, _Display() as shown:
        plan = processes.Plan(devices, nodes)
        ended = processes.run(plan, None, run, given, _options(data_root, tensorboard, stop, shown))
    _finish(run, ended, plan)


app.command("distill")(distilled.distill)


@app.command("report")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder; the run may still be in progress.")],
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Output file.  The default is RUN/page.html.")] = None,
) -> None:
    """Show RUN as one HTML file: curves, previews over time, a latent walk, settings."""
    from gan_export.training import report as reports
    from gan_export.training import run_dir

    target = out or run / "page.html"
    reports.write(run, target)
    say(f"wrote {target}")
    saved = run_dir.generators(run)
    if saved:
        suggest("gan-export", "onnx", saved[-1])
    elif (run / "snapshots").is_dir():  # a kept record has its log, and no state to continue from
        suggest("gan-train", "resume", run)


@app.command("list")
def list_recipes() -> None:
    """List the bundled recipes."""
    from gan_export.training import recipe as recipes

    read = [recipes.load(name) for name in recipes.known()]
    width = max(len(r.name) for r in read)
    for r in read:
        size = f"{r.data.channels}x{r.data.size}x{r.data.size}"
        say(f"{r.name:{width}}  {r.data.source:13} {size:9} {r.train.epochs:3} epochs  {r.about}")
    if (recorded := recipes.recorded()) is None:
        say("records of their results: train/records in the source repository")
    else:
        without = [r.name for r in read if r.name not in recorded]
        have = [r.name for r in read if r.name in recorded]
        say(f"with a record of its results (train/records): {', '.join(have) or 'none'}")
        say(f"without a record: {', '.join(without) or 'none'}")
    suggest("gan-train", "mnist32-demo")


def main() -> NoReturn:
    """The gan-train command."""
    common.main(app, "gan-train")


def _device(name: str | None) -> list[str]:
    return [] if name is None else [f"compute.device={name}"]


def _options(data_root: Path | None, tensorboard: bool, stop: Stop, shown: _Display) -> Options:
    from gan_export.training.trainer import Options

    return Options(data_root, tensorboard, shown, stop)


def _finish(run: Path, ended: Ended, plan: Plan) -> None:
    from gan_export.training import run_dir, torchrun

    place = torchrun.place()
    if place and place.rank:
        raise typer.Exit(common.INTERRUPTED if ended.interrupted else 0)
    if ended.interrupted:
        counts = (("--devices", plan.devices), ("--nodes", plan.nodes))
        by = [word for flag, count in counts if count > 1 for word in (flag, count)]
        say(f"stopped at step {ended.step}; nothing is lost.  Continue with:", error=True)
        suggest("gan-train", "resume", run, *by, error=True)
        raise typer.Exit(common.INTERRUPTED)
    generator = run_dir.checkpoint(run, "generator", ended.epoch)
    say(f"done: {ended.step} steps in {ended.seconds:.0f} s of training")
    say(f"  generator  {generator}")
    say(f"  previews   {run / run_dir.PREVIEWS}")
    say(f"  log        {run / run_dir.LOG}")
    say("next:")
    suggest("gan-export", "onnx", generator)
    suggest("gan-sample", generator, "-n", 64, "--seed", 7, "-o", "grid.png")


class _Display:
    """A display of a run's events, as a context manager: a bar on a terminal, else one line per epoch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, epoch=0, epochs=0, losses="")
        self._epochs = self._steps_per_epoch = 0

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()  # always, because the bar hides the cursor

    def __call__(self, event: Event) -> None:
        from gan_export.training import events

        match event:
            case events.Began():
                self._began(event)
            case events.Stepped(step=step, epoch=epoch):
                self._bar.update(self._task, completed=step, epoch=epoch)
            case events.Measured():
                self._measured(event)
            case events.Warned(step=step, text=text):
                self._say(f"warning at step {step}: {text}", error=True)
            case events.Wrote(kind="checkpoint", path=path):
                self._say(f"wrote {path}")
            case events.Ended():
                self._stop()
            case _:
                pass

    def _stop(self) -> None:
        if self._bar.live.is_started:  # rich prints an empty line when it stops a bar that never started
            self._bar.stop()

    def _began(self, event: events.Began) -> None:
        recipe = event.recipe
        self._epochs, self._steps_per_epoch = recipe.train.epochs, event.steps_per_epoch
        where = f"from step {event.step}" if event.step else "from the start"
        self._say(
            f"{recipe.name}: {event.pictures} images of {recipe.data.source}, {event.steps} steps "
            f"of {recipe.train.batch} on {event.device}, {where}, into {event.folder}"
        )
        if event.skipped:
            named = "; ".join(event.skipped[:5]) + ("; ..." if len(event.skipped) > 5 else "")
            self._say(f"warning: {len(event.skipped)} images can't be read and are skipped: {named}", error=True)
        if self._bar.console.is_terminal:
            self._bar.start()
        self._bar.update(self._task, total=event.steps, completed=event.step, epochs=self._epochs)

    def _measured(self, event: events.Measured) -> None:
        losses = f"D {event.loss_d:.3f}  G {event.loss_g:.3f}  {event.images_per_second:.0f} img/s"
        self._bar.update(self._task, losses=losses)
        if not self._bar.console.is_terminal and event.step % self._steps_per_epoch == 0:
            self._say(f"epoch {event.epoch}/{self._epochs}: step {event.step}  {losses}")

    def _say(self, text: str, *, error: bool = False) -> None:
        if self._bar.live.is_started:
            self._bar.console.print(printable(text, limit=2000), markup=False, highlight=False)
        else:
            say(text, error=error)


if __name__ == "__main__":
    main()
