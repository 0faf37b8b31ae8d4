"""tools/check_language.py: what it finds, what it leaves alone, and that the covered texts are clean."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "check_language.py"
_spec = importlib.util.spec_from_file_location("check_language", TOOL)
assert _spec is not None
assert _spec.loader is not None
language = importlib.util.module_from_spec(_spec)
sys.modules["check_language"] = language
_spec.loader.exec_module(language)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("64 pictures by onnxruntime", "pictures"),
        ("the discriminator is told the label", "told"),
        ("classes of so many values", "so many"),
        ("read as far as the end", "as far as"),
        ("--device tpu: cpu and cuda are possible", "are possible"),
        ("None where it has no labels", "where it has"),
        ("it draws the same digits", "draws the same digits"),
        ("1,000 images a second", "images a second"),
        ("the color of a neighbour", "neighbour"),
        ("coreml runs on the CPU alone", "on the CPU alone"),
    ],
)
def test_a_banned_phrase_is_found_with_its_line(text: str, phrase: str) -> None:
    (found,) = language.check_text("x.md", f"A first line.\n{text}.")
    assert (found.line, found.phrase) == (2, phrase)


@pytest.mark.parametrize(
    "text",
    [
        "64 images by onnxruntime",
        "the folder where the files are",
        "`augment.color` and `optimizer.decay_from`",
        "gan-sample evaluate g.pth --nearest near.png",
        "A picturesque example, retold.",
    ],
)
def test_plain_text_and_named_exceptions_pass(text: str) -> None:
    assert not list(language.check_text("x.md", text))


def test_code_in_markdown_is_not_checked() -> None:
    page = "Text.\n\n```\npictures = told\n```\n\n    pictures\n\n`pictures` [images](pictures.md), and pictures.\n"
    assert [f.line for f in language.check_text("x.md", language.prose(page))] == [9]


def test_pages_are_checked_without_tags_and_scripts() -> None:
    page = '<p class="pictures">\nOne picture\n<script>let pictures;\n</script>'
    assert [f.line for f in language.check_text("x.html", language.markup(page))] == [2]


def test_of_javascript_and_toml_comments_and_descriptions_are_checked() -> None:
    source = 'let pictures; // a picture\nabout = "told"\npath = "pictures"\n# pictures\n'
    assert [f.line for f in language.check_text("x.js", language.remarks(source))] == [1, 2, 4]


def test_a_docstring_begins_with_a_verb() -> None:
    source = '''def f():
    """Whether it fits."""

class A:
    """An entry."""

    @property
    def ok(self):
        """Whether it fits."""

    def g(self):
        """Return whether it fits."""
'''
    assert [(f.line, f.phrase) for f in language.check_first_words("x.py", source)] == [(1, "Whether")]


def test_python_strings_docstrings_and_comments_are_checked_and_keys_are_not() -> None:
    source = '"""Draw pictures."""\nkey = {"pictures": 1}  # told\nmessage = f"{key} pictures are skipped"\n'
    assert [f.line for f in language.check_python("x.py", source)] == [1, 3, 2]


def test_the_covered_texts_are_clean() -> None:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_a_finding_exits_with_1_and_names_the_place(tmp_path: Path) -> None:
    page = TOOL.parent / "check_language.py"
    assert language.main([str(page)]) == 1  # the ban list itself
    with pytest.raises(ValueError, match=r"nowhere/\*\.md"):
        language.files(["nowhere/*.md"])
