"""Charts: sound SVG, equal bytes for equal data, and no name that becomes markup or mathematics."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from gan_export._lib import charts
from gan_export._lib.charts import Box, Series
from gan_export._lib.escape import Html, Text
from tests.conftest import Command, refused

EVIL = "</text><script>x$\\frac{1}{2}$\x1b[31m\ud800_"
LINE = Series("a line", ((1, 10), (10, 200), (100, 50)), intervals=((9, 11), (150, 210), (40, 60)))


def _texts(svg: Text[Html]) -> list[str]:
    return [e.text or "" for e in ET.fromstring(str(svg)).iter() if e.tag.endswith("text")]


@pytest.mark.long
def test_equal_data_gives_equal_bytes_in_another_process() -> None:
    program = f"from gan_export._lib.charts import *; print(lines([{LINE!r}], 'x', 'y', log='xy'), end='')"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout == str(charts.lines([LINE], "x", "y", log="xy"))


def test_foreign_names_stay_text() -> None:
    for svg in (charts.lines([Series(EVIL, LINE.points)], "x", "y"), charts.boxes([Box(EVIL, (1, 2, 3, 4, 5))], "x")):
        shown = "</text><script>x$\\frac{1}{2}$\\x1b[31m\\ud800_"
        assert shown in _texts(svg)
        assert "<script" not in str(svg)


def test_a_name_that_begins_with_an_underscore_is_in_the_legend() -> None:
    assert "_hidden" in _texts(charts.lines([Series("_hidden", LINE.points), LINE], "x", "y"))


def test_many_series_differ_without_their_colors() -> None:
    """Of 14 series no two have one marker and one dash pattern, and no two have one color and one dash pattern."""
    svg = charts.lines([Series(f"s{i}", ((1, i + 1), (2, i + 2))) for i in range(14)], "x", "y", log="xy")
    root = ET.fromstring(str(svg))
    drawn = [e for e in root.iter() if e.tag.endswith("path") and "stroke-width: 1.2" in e.get("style", "")]
    assert len({e.get("style") for e in drawn}) == 14


def test_nothing_to_draw_is_no_chart() -> None:
    for nothing in (charts.lines([], "x", "y"), charts.lines([Series("empty", ())], "x", "y"), charts.boxes([], "x")):
        assert not nothing


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (512, "512"), (4096, "4096"), (20000, "20k"), (2e9, "2G")])
def test_numbers(value: float, text: str) -> None:
    assert charts.number(value) == text


def test_without_matplotlib_the_command_says_what_to_install(
    command: Command, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'gan-export[report]'" in refused(command("gan-bench", "report", tmp_path))
