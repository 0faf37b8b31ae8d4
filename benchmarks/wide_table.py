"""Write the tables of cpu-wide and the suites like it into docs/README.in.md and docs/engine.md, from kept runs.

    python benchmarks/wide_table.py && python docs/make_readme.py

A page's table stands between its lines `<!-- SUITE -->` and `<!-- end of SUITE -->`.  Of each network, batch size and
number of threads, the newest run counts.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from gan_export._lib.fs import atomic_file
from gan_export.bench import models, report, summary
from gan_export.bench.record import Run
from gan_export.bench.summary import Line

ROOT = Path(__file__).resolve().parents[1]
OURS = ("native", "native-fast")
COLUMNS = {  # of the long table: backend -> heading
    "native": "native, float32",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
    "compile": "inductor",
    "native-fast": "native, 16-bit",
    "openvino-bf16": "OpenVINO bf16",
    "compile-bf16": "inductor bf16",
    "openvino-ir-int8": "OpenVINO int8",
}
WIDE, UNEVEN, AVX2 = "cpu-wide", "cpu-uneven", "cpu-wide-avx2"
USUAL = {  # network of `cpu-uneven` -> that of `cpu-wide` whose ratio it is held against
    "classic-96": "classic",
    "sngan48-96": "sngan64",
    "stylegan2-64-96": "stylegan2-64",
    "r3gan32-160": "r3gan64",
    "resnet6-96": "resnet9",
    "unet32-40": "unet256",
    "srvgg-40": "srvgg",
    "rrdb2-48": "rrdb6",
}

Lines = Mapping[str, Line]  # of one network, batch size and number of threads: backend -> line


def runs(suite: str) -> list[Run]:
    """Return the newest run of each network and number of threads, in the order of the built-in generators."""
    found: dict[tuple[str, int], Run] = {}
    for run in report.read_all(ROOT / "benchmarks" / "results").values():
        if run.suite == suite and not run.partial:
            found.setdefault((run.model.name, run.settings.threads), run)
    order = [model.name for model in models.BUILT_IN]
    return sorted(found.values(), key=lambda run: (run.settings.threads, order.index(run.model.name)))


def rows(suite: str) -> Iterator[tuple[str, Run, Lines]]:
    """Yield the name of each row, its run, and its lines."""
    for run in runs(suite):
        batches = lines_of(run)
        for batch, lines in batches.items():
            title = models.find(run.model.name).title
            threads = "" if run.settings.threads == 1 else f", {run.settings.threads} threads"
            name = f"{title}{f', batch {batch}' if len(batches) > 1 else ''}{threads}"
            yield name[0].upper() + name[1:], run, lines


def lines_of(run: Run) -> dict[int, Lines]:
    """Return the lines of each batch size, smallest first."""
    lines = [line for line in summary.lines(run) if line.quantity == "model"]
    return {
        batch: {line.entry.contender: line for line in lines if line.batch == batch}
        for batch in sorted({line.batch for line in lines})
    }


def milliseconds(line: Line) -> float:
    """Return the processor time of one image; infinity if the row has no speed."""
    return 1e3 / line.rate.value if line.rate else float("inf")


def silent(line: Line) -> bool:
    """Return whether a backend that was asked for a narrower precision computes in float32."""
    return line.entry.precision == "fp32" and line.entry.contender.endswith(("-bf16", "-int8", "-fast"))


def cell(line: Line | None) -> str:
    """Return the milliseconds, with the PSNR in brackets if the precision is narrower, or why there are none."""
    if line is None:
        return "-"
    if line.rate is None:
        return line.verdict
    text = three(milliseconds(line))
    if silent(line):
        return f"{text} (float32)"
    if line.entry.precision != "fp32" and line.parity and line.parity.psnr is not None:
        return f"{text} ({line.parity.psnr:.0f} dB)"
    return text


def three(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def best(lines: Lines, precision: str, among: Container[str] = COLUMNS) -> Line | None:
    """Return the fastest line of other runtimes that has a speed and this precision."""
    others = [line for key, line in lines.items() if key in among and key not in OURS]
    fit = (line for line in others if line.rate and line.entry.precision == precision)
    return min(fit, key=milliseconds, default=None)


def short() -> str:
    """Return the table of README: ours beside the best of the others in float32, bf16 and int8, on one thread."""
    head = ("Network", "native", "best float32", "times", "native 16-bit", "best bf16", "times", "int8")
    made = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, run, lines in rows(WIDE):
        if run.settings.threads > 1:
            continue
        plain, bf16, int8 = (best(lines, precision) for precision in ("fp32", "bf16", "int8"))
        cells = [name, cell(lines.get("native")), named(plain), shown(ratio(lines.get("native"), plain))]
        fast = lines.get("native-fast")
        cells += [cell(fast), named(bf16), shown(ratio(fast, bf16)), named(int8)]
        made.append("| " + " | ".join(cells) + " |")
    return "\n".join(made)


def uneven() -> str:
    """Return the table of `cpu-uneven`: ours beside the best of the others in float32 and bf16.

    In brackets, the share of the ratio that the usual network has at its smallest batch beside the same runtimes.
    """
    head = ("Network", "native", "best float32", "times", "native 16-bit", "best bf16", "times")
    made = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    usual = {(run.model.name, run.settings.threads): run for run in runs(WIDE)}
    for name, run, lines in rows(UNEVEN):
        other = usual.get((USUAL[run.model.name], run.settings.threads))
        even = next(iter(lines_of(other).values())) if other else {}
        cells = [name]
        for ours, precision in (("native", "fp32"), ("native-fast", "bf16")):
            peer = best(lines, precision)
            times = ratio(lines.get(ours), peer)
            before = ratio(even.get(ours), best(even, precision, among=lines))
            share = f" ({100 * times / before:.0f} %)" if times and before else ""
            cells += [cell(lines.get(ours)), named(peer), shown(times) + share]
        made.append("| " + " | ".join(cells) + " |")
    return "\n".join(made)


def named(line: Line | None) -> str:
    """Return the cell of another runtime, with its name."""
    return f"{line.entry.title.split()[0]} {cell(line)}" if line else "-"


def ratio(mine: Line | None, other: Line | None) -> float | None:
    """Return how many times as fast as the other one ours is; None if one of them has no speed."""
    return milliseconds(other) / milliseconds(mine) if mine and other and mine.rate and other.rate else None


def shown(times: float | None) -> str:
    return "-" if times is None else f"{times:.2f}"


def whole() -> str:
    """Return the table of every runtime."""
    made = ["| Network | " + " | ".join(COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    made += [
        "| " + " | ".join((name, *(cell(lines.get(key)) for key in COLUMNS))) + " |" for name, _, lines in rows(WIDE)
    ]
    return "\n".join(made)


def without_avx512() -> str:
    """Return the table of `cpu-wide-avx2`: float32 beside every other runtime, and ours in 16 bits beside float32."""
    peers = ("onnxruntime", "openvino", "ncnn", "compile")
    head = ("Network", "native", *(COLUMNS[key] for key in peers), "times the best", "native 16-bit", "times native")
    made = ["| " + " | ".join((*head, COLUMNS["openvino-ir-int8"])) + " |", "|---" * (len(head) + 1) + "|"]
    for name, _, lines in rows(AVX2):
        plain, fast = lines.get("native"), lines.get("native-fast")
        cells = [name, cell(plain), *(cell(lines.get(key)) for key in peers), shown(ratio(plain, best(lines, "fp32")))]
        cells += [cell(fast), shown(ratio(fast, plain)), cell(lines.get("openvino-ir-int8"))]
        made.append("| " + " | ".join(cells) + " |")
    return "\n".join(made)


def main() -> None:
    tables = (
        ("docs/README.in.md", WIDE, short()),
        ("docs/engine.md", WIDE, whole()),
        ("docs/engine.md", UNEVEN, uneven()),
        ("docs/engine.md", AVX2, without_avx512()),
    )
    for page, suite, table in tables:
        block = re.compile(rf"(<!-- {suite} -->\n).*?(\n<!-- end of {suite} -->)", re.DOTALL)
        before = (ROOT / page).read_text(encoding="utf-8")
        with atomic_file(ROOT / page) as temporary:
            temporary.write_text(block.sub(lambda m, text=table: m[1] + text + m[2], before), encoding="utf-8")  # type: ignore[misc]
        print(table)


if __name__ == "__main__":
    main()
