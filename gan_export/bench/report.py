"""Write REPORT.md and report.html from the stored runs only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_export._lib import charts
from gan_export._lib.escape import Html, Markdown, Text, html, html_text, markdown_code, markdown_text
from gan_export._lib.escape import markdown as md
from gan_export._lib.fs import atomic_file, write_text
from gan_export.bench import plots, record, summary
from gan_export.bench.record import Run, image_size
from gan_export.bench.summary import Line
from gan_export.errors import GanExportError, printable

NAMES = ("REPORT.md", "report.html")
SELF_CHECK = "SELF_CHECK.md"  # written by `benchmarks/self_check.py` into the same folder


def write(folder: Path, out: Path) -> list[Path]:
    """Write both pages into `out`, with a link to SELF_CHECK if it is there.

    Raises GanExportError if `folder` holds no run, and UnavailableError if matplotlib is not installed.
    """
    charts.require()
    runs = read_all(folder)
    if not out.is_dir():
        raise GanExportError(f"{printable(str(out))} is not a folder; create it first")
    targets = [out / name for name in NAMES]
    made: tuple[Text[Markdown] | Text[Html], ...] = (markdown(runs, checked=(out / SELF_CHECK).is_file()), page(runs))
    for target, text in zip(targets, made, strict=True):
        with atomic_file(target) as temporary:
            write_text(temporary, text)
    return targets


def read_all(folder: Path) -> dict[str, Run]:
    """Return every run of a folder by its file name, newest first; other JSON files are skipped.

    Raises GanExportError for a run of another version, and for a folder without runs.
    """
    if not folder.is_dir():
        raise GanExportError(f"{printable(str(folder))} is not a folder of runs")
    runs = {path.name: record.read(path) for path in sorted(folder.glob("*.json")) if record.is_run(path)}
    if not runs:
        raise GanExportError(f"{printable(str(folder))} contains no run; gan-bench save_dir= writes one there")
    return dict(sorted(runs.items(), key=lambda item: item[1].created, reverse=True))


def newest(runs: dict[str, Run]) -> dict[str, Run]:
    """Return the newest run of each suite, generator, device and machine."""
    found: dict[tuple[object, ...], str] = {}
    for name, run in runs.items():
        found.setdefault((run.suite, run.model.name, run.settings.device, run.machine.cpu, run.machine.gpu), name)
    return {name: runs[name] for name in found.values()}


def markdown(runs: dict[str, Run], *, checked: bool = False) -> Text[Markdown]:
    """Return the tables of the newest run of each kind, and a list of all runs.

    checked: whether SELF_CHECK is in the same folder
    """
    parts = [md("# Benchmarks\n"), md("{text}\n", text=_in_markdown(_preamble()))]
    if checked:
        parts.append(
            md(
                "[{name}]({name}) tests the benchmark itself.\n",
                name=markdown_text(SELF_CHECK),
            )
        )
    for name, run in newest(runs).items():
        parts.append(md("## {heading}\n", heading=markdown_text(_heading(run))))
        parts += [md("- {fact}", fact=_in_markdown(fact)) for fact in _facts(name, run)]
        parts.append(md(""))
        for quantity, batch, lines in _groups(run):
            what = markdown_text(summary.QUANTITY_NAMES[quantity])
            parts.append(md("### {what}, batch {batch}\n", what=what, batch=batch))
            parts += [*_md_table(_COLUMNS, _cells(lines)), md("")]
        parts += [md("### start-up, memory, size\n"), *_md_table(_ASIDE, _aside(run)), md("")]
        if run.absent:
            parts.append(md("Not measured:\n"))
            parts += [
                md("- {title}: {reason}", title=markdown_text(a.title), reason=markdown_text(a.reason))
                for a in run.absent
            ]
            parts.append(md(""))
    parts += [md("## All runs\n"), *_md_table(_INDEX, _index(runs)), md("")]
    return md("\n").join(parts)


def page(runs: dict[str, Run]) -> Text[Html]:
    """Return one HTML file that needs no other file."""
    parts = [html("<h1>Benchmarks</h1><p>{text}</p>", text=_in_html(_preamble()))]
    for name, run in newest(runs).items():
        facts = html("").join(html("<li>{fact}</li>", fact=_in_html(fact)) for fact in _facts(name, run))
        heading = html_text(_heading(run))
        parts.append(html("<section><h2>{heading}</h2><ul>{facts}</ul>", heading=heading, facts=facts))
        parts.append(_figures(run))
        for quantity, batch, lines in _groups(run):
            what = html_text(summary.QUANTITY_NAMES[quantity])
            parts.append(html("<h3>{what}, batch {batch}</h3>", what=what, batch=batch))
            parts.append(_html_table(_COLUMNS, _cells(lines), [line.excluded for line in lines]))
        parts.append(html("<h3>start-up, memory, size</h3>") + _html_table(_ASIDE, _aside(run)))
        if run.absent:
            items = html("").join(
                html("<li>{title}: {reason}</li>", title=html_text(a.title), reason=html_text(a.reason))
                for a in run.absent
            )
            parts.append(html("<h3>not measured</h3><ul>{items}</ul>", items=items))
        parts.append(html("</section>"))
    parts.append(html("<h2>All runs</h2>") + _html_table(_INDEX, _index(runs)))
    return _PAGE.replace("BODY", html("\n").join(parts))


@dataclass(frozen=True, slots=True)
class _Code:
    """Text that a page shows as code."""

    text: str


_Prose = tuple[str | _Code, ...]


def _in_markdown(prose: _Prose) -> Text[Markdown]:
    # markdown_text strips what it escapes, because spaces at the start of a line have a meaning
    shown = [markdown_code(p.text) if isinstance(p, _Code) else markdown_text(p) for p in prose]
    return md(" ").join(shown)


def _in_html(prose: _Prose) -> Text[Html]:
    shown = [html("<code>{p}</code>", p=html_text(p.text)) if isinstance(p, _Code) else html_text(p) for p in prose]
    return html(" ").join(shown)


def _preamble() -> _Prose:
    return (
        "Made by",
        _Code("gan-bench report"),
        "from the runs in results/ only. Each runtime has a fresh process, and they take turns in blocks. The tables "
        "have the median over the blocks with its 95 % confidence interval: Student's t for up to five blocks, two "
        "order statistics for more. model: from latents in the device's memory to images in the device's memory; end "
        "to end: from a seed to uint8 images in host memory. A runtime whose images are wrong, or were not "
        "verified after timing, has no speed.",
    )


def _heading(run: Run) -> str:
    what = run.machine.gpu if run.settings.device == "cuda" and run.machine.gpu else run.machine.cpu
    return f"{run.model.name}, {image_size(run.model)}, on {what}"


def _facts(name: str, run: Run) -> list[_Prose]:
    flops = f"{run.model.flops / 1e6:,.0f} MFLOP per image; " if run.model.flops else ""
    processes = f"{run.settings.processes} process{'es' if run.settings.processes > 1 else ''}"
    facts: list[_Prose] = [
        (
            f"{flops}{run.settings.threads} threads, {run.settings.rounds} rounds of at least "
            f"{run.settings.block_seconds:g} s, {processes}",
        ),
        (f"{run.created}:", _Code(run.command), f"at commit {run.commit or 'none'}, {name}"),
        (", ".join(f"{package} {version}" for package, version in run.versions.items()),),
    ]
    if run.peak:
        products = ", ".join(f"{k} {v / 1e9:,.0f} GFLOP/s" for k, v in run.peak.flops.items())
        facts.append((f"the machine's peak: matrix product {products}; copy {run.peak.bytes / 1e9:,.1f} GB/s",))
    if run.partial:
        facts.append(("partial: interrupted before the end; rows not verified after timing have no speed",))
    facts += [(f"unstable: {doubt}",) for doubt in summary.doubts(run)]
    return facts


def _groups(run: Run) -> list[tuple[record.Quantity, int, list[Line]]]:
    found = summary.lines(run)
    keys = dict.fromkeys((line.quantity, line.batch) for line in found)
    return [(q, b, [line for line in found if (line.quantity, line.batch) == (q, b)]) for q, b in keys]


_COLUMNS = ("runtime", "images/s", "95 % interval", "times eager", "of peak", "call p50", "p90", "p99", "parity")
_ASIDE = ("runtime", "version", "precision", "time to first image", "load", "peak memory", "file", "BatchNorm")
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


def _figures(run: Run) -> Text[Html]:
    drawn = [
        html("<figure>{svg}<figcaption>{caption}</figcaption></figure>", svg=svg, caption=html_text(caption))
        for svg, caption in plots.figures(run)
    ]
    return html('<div class="figures">{drawn}</div>', drawn=html("").join(drawn))


def _md_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Text[Markdown]]:
    """Return a table whose first column, the names, is left-aligned."""

    def row(cells: Sequence[str]) -> Text[Markdown]:
        return md("| {cells} |", cells=md(" | ").join(markdown_text(cell) for cell in cells))

    rule = md(" | ").join(md("---") if i == 0 else md("---:") for i in range(len(columns)))
    return [row(columns), md("| {rule} |", rule=rule), *(row(cells) for cells in rows)]


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], excluded: Sequence[bool] = ()) -> Text[Html]:
    head = html("").join(html("<th>{cell}</th>", cell=html_text(cell)) for cell in columns)
    body = []
    for i, row in enumerate(rows):
        kind = html(' class="wrong"') if excluded and excluded[i] else html("")
        cells = html("").join(html("<td>{cell}</td>", cell=html_text(cell)) for cell in row)
        body.append(html("<tr{kind}>{cells}</tr>", kind=kind, cells=cells))
    table = html("<table><tr>{head}</tr>{body}</table>", head=head, body=html("").join(body))
    return html('<div class="wide">{table}</div>', table=table)


_PAGE = html(
    """<!doctype html>
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
)
