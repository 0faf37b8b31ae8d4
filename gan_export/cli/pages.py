"""`gan-export help TOPIC`: the section of the documentation that explains an error, from the installed package."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Annotated

import typer

from gan_export.cli.say import markdown, say, suggest, table
from gan_export.errors import GanExportError, Topic, printable

_HEADING = re.compile(r"(?m)^(#+) (.*?)(?: \{ #([\w-]+) \})?$")
_FENCE = re.compile(r"(?ms)^(```|~~~).*?^\1$")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def complete_topic(incomplete: str) -> list[str]:
    """Return the topics that begin with `incomplete`, for a shell."""
    return [topic.word for topic in Topic if topic.word.startswith(incomplete)]


def help_topic(
    topic: Annotated[
        str | None, typer.Argument(help="What an error names.", autocompletion=complete_topic, show_default="list them")
    ] = None,
) -> None:
    """Print the section of the documentation on TOPIC, or list the topics."""
    if topic is None:
        rows = [(t.word, section(t).splitlines()[0].lstrip("# "), t.page) for t in sorted(Topic, key=lambda t: t.word)]
        table(("topic", "section", "of the page"), rows, whole_first=True)
        suggest("gan-export", "help", "TOPIC")
        return
    found = next((t for t in Topic if t.word == topic), None)
    if found is None:
        raise GanExportError(f"topic {printable(topic, 40)}: there is none of this name; `gan-export help` lists them")
    markdown(section(found))
    say(f"from {found.page}, a page of the source repository")


def section(topic: Topic) -> str:
    """Return the section of the documentation as Markdown: from its heading to the next of its level.

    Links within the documentation become their text, with the page's name if the text doesn't have it.
    """
    page = (_folder() / topic.page.removeprefix("docs/")).read_text(encoding="utf-8")
    bare = _FENCE.sub(lambda m: re.sub(r"[^\n]", "x", m[0]), page)  # a comment in a block of code is no heading
    start = bare.find(f'<a id="{topic.anchor}"></a>')
    headings = list(_HEADING.finditer(bare))
    at = next(
        i
        for i, h in enumerate(headings)
        if (h.start() > start >= 0) or (start < 0 and topic.anchor in (h[3], _by_words(h[2])))
    )
    level = len(headings[at][1])
    end = next((h.start() for h in headings[at + 1 :] if len(h[1]) <= level), len(page))
    text = re.sub(r'(?m)^<a id="[^"]*"></a>\n|^<!--.*?-->\n|^!\[.*\n', "", page[headings[at].start() : end])
    text = _HEADING.sub(lambda m: f"{m[1]} {m[2]}", text)

    def link(match: re.Match[str]) -> str:
        label, target = match[1], match[2].partition("#")[0]
        if ":" in target or not target:
            return label
        path = posixpath.normpath(posixpath.join(posixpath.dirname(topic.page), target))
        return label if posixpath.basename(path) in label else f"{label} (`{path}`)"

    return _LINK.sub(link, text).strip() + "\n"


def _by_words(heading: str) -> str:
    """Return the anchor that mkdocs gives a heading."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _folder() -> Path:
    """Return the folder of the pages: inside the package, or beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"
