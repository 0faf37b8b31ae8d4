"""The pages of the site: their navigation, their length, and those that are generated."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

DOCS = ROOT / "docs"
MOST_WORDS = 900
SHORT = sorted([*DOCS.glob("start/*.md"), *DOCS.glob("guides/*.md"), DOCS / "index.md"])


def pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages(entry)]


def words(markdown: str) -> int:
    """The words of a page, with those of its blocks of code, without targets of links and comments."""
    text = re.sub(r"(?s)<!--.*?-->", "", re.sub(r"\]\([^)]*\)(\{[^}]*\})?", "]", markdown))
    return len(re.findall(r"[\w$'-]*\w[\w.'-]*", text))


def test_each_page_is_in_the_navigation_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = pages(settings["nav"])
    sys.path.insert(0, str(ROOT / "tools"))
    import site_hooks

    generated = {*site_hooks.site_pages.PAGES, *site_hooks.COPIED}
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if ".in." not in path.name}
    assert sorted(named) == sorted(written | generated)


@pytest.mark.parametrize("page", SHORT, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_page_is_short_and_shows_an_image_and_a_command_first(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert words(text) <= MOST_WORDS
    first_screen = text[: max(text.find("```\n"), 0) + 1]
    assert "![" in text
    assert "```" in text
    assert words(first_screen) <= 160, "the first command is below the first screen"
    assert words(text[: text.find("![")]) <= 160, "the image is below the first screen"


def test_the_generated_pages_have_what_the_registries_have() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    import site_pages

    from gan_export.exporters import EXPORTERS
    from gan_export.recognize.registry import ARCHS

    made = {name: page() for name, page in site_pages.PAGES.items()}
    for name in (family.name for family in ARCHS):
        (row,) = re.findall(rf"(?m)^\| `{name}` \|.*$", made["reference/families.md"])
        assert row.split(" | ")[-1][0].isalpha(), "formats in which the tests verify it"
    for exporter in EXPORTERS:
        assert f"`{exporter.name}`" in made["reference/formats.md"]
    commands = made["reference/commands.md"]
    for title in ("gan-export inspect", "gan-sample dataset", "gan-bench compare", "gan-train resume"):
        assert f"### {title}\n" in commands
    assert "| `--psi` |" in commands
    for page in made.values():  # each opens with a paragraph and an example
        title, paragraph = page.split("\n\n")[:2]
        assert title.startswith("# ")
        assert len(paragraph.split()) >= 30
        assert "```sh" in page[:1500]
