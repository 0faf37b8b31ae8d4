"""The table of formats: one source, complete, and a format that is missing here has its install line."""

from __future__ import annotations

import sys

import pytest

from gan_export import runtimes
from gan_export.errors import UnavailableError
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import require_available, unavailable_reason
from gan_export.exporters.openvino import OpenVinoIr
from gan_export.pipeline import table
from tests.conftest import Command


def test_the_page_has_a_row_a_format(command: Command) -> None:
    result = command("gan-export", "list", "--markdown")
    assert result.code == 0
    rows = result.out.splitlines()
    assert len(rows) == 2 + len(EXPORTERS)
    for exporter, row in zip(EXPORTERS, rows[2:], strict=True):
        assert row.startswith(f"| {exporter.title} | `{exporter.name}` | `{exporter.suffix}` |")
        assert row.count("|") == rows[0].count("|")


def test_a_missing_package_is_said_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert unavailable_reason(OpenVinoIr()) == "openvino not installed; pip install openvino"
    with pytest.raises(UnavailableError, match="pip install"):
        require_available(OpenVinoIr())
    line = next(one for one in table.lines() if one.exporter.name == "openvino")
    assert not line.available


def test_formats_and_their_files_are_told_apart() -> None:
    assert len({e.name for e in EXPORTERS}) == len({e.suffix for e in EXPORTERS}) == len(EXPORTERS)
    for exporter in EXPORTERS:
        proves = runtimes.find(exporter.runtime)
        assert set(exporter.devices) <= set(proves.devices), exporter.name
        assert exporter.runs
