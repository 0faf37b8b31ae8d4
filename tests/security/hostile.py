"""Strings that try to escape from the languages that we write, and checks that detect it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from markdown_it import MarkdownIt

MARK = "Zq9"
HOSTILE = {
    "plain": MARK,
    "C comment": f"{MARK}*/ int {MARK}(void); /*",
    "C line": f"{MARK}\\\n*/ {MARK} \\",
    "C trigraph": f"{MARK}??/\n*/{MARK}??/",
    "HTML comment": f"-->{MARK}<!--",
    "CDATA": f"]]><b>{MARK}<![CDATA[",
    "script": f"</script><script>{MARK}()</script>",
    "attribute": f"\"' onload={MARK}() x='`",
    "Markdown": f"{MARK} `a` **b** _c_ [d](javascript:{MARK}) ![e](x) <img src=x> | f | ~~g~~ &lt;\n# h\n\n- i",
    "Markdown line": f"# {MARK}",
    "Markdown list": f"1. {MARK}\n    code",
    "link": f"https://{MARK}.example www.{MARK}.example a@{MARK}.example <x:{MARK}>",
    "shell": f"$(touch {MARK}); `touch {MARK}` && |",
    "rich": f"[bold red]{MARK}[/bold red] \\[bold]{MARK}[/] [link=x]y",
    "TOML": f"{MARK}\"\"\"'''\n[x]\ny = 1 #",
    "spreadsheet": f"=cmd|'/c {MARK}'!A1",
    "lines": f"{MARK}\r\nforged: {MARK}\x0b\x0c\x85",
    "NUL": f"{MARK}\x00{MARK}",
    "terminal": f"{MARK}\x1b[2J\x1b]0;x\x07\x9b31m\x08",
    "separators": f"{MARK}\u2028{MARK}\u2029",
    "direction": f"{MARK}\u202e{MARK}\u2066\u200f\ufeff",
    "template": f"{MARK}%s%n{{0}}{{x}}{{{{DATA}}}}${{x}}BODY@symbol@",
    "Python": f"{MARK}\"); __import__('os').system('x')#",
    "path": f"../../{MARK}",
    "surrogate": f"{MARK}\ud800",
    "nothing": "",
}
EVERYTHING = " ".join(HOSTILE.values())  # all escapes at once


# ---- checks: the structure of a text must be the same whatever its strings are


def terminal(text: str) -> object:
    """Check that a text has plain lines of printable characters, none of which begins like a forged message."""
    odd = sorted({c for c in text if c != "\n" and not c.isprintable()})
    assert not odd, f"in a terminal: {odd}"
    assert not re.search(r"(?m)^forged", text), "a forged line"
    return None


def c_source(text: str) -> object:
    """Return C source without comments and strings, by the phases of translation."""
    for code, plain in (("??/", "\\"), ("??'", "^"), ("??(", "["), ("??)", "]"), ("??<", "{"), ("??>", "}")):
        text = text.replace(code, plain)
    text = text.replace("\\\n", "")
    bare = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", " ", text, flags=re.S)
    assert "/*" not in bare
    assert "*/" not in bare
    return re.sub(r"\w+", "w", bare)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs if name != "d"]))  # the path of an SVG may be empty

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def html(text: str) -> object:
    """Return the elements and the names of their attributes."""
    _no_controls(text)
    tags = _Tags()
    tags.feed(text)
    tags.close()
    return tags.found


def markdown(text: str) -> object:
    """Return the blocks and spans."""
    _no_controls(text)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    bare = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.S)  # without code
    assert not re.search(r"(?i)https?://|www\.|\w@", bare), "in Markdown: what becomes a link"
    spans = [[c.type for c in t.children or () if c.type not in ("text", "softbreak")] for t in tokens]
    return [(t.type, s) for t, s in zip(tokens, spans, strict=True)]


def json_file(text: str) -> object:
    """Check that a text is JSON in ASCII."""
    assert text.isascii()
    for line in text.splitlines() if text.count("\n{") else [text]:
        json.loads(line)
    return None


def csv_file(text: str) -> object:
    """Return rows and columns, and check that a spreadsheet would evaluate no cell."""
    rows = list(csv.reader(io.StringIO(text)))
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r"[=+@\t\r]|-(?!\d)", cell), cell
    return [len(row) for row in rows]


def _no_controls(text: str) -> None:
    odd = sorted({c for c in text if c != "\n" and not c.isprintable()})
    assert not odd, f"raw: {odd}"


LANGUAGES: Mapping[str, Callable[[str], object]] = {
    ".c": c_source, ".h": c_source, ".html": html, ".md": markdown, ".json": json_file, ".csv": csv_file,
}  # fmt: skip


# ---- the strings of a schema, found in it and not listed

Place = tuple[str | int, ...]
KEY = "<key>"


def places(hint: Any) -> Iterator[Place]:
    """Yield the places of strings in data of a type, including optional and enumerated ones and a mapping's keys."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (str, Any) or origin is Literal:
        yield ()
    elif dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        for f in dataclasses.fields(hint):
            yield from ((f.name, *rest) for rest in places(hints[f.name]))
    elif origin in (Union, types.UnionType):
        yield from dict.fromkeys(place for argument in arguments for place in places(argument))
    elif origin is tuple:
        yield from ((0, *rest) for rest in places(arguments[0]))
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield (KEY,)
        yield from (("note", *rest) for rest in places(arguments[1]))


def planted(data: Any, place: Place, text: str) -> Any:
    """Return a copy of JSON data with `text` at `place`, which is created if needed."""
    if not place:
        return text
    first, *rest = place
    if isinstance(first, int):
        old = list(data or [])
        return [planted(old[0] if old else {}, tuple(rest), text), *old[1:]]
    old = dict(data or {})
    if first == KEY:
        return {**old, text: next(iter(old.values()), "x")}
    return {**old, first: planted(old.get(first), tuple(rest), text)}


def all_planted(data: Any, plants: Mapping[Place, str]) -> Any:
    """Return a copy with each text at its place; a mapping's names come last, so that they don't hide the others."""
    for place in sorted(plants, key=lambda p: KEY in p):
        data = planted(data, place, plants[place])
    return data


def sample(hint: Any) -> Any:
    """Return data of a type: every string is "x", and each tuple has one element."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return {f.name: sample(hints[f.name]) for f in dataclasses.fields(hint)}
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return sample(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return [sample(arguments[0])] if arguments[-1] is ... else [sample(a) for a in arguments]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"note": sample(arguments[1])}
    return {str: "x", int: 1, float: 1.0, bool: True}.get(hint, "x")


# ---- the commands, run in this process


@dataclasses.dataclass(frozen=True, slots=True)
class CommandResult:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str


def command(main: Callable[[], object], *arguments: object) -> CommandResult:
    """Run the entry point of a command; any exception but its exit is a traceback that a user would see."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["command", *map(str, arguments)]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as e:
        code = e.code or 0
    finally:
        sys.argv = before
    assert code in (0, 1, 2)
    result = CommandResult(code, out.getvalue(), err.getvalue())
    terminal(result.err)
    return result
