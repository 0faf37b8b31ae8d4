"""Write the tables of the suite `cpu-wide` into docs/README.in.md and docs/engine.md, from the kept runs.

    python benchmarks/wide_table.py && python docs/make_readme.py

A page's table stands between its lines `<!-- cpu-wide -->` and `<!-- end of cpu-wide -->`.  Of each network, batch
size and number of threads, the newest run counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan_export._lib.fs import atomic_file
from gan_export.bench import models, report, summary
from gan_export.bench.record import Run
from gan_export.bench.summary import Line

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- cpu-wide -->\n).*?(\n<!-- end of cpu-wide -->)", re.DOTALL)
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


def runs() -> list[Run]:
    """Return the newest run of each network and number of threads, in the order of the built-in generators."""
    found: dict[tuple[str, int], Run] = {}
    for run in report.read_all(ROOT / "benchmarks" / "results").values():
        if run.suite == "cpu-wide" and not run.partial:
            found.setdefault((run.model.name, run.settings.threads), run)
    order = [model.name for model in models.BUILT_IN]
    return sorted(found.values(), key=lambda run: (run.settings.threads, order.index(run.model.name)))


def rows() -> Iterator[tuple[str, dict[str, Line]]]:
    """Yield the name of each row, and its lines by backend; a bf16 that is silently float32 is left out."""
    for run in runs():
        lines = [line for line in summary.lines(run) if line.quantity == "model"]
        several = len({line.batch for line in lines}) > 1
        for batch in sorted({line.batch for line in lines}):
            title = models.find(run.model.name).title
            threads = "" if run.settings.threads == 1 else f", {run.settings.threads} threads"
            name = f"{title}{f', batch {batch}' if several else ''}{threads}"
            yield name[0].upper() + name[1:], {line.entry.contender: line for line in lines if line.batch == batch}


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


def best(lines: Sequence[Line]) -> Line | None:
    """Return the fastest line that has a speed."""
    return min((line for line in lines if line.rate), key=milliseconds, default=None)


def short() -> str:
    """Return the table of README: ours beside the best of the others in float32, bf16 and int8."""
    head = ("Network", "native", "best float32", "times", "native 16-bit", "best bf16", "times", "int8")
    made = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, lines in rows():
        others = [line for key, line in lines.items() if key not in OURS]
        plain = best([line for line in others if line.entry.precision == "fp32"])
        bf16 = best([line for line in others if line.entry.precision == "bf16"])
        int8 = best([line for line in others if line.entry.precision == "int8"])
        cells = [name, cell(lines.get("native")), named(plain), times(lines.get("native"), plain)]
        cells += [cell(lines.get("native-fast")), named(bf16), times(lines.get("native-fast"), bf16), named(int8)]
        made.append("| " + " | ".join(cells) + " |")
    return "\n".join(made)


def named(line: Line | None) -> str:
    """Return the cell of another runtime, with its name."""
    return f"{line.entry.title.split()[0]} {cell(line)}" if line else "-"


def times(mine: Line | None, other: Line | None) -> str:
    """Return how many times as fast as the other one ours is."""
    if mine is None or other is None or mine.rate is None:
        return "-"
    return f"{milliseconds(other) / milliseconds(mine):.2f}"


def whole() -> str:
    """Return the table of every runtime."""
    made = ["| Network | " + " | ".join(COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    made += ["| " + " | ".join((name, *(cell(lines.get(key)) for key in COLUMNS))) + " |" for name, lines in rows()]
    return "\n".join(made)


def main() -> None:
    for page, table in (("docs/README.in.md", short()), ("docs/engine.md", whole())):
        before = (ROOT / page).read_text(encoding="utf-8")
        with atomic_file(ROOT / page) as temporary:
            temporary.write_text(BLOCK.sub(lambda m, text=table: m[1] + text + m[2], before), encoding="utf-8")  # type: ignore[misc]
        print(table)


if __name__ == "__main__":
    main()
