"""REPORT.md and report.html: what the kept runs say, made from them and from nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from gan_export import charts
from gan_export.bench import plots, record, summary
from gan_export.bench.record import Run
from gan_export.bench.summary import Line
from gan_export.errors import GanExportError, printable
from gan_export.files import atomic_file

NAMES = ("REPORT.md", "report.html")
SELF_CHECK = "SELF_CHECK.md"  # what `benchmarks/self_check.py` leaves beside them


def write(folder: Path, out: Path) -> list[Path]:
    """Both pages into `out`, with a link to SELF_CHECK where it lies there.

    Raises GanExportError if `folder` holds no run, and UnavailableError if matplotlib is not installed.
    """
    charts.require()
    runs = read_all(folder)
    if not out.is_dir():
        raise GanExportError(f"{printable(str(out))} is no folder; make it first")
    targets = [out / name for name in NAMES]
    for target, text in zip(targets, (markdown(runs, checked=(out / SELF_CHECK).is_file()), page(runs)), strict=True):
        with atomic_file(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return targets


def read_all(folder: Path) -> dict[str, Run]:
    """Every run of a folder by its file's name, the newest first; other JSON files may lie there too.

    Raises GanExportError for a run of another version, and for a folder without runs.
    """
    if not folder.is_dir():
        raise GanExportError(f"{printable(str(folder))} is no folder of runs")
    runs = {path.name: record.read(path) for path in sorted(folder.glob("*.json")) if record.is_run(path)}
    if not runs:
        raise GanExportError(f"{printable(str(folder))} holds no run; gan-bench --keep puts one there")
    return dict(sorted(runs.items(), key=lambda item: item[1].created, reverse=True))


def newest(runs: dict[str, Run]) -> dict[str, Run]:
    """Of the runs of one suite, generator, device and machine, the newest."""
    found: dict[tuple[object, ...], str] = {}
    for name, run in runs.items():
        found.setdefault((run.suite, run.model.name, run.settings.device, run.machine.cpu, run.machine.gpu), name)
    return {name: runs[name] for name in found.values()}


def markdown(runs: dict[str, Run], *, checked: bool = False) -> str:
    """Tables of the newest run of each kind, and a list of all.  `checked`: SELF_CHECK lies beside it."""
    parts = ["# Benchmarks", "", _preamble(), ""]
    if checked:
        parts += [f"[{SELF_CHECK}]({SELF_CHECK}) says how far the bench itself was found to tell the truth.", ""]
    for name, run in newest(runs).items():
        parts += [f"## {_heading(run)}", "", *(f"- {fact}" for fact in _facts(name, run)), ""]
        for quantity, batch, lines in _groups(run):
            parts += [
                f"### {summary.QUANTITY_NAMES[quantity]}, batch {batch}",
                "",
                *_md_table(_COLUMNS, _cells(lines)),
                "",
            ]
        parts += ["### apart from speed", "", *_md_table(_ASIDE, _aside(run)), ""]
        if run.absent:
            parts += ["Not measured:", "", *(f"- {a.title}: {a.reason}" for a in run.absent), ""]
    parts += ["## All runs", "", *_md_table(_INDEX, _index(runs)), ""]
    return "\n".join(parts)


def page(runs: dict[str, Run]) -> str:
    """One HTML file that needs nothing else."""
    parts = [f"<h1>Benchmarks</h1><p>{_prose(_preamble())}</p>"]
    for name, run in newest(runs).items():
        facts = "".join(f"<li>{_prose(fact)}</li>" for fact in _facts(name, run))
        parts.append(f"<section><h2>{html.escape(_heading(run))}</h2><ul>{facts}</ul>")
        parts.append(_figures(run))
        for quantity, batch, lines in _groups(run):
            parts.append(f"<h3>{summary.QUANTITY_NAMES[quantity]}, batch {batch}</h3>")
            parts.append(_html_table(_COLUMNS, _cells(lines), [line.struck for line in lines]))
        parts.append("<h3>apart from speed</h3>" + _html_table(_ASIDE, _aside(run)))
        if run.absent:
            items = "".join(f"<li>{html.escape(a.title)}: {html.escape(a.reason)}</li>" for a in run.absent)
            parts.append(f"<h3>not measured</h3><ul>{items}</ul>")
        parts.append("</section>")
    parts.append("<h2>All runs</h2>" + _html_table(_INDEX, _index(runs)))
    return _PAGE.replace("BODY", "\n".join(parts))


def _preamble() -> str:
    return (
        "Made by `gan-bench report` from the runs in results/, and from nothing else. Every runtime in a fresh "
        "process, turns in blocks, medians over the blocks with a 95 % interval: Student's t for up to five, two of "
        "them that enclose the truth for more. model: latents in the device's memory to pictures in the device's "
        "memory; end to end: a seed to uint8 pictures in host memory. A runtime whose pictures are wrong, or were not "
        "judged after timing, has no speed."
    )


def _heading(run: Run) -> str:
    c, h, w = run.model.image
    what = run.machine.gpu if run.settings.device == "cuda" and run.machine.gpu else run.machine.cpu
    return f"{run.model.name}, {w}x{h}x{c}, on {what}"


def _facts(name: str, run: Run) -> list[str]:
    flops = f"{run.model.flops / 1e6:,.0f} MFLOP an image; " if run.model.flops else ""
    processes = f"{run.settings.processes} process{'es' if run.settings.processes > 1 else ''}"
    facts = [
        f"{flops}{run.settings.threads} threads, {run.settings.rounds} rounds of at least "
        f"{run.settings.block_seconds:g} s, {processes}",
        f"{run.created}, `{run.command}`, commit {run.commit or 'none'}, {name}",
        ", ".join(f"{package} {version}" for package, version in run.versions.items()),
    ]
    if run.peak:
        products = ", ".join(f"{k} {v / 1e9:,.0f} GFLOP/s" for k, v in run.peak.flops.items())
        facts.append(f"the machine's peak: matrix product {products}; copy {run.peak.bytes / 1e9:,.1f} GB/s")
    if run.partial:
        facts.append("partial: interrupted before the end; what was not judged after timing has no speed")
    facts += [f"unstable: {doubt}" for doubt in summary.doubts(run)]
    return facts


def _groups(run: Run) -> list[tuple[record.Quantity, int, list[Line]]]:
    found = summary.lines(run)
    keys = dict.fromkeys((line.quantity, line.batch) for line in found)
    return [(q, b, [line for line in found if (line.quantity, line.batch) == (q, b)]) for q, b in keys]


_COLUMNS = ("runtime", "images/s", "95 % interval", "times eager", "of peak", "call p50", "p90", "p99", "parity")
_ASIDE = ("runtime", "version", "precision", "start to first picture", "load", "peak memory", "file", "BatchNorm")
_INDEX = ("run", "suite", "generator", "device", "threads", "state")


def _cells(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    rows = []
    for line in lines:
        name, judged = summary.title(line.entry), summary.parity_text(line.parity)
        if line.rate is None or line.call is None:
            rows.append((name, line.verdict, *[""] * 6, judged))
            continue
        against = line.against
        rows.append(
            (
                name,
                summary.rate_text(line.rate.value),
                f"{summary.rate_text(line.rate.low)} to {summary.rate_text(line.rate.high)}",
                "" if against is None else f"{against.value:.2f} ({against.low:.2f} to {against.high:.2f})",
                "" if line.of_peak is None else f"{line.of_peak:.0%}",
                *(summary.seconds_text(v) for v in line.call),
                judged,
            )
        )
    return rows


def _aside(run: Run) -> list[tuple[str, ...]]:
    return [(*summary.aside(e), "folded" if e.folded else "kept") for e in run.entries]


def _index(runs: dict[str, Run]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            run.suite or "",
            run.model.name,
            run.settings.device,
            str(run.settings.threads),
            "partial" if run.partial else "unstable" if summary.doubts(run) else "stable",
        )
        for name, run in runs.items()
    ]


def _figures(run: Run) -> str:
    drawn = [f"<figure>{svg}<figcaption>{html.escape(text)}</figcaption></figure>" for svg, text in plots.figures(run)]
    return f'<div class="figures">{"".join(drawn)}</div>'


def _prose(text: str) -> str:
    """Escaped, with what stands between backquotes as code."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def _md_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cell = [[c.replace("|", "\\|") for c in row] for row in rows]
    head = f"| {' | '.join(columns)} |"
    rule = f"| {' | '.join('---' if i == 0 else '---:' for i in range(len(columns)))} |"
    return [head, rule, *(f"| {' | '.join(row)} |" for row in cell)]


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], struck: Sequence[bool] = ()) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = []
    for i, row in enumerate(rows):
        kind = ' class="wrong"' if struck and struck[i] else ""
        body.append(f"<tr{kind}>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Benchmarks</title><style>
body { font: 15px/1.45 sans-serif; color: #000; background: #fff; max-width: 1240px; margin: 0 auto; padding: 8px; }
h1 { font-size: 24px; } h2 { font-size: 18px; border-top: 2px solid #000; padding-top: 12px; } h3 { font-size: 15px; }
ul { padding-left: 18px; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(384px, 100%), 1fr)); gap: 12px; }
figure { margin: 0; } figcaption { font-size: 13px; } svg { width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
td, th { border: 1px solid #999; padding: 2px 7px; text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; } .wrong { text-decoration: line-through; background: #eee; }
</style></head><body>
BODY
</body></html>
"""
