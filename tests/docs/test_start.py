"""The pages of Start: each block is run in order in an empty folder, as a reader would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import page_blocks

PAGES = ("dcgan", "stylegan", "cyclegan", "real-esrgan", "own-module")


SDK = 'sh "$CLONE/embed/onnxruntime-sdk.sh" sdk'


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder that the pages' command makes, if it can: one download for all pages."""
    folder = tmp_path_factory.mktemp("onnxruntime")
    skipped = page_blocks.run(f"<!-- needs: headers -->\n\n```sh\n{SDK}\n```\n", folder)
    return {} if skipped else {SDK: folder / "sdk"}


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_shows(name: str, tmp_path: Path, sdk: dict[str, Path]) -> None:
    text = (ROOT / "docs" / "start" / f"{name}.md").read_text(encoding="utf-8")
    skipped = page_blocks.run(text, tmp_path, sdk)
    assert len(list(tmp_path.iterdir())) >= 3
    for line in skipped:
        assert "onnxruntime-sdk.sh" in line, "only a missing SDK of ONNX Runtime ends a page early"


def test_a_block_that_fails_or_prints_something_else_is_named(tmp_path: Path) -> None:
    page_blocks.run("```sh\necho made 12 of 3\n```\n\n```text\nmade 7 of 9\n```\n", tmp_path)
    with pytest.raises(page_blocks.BlockError, match="not printed"):
        page_blocks.run("```sh\necho made\n```\n\n```text\nwrote\n```\n", tmp_path)
    with pytest.raises(page_blocks.BlockError, match="exit code 1"):
        page_blocks.run("```sh\nfalse\necho later\n```\n", tmp_path)
    page_blocks.run(
        '<!-- not run: an example -->\n\n```sh\nfalse\n```\n\n```python title="a.py"\nx = 1\n```\n', tmp_path
    )
    assert (tmp_path / "a.py").read_text() == "x = 1\n"
    assert page_blocks.run("<!-- needs: a compiler -->\n\n```sh\nfalse\n```\n\n```sh\nexit 3\n```\n", tmp_path) != []


def test_each_page_that_leaves_a_block_out_says_why() -> None:
    for page in sorted((ROOT / "docs" / "start").glob("*.md")):
        for step in page_blocks._PART.finditer(page.read_text(encoding="utf-8")):
            if step[1] == "not run":
                assert len(step[2].split()) >= 4, page
