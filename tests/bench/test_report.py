"""Test that everything in the pages comes from the runs, and that they are valid files."""

from __future__ import annotations

import dataclasses
import html
import re
import xml.dom.minidom
from pathlib import Path

import pytest

from gan_export.bench import record, report, summary
from gan_export.bench.record import Run
from gan_export.errors import GanExportError

pytestmark = pytest.mark.timeout(900)  # the first test measures for all others: slow on a busy machine


def test_the_table_holds_the_medians(measured: Run) -> None:
    text = str(report.markdown({"run.json": measured}))
    for line in summary.lines(measured):
        assert line.rate is not None
        assert f"| {summary.title(line.entry)} | {summary.rate_text(line.rate.value)} |" in text
    assert "PyTorch fp16: has no cpu here" in text
    assert measured.model.name in text


def test_the_page_has_three_figures_that_are_sound(measured: Run) -> None:
    page = str(report.page({"run.json": measured}))
    figures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(figures) == 3
    for figure in figures:
        xml.dom.minidom.parseString(figure)
    for unit in ("images per second", "batch size", "milliseconds per call", "GFLOP per second", "FLOP per byte moved"):
        assert unit in page


def test_every_figure_names_what_it_shows(measured: Run) -> None:
    titles = {html.escape(summary.title(line.entry), quote=False) for line in summary.lines(measured)}
    for figure in re.findall(r"<svg.*?</svg>", str(report.page({"run.json": measured})), re.S):
        texts = set(re.findall(r"<text[^>]*>([^<]*)</text>", figure))
        assert titles <= texts


def test_the_benchs_own_check_is_linked_if_it_is_in_the_folder(measured: Run, tmp_path: Path) -> None:
    record.write(measured, tmp_path / "run.json")
    text, _ = report.write(tmp_path, tmp_path)
    assert report.SELF_CHECK not in text.read_text()
    (tmp_path / report.SELF_CHECK).write_text("# passed\n")
    report.write(tmp_path, tmp_path)
    assert f"]({report.SELF_CHECK})" in text.read_text()


def test_the_newest_of_a_kind_is_shown_and_all_are_listed(measured: Run, tmp_path: Path) -> None:
    old = dataclasses.replace(measured, created="2020-01-01T00:00:00+00:00", command="gan-bench of old")
    record.write(old, tmp_path / "old.json")
    record.write(measured, tmp_path / "new.json")
    (tmp_path / "another-tool.json").write_text('{"rows": []}')
    text = str(report.markdown(report.read_all(tmp_path)))
    assert measured.command in text
    assert "gan-bench of old" not in text
    assert "| old.json |" in text
    assert "| new.json |" in text
    assert "another-tool" not in text


def test_a_run_of_another_version_is_refused(measured: Run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(str(record.to_text(measured)).replace(record.SCHEMA, f"{record.FAMILY}99"))
    with pytest.raises(GanExportError, match="gan-export/bench/99"):
        report.read_all(tmp_path)


def test_names_out_of_a_run_do_not_reach_the_page_as_markup(measured: Run) -> None:
    hostile = dataclasses.replace(measured, model=dataclasses.replace(measured.model, name="<script>alert(1)</script>"))
    assert "<script>" not in str(report.page({"run.json": hostile}))


@pytest.mark.parametrize(
    ("value", "text"), [(1.234, "1.23 s"), (0.0123, "12.3 ms"), (0.000456, "456 µs"), (3e-8, "30 ns")]
)
def test_seconds_have_a_unit(value: float, text: str) -> None:
    assert summary.seconds_text(value) == text
