"""gan-bench [FILE...]: measure how fast each runtime generates images, and verify these images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gan_export.cli import common, tables
from gan_export.cli.bench_tables import print_run, print_table
from gan_export.cli.options import Strict, reads_checkpoints
from gan_export.cli.say import put, say, suggest
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.bench.measure import Progress
    from gan_export.bench.plan import Plan
    from gan_export.bench.record import Run
    from gan_export.bench.target import Source

HELP = """Measure how fast runtimes generate the same images.  Each has a fresh process, and they take turns.

\b
gan-bench --batch 512                 the classic 32x32 generator
gan-bench g.pth --batch 1,64          your checkpoint, exported for each runtime
gan-bench g.pth g.onnx                your own export, compared with g.pth
gan-bench --suite quick               the settings in gan_export/bench/suites/quick.toml
gan-bench compare A.json B.json       compare two runs, row by row
gan-bench report DIR                  make a report from the runs in DIR
"""
app = common.new_app(HELP, default="bench")

Names = Annotated[
    str | None,
    typer.Option(
        "--runtimes", help="Runtimes to measure, with commas; see gan-bench list.", show_default="the usual ones"
    ),
]
Batches = Annotated[str | None, typer.Option("--batch", help="Batch sizes, with commas.", show_default="512")]
Quantities = Annotated[
    str | None,
    typer.Option("--measure", help="What to time: model, end_to_end, or both with a comma.", show_default="model"),
]
Rounds = Annotated[int | None, typer.Option("--rounds", help="Number of turns per runtime.", show_default="7")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Shortest time of a turn.", show_default="0.3")]
Processes = Annotated[
    int | None, typer.Option("--processes", help="Number of fresh processes per runtime.", show_default="1")
]


@app.command(hidden=True)
@reads_checkpoints
def bench(
    files: Annotated[
        list[Path] | None, typer.Argument(help="A checkpoint, exports of it, or both.", show_default=False)
    ] = None,
    *,
    batch: Batches = None,
    runtimes: Names = None,
    quantity: Quantities = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Built-in generator if no FILE is given, such as classic, dcgan64 or sngan64.",
            show_default="classic",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.", show_default="auto")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads for each runtime.", show_default="all processors")
    ] = None,
    rounds: Rounds = None,
    seconds: Seconds = None,
    processes: Processes = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Measure powers of two, until memory is full or larger batches no longer pay."),
    ] = False,
    suite: Annotated[str | None, typer.Option("--suite", help="A suite's name, or a .toml file.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out generators of which --save-dir has this suite's whole run.")
    ] = False,
    fail_on_unstable: Annotated[
        bool, typer.Option("--fail-on-unstable", help="Exit with 1 if a runtime failed or the run is unstable.")
    ] = False,
    json: Annotated[str | None, typer.Option("--json", help="Write the run to this new file; - prints it.")] = None,
    keep: Annotated[
        Path | None, typer.Option("--save-dir", help="Keep each run in this folder, under a generated name.")
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="Write the rows to this file as CSV; - prints them.")] = None,
    strict: Strict = False,
    overrides: ReadOptions,
) -> None:
    """Measure FILE, or a built-in generator if no FILE is given."""
    from gan_export.bench import plan as plans
    from gan_export.errors import GanExportError

    given: dict[str, Any] = {
        "batches": _numbers(batch),
        "runtimes": _words(runtimes),
        "quantities": _words(quantity),
        "models": _words(model),
        "device": device,
        "threads": threads,
        "rounds": rounds,
        "block_seconds": seconds,
        "processes": processes,
        "sweep": sweep or None,
    }
    plan = plans.merged(plans.from_suite(suite) if suite else plans.Plan(), given)
    if files and model:
        raise GanExportError("a FILE and --model: name one of them")
    if resume and (files or not suite or not keep):
        raise GanExportError(
            "--resume goes on with a suite of built-in generators whose runs are kept: "
            "add --suite NAME --save-dir DIR, without a FILE"
        )
    if json == "-" and csv == "-":
        raise GanExportError("--json - and --csv - both print: send one to a file")
    sources = _sources(files or [], plan, overrides, strict)
    if len(sources) > 1 and (json or csv):
        raise GanExportError(f"this suite measures {len(sources)} generators; write their runs with --save-dir DIR")
    _check_targets(json, csv, keep, files or [])
    unstable = [
        _measure(plan.of_model(source) if isinstance(source, str) else plan, source, json, csv, keep)
        for source in sources
        if not (resume and keep and isinstance(source, str) and _is_kept(keep, plan, source))
    ]
    if fail_on_unstable and any(unstable):
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The JSON of a run.")],
    after: Annotated[Path, typer.Argument(help="The JSON of a later run.")],
    *,
    fail_below: Annotated[
        float | None, typer.Option("--fail-below", help="Exit with 1 if a row's whole interval is below this ratio.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--force", help="Compare even if machines or settings differ.")] = False,
) -> None:
    """Show the speed of AFTER relative to BEFORE, row by row, with 95 % intervals."""
    from gan_export.bench import compare as comparing
    from gan_export.bench import record
    from gan_export.errors import GanExportError

    if fail_below is not None and not 0 < fail_below <= 10:
        raise GanExportError(f"--fail-below {fail_below:g}: must be above 0 and at most 10")
    found = comparing.compare(record.read(before), record.read(after), unlike=anyway)
    rows = [
        (
            p.contender,
            str(p.batch),
            p.quantity.replace("_", " "),
            f"{p.ratio.value:.3f}" if p.ratio else "-",
            f"{p.ratio.low:.3f} to {p.ratio.high:.3f}" if p.ratio else "-",
            p.verdict,
        )
        for p in found.pairs
    ]
    print_table(None, ("runtime", "batch", "quantity", "ratio", "95 % interval", "AFTER is"), rows)
    for side, keys in ((before, found.only_before), (after, found.only_after)):
        for key in keys:
            say(f"only in {side.name}: {key}")
    if fail_below is not None:
        comparing.check(found, fail_below)
    if before.resolve().parent == after.resolve().parent:
        suggest("gan-bench", "report", before.parent)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A folder for REPORT.md and report.html.", show_default="next to DIR"),
    ] = None,
) -> None:
    """Write REPORT.md and report.html from the runs in DIR only."""
    from gan_export.bench import report as reports

    for path in reports.write(folder, out or folder.resolve().parent):
        say(path)
    newest = sorted(folder.glob("*.json"))[-2:]
    if len(newest) == 2:
        suggest("gan-bench", "compare", *newest)
    else:
        suggest("gan-bench", "CHECKPOINT", "--save-dir", folder)


@app.command(name="list")
def list_runtimes(*, device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto") -> None:
    """List the runtimes, with the reasons why some can't run here."""
    from gan_export import runtimes
    from gan_export.bench.backends import BACKENDS
    from gan_export.bench.plan import Plan

    where = Plan(device=device).resolved_device()
    rows = []
    for contender in BACKENDS:
        found = runtimes.find(contender.runtime).availability(where)
        if where not in contender.devices:
            state = f"only on {' and '.join(contender.devices)}"
        elif found.ok:
            state = "yes" if contender.usual else "yes, if it or a file for it is named"
        else:
            state = found.reason
        rows.append((contender.name, contender.title, state))
    print_table(None, ("name", "means", f"available on {where}"), rows)
    usable = [name for name, _, state in rows if state == "yes"]
    suggest("gan-bench", "CHECKPOINT", "--runtimes", ",".join(usable))


def main() -> None:
    """The command `gan-bench`."""
    common.main(app, "gan-bench")


def _is_kept(folder: Path, plan: Plan, model: str) -> bool:
    """Return whether a suite's run of a built-in generator is in `folder`, and say so."""
    from gan_export.bench import resume

    found = resume.kept(folder, plan, model)
    if found is not None:
        say(f"{model}: already measured, {found.name}")
    return found is not None


def _measure(plan: Plan, source: Source | str, json: str | None, csv: str | None, keep: Path | None) -> bool:
    """Run, save and print one benchmark; return whether its results are unstable.  Exit with 130 if interrupted."""
    from gan_export.bench import measure, record, summary
    from gan_export.errors import GanExportError

    with _Bar() as bar:
        run = measure.run(plan, source, bar.show, command=_command_line())
    kept, lost = _keep(run, json, csv, keep)
    if json == "-":
        put(record.to_text(run))
    elif csv == "-":
        put(summary.to_csv(run))
    else:
        print_run(run)
        for path in kept:
            say(f"kept: {path}")
        if keep:
            suggest("gan-bench", "report", keep)
        elif kept and kept[0].suffix == ".json":
            suggest("gan-bench", "compare", kept[0], "LATER.json")
        elif not run.partial:
            suggest("gan-bench", *sys.argv[1:], "--save-dir", ".")  # keeps the next one, to compare it with later ones
    if lost:
        raise GanExportError("; ".join(lost))
    if run.partial:
        raise KeyboardInterrupt
    return (
        bool(summary.doubts(run))
        or any(line.excluded for line in summary.lines(run))
        or any(a.failed for a in run.absent)
    )


def _keep(run: Run, json: str | None, csv: str | None, keep: Path | None) -> tuple[list[Path], list[str]]:
    """Write the run to every target; return the written paths, and the errors of the others."""
    from gan_export._lib.fs import atomic_file, write_text
    from gan_export.bench import record, summary
    from gan_export.errors import GanExportError

    def table(path: Path) -> None:
        with atomic_file(path) as temporary:
            write_text(temporary, summary.to_csv(run))

    targets: list[tuple[Path, Callable[[Path], None]]] = []
    if json and json != "-":
        targets.append((Path(json), lambda path: record.write(run, path)))
    if csv and csv != "-":
        targets.append((Path(csv), table))
    if keep:
        targets.append((keep / record.file_name(run), lambda path: record.write(run, path)))
    kept, lost = [], []
    for path, write in targets:
        try:
            write(path)
            kept.append(path)
        except GanExportError as e:
            lost.append(str(e))
    if lost and not any(path.suffix == ".json" for path in kept):
        lost.append(_rescued(run))
    return kept, lost


def _rescued(run: Run) -> str:
    """Write the run to a new temporary file; return a sentence with its path."""
    import os
    import tempfile

    from gan_export.bench import record

    try:
        handle, name = tempfile.mkstemp(".json", f"{Path(record.file_name(run)).stem}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(str(record.to_text(run)))
    except OSError as e:
        return f"nor can {tempfile.gettempdir()}: {e.strerror or e}"
    return f"the run was saved in {name}"


def _sources(files: list[Path], plan: Plan, overrides: ReadOptions, strict: bool) -> list[Source | str]:
    from gan_export.bench.target import idle, runner, sort_files
    from gan_export.errors import GanExportError, printable

    if not files:
        if overrides != ReadOptions():
            raise GanExportError(
                f"{overrides} describes a checkpoint, and none is named; name its FILE, or leave the flag out"
            )
        return list(plan.models)
    for file in files:
        common.print_program(file)
    source = sort_files(files, overrides)
    if source.checkpoint is not None:
        tables.check_source(source.checkpoint, source.overrides, strict, by_evidence=strict)
    if source.overrides != overrides:
        recorded = printable(str(source.overrides), limit=500)
        say(f"note: the checkpoint is read with {recorded}, the flags in the manifests of its exports", error=True)
    if plan.runtimes:
        for kind, path in idle(source, plan.entrants("cpu")).items():
            raise GanExportError(
                f"{printable(path.name)}: none of --runtimes {','.join(plan.runtimes)} runs it; "
                f"add {runner(kind, path).name}, or leave the file out"
            )
    return [source]


def _check_targets(json: str | None, csv: str | None, keep: Path | None, files: list[Path]) -> None:
    """Raise GanExportError before measuring if a result could not be written, or would replace a measured file."""
    import tempfile

    from gan_export.errors import GanExportError
    from gan_export.formats import manifest

    named = [Path(target) for target in (json, csv) if target and target != "-"]
    for target in named:
        if not target.resolve().parent.is_dir():
            raise GanExportError(f"{target.parent} is not a folder; create it first")
        if target.is_dir():
            raise GanExportError(f"{target} is a folder; name a file in it")
    for folder in (*(target.resolve().parent for target in named), *([keep] if keep else [])):
        if not folder.is_dir():
            raise GanExportError(f"{folder} is not a folder; create it first")
        try:
            with tempfile.TemporaryFile(dir=folder):  # permissions are not enough: a file system may refuse files
                pass
        except OSError as e:
            raise GanExportError(f"{folder} can't be written ({e.strerror or e}); name another folder") from None
    measured = {part.resolve(): part for file in files for part in manifest.files(file).values()}
    for target in named:
        if target.resolve() in measured:
            raise GanExportError(f"{target} is one of the files to measure; name another for the result")
    if json and json != "-" and Path(json).exists():
        raise GanExportError(f"{json} already exists, and a result is never overwritten; name another file")
    if len(named) == 2 and named[0].resolve() == named[1].resolve():
        raise GanExportError(f"--json and --csv are both {csv}; name two files")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    from gan_export.errors import GanExportError

    words = _words(text)
    if words is None:
        return None
    try:
        return tuple(dict.fromkeys(int(word) for word in words))
    except ValueError:
        raise GanExportError(f"--batch {text}: must be whole numbers with commas, such as 1,64,512") from None


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(","))


def _command_line() -> str:
    """Return the command line without folders, so that a result contains no path of its machine."""
    import shlex

    return shlex.join(["gan-bench", *(Path(a).name if "/" in a or "\\" in a else a for a in sys.argv[1:])])


class _Bar:
    """A progress line on stderr if that is a terminal."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (
            BarColumn(30),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[left]}  {task.description}", markup=False),
        )
        console = Console(stderr=True)
        self._bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=1.0, left="")
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        from gan_export.errors import printable

        left = "" if progress.seconds_left is None else f"{_clock(progress.seconds_left)} left"
        self._bar.update(self._task, completed=progress.done, description=printable(progress.what), left=left)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


if __name__ == "__main__":
    main()
