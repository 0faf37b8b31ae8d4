"""The table of formats, for the command and the docs, made from `EXPORTERS`."""

from __future__ import annotations

from dataclasses import dataclass

from gan_export import runtimes
from gan_export._lib.escape import Markdown, Text, markdown_code, markdown_text
from gan_export._lib.escape import markdown as md
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import Exporter, unavailable_reason


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table of formats.

    available: whether it can be written here; reason: why not, with the install line
    unproven:  the reason why it can't be verified here; empty if it can
    """

    exporter: Exporter
    available: bool
    reason: str = ""
    unproven: str = ""

    @property
    def devices(self) -> str:
        """Return the devices as text."""
        return " and ".join({"cpu": "CPU", "cuda": "GPU"}[device] for device in self.exporter.devices)


def lines() -> tuple[Line, ...]:
    """Return every format, in the order of the registry, without importing the libraries that it needs."""
    return tuple(_line(exporter) for exporter in EXPORTERS)


def markdown() -> Text[Markdown]:
    """Return the formats as a Markdown table, the same on every machine."""
    rows = [
        md("| Format | `gan-export` | File | Precision | Runs on | Run by | To install |"),
        md("|---|---|---|---|---|---|---|"),
    ]
    for line in lines():
        e = line.exporter
        install = markdown_code(f"pip install {e.install}") if e.install else md("")
        cells = (
            markdown_text(e.title), markdown_code(e.name), markdown_code(e.suffix),
            markdown_text(", ".join(e.precisions)), markdown_text(line.devices), markdown_text(e.runs), install,
        )  # fmt: skip
        rows.append(md("| {cells} |", cells=md(" | ").join(cells)))
    return md("\n").join([*rows, md("")])


def _line(exporter: Exporter) -> Line:
    if reason := unavailable_reason(exporter):
        return Line(exporter, False, reason)
    found = runtimes.find(exporter.runtime).availability()
    if found.elsewhere:
        return Line(exporter, True, unproven=found.reason)
    return Line(exporter, found.ok, found.reason)
