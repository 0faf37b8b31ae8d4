"""Runs that come from strangers: no link is written through, and an odd log is reported in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_export.errors import GanExportError
from gan_export.training import recipe, report, run_dir


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    (made / run_dir.RECIPE).write_text(json.dumps(recipe.load("mnist32-demo").to_json()))
    return made


@pytest.mark.parametrize("name", [run_dir.LOG, run_dir.PREVIEWS, run_dir.RECIPE, "snapshots", "tensorboard", ".lock"])
def test_a_resumed_run_keeps_to_its_folder(run: Path, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(precious)
    with pytest.raises(GanExportError, match="is a link"), run_dir.lock_run_dir(run):
        pytest.fail("the run was taken up")
    assert precious.read_text() == "mine"


ODD = {
    "deep": "[" * 100_000 + "]" * 100_000, "digits": '{"event": "measured", "step": ' + "9" * 5000 + "}",
    "list": "[]", "number": "1", "nothing": "", "not an event": "{}", "event of no text": '{"event": []}',
    "bytes": "\xff\x00", "cut": '{"event": "measu',
}  # fmt: skip


@pytest.mark.parametrize("line", ODD)
def test_an_odd_line_of_a_log_is_told(run: Path, line: str) -> None:
    text = f'{{"event": "began"}}\n{ODD[line]}\n{{"event": "ended"}}\n'
    (run / run_dir.LOG).write_bytes(text.encode("latin-1"))
    with pytest.raises(GanExportError, match="line 2 is not an event") as error:
        report.write(run, run / "page.html")
    assert str(error.value).isprintable()
    assert not (run / "page.html").exists()


@pytest.mark.parametrize(
    "line", ['{"event": "warned"}', '{"event": "scored", "figures": 1}', '{"event": "scored", "figures": {}}']
)
def test_events_that_lack_what_they_tell(run: Path, line: str) -> None:
    (run / run_dir.LOG).write_text(line + "\n")
    with pytest.raises(GanExportError, match="is not a log of gan-train"):
        report.write(run, run / "page.html")


def test_a_half_written_last_line_is_passed_over(run: Path) -> None:
    (run / run_dir.LOG).write_text('{"event": "began"}\n{"event": "measu')
    (run / run_dir.PREVIEWS).mkdir()
    (run / run_dir.PREVIEWS / "odd_grid.png").write_bytes(b"")
    (run / "generator_odd.pth").write_bytes(b"")
    report.write(run, run / "page.html")
    assert (run / "page.html").is_file()
