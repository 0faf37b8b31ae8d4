"""Text in another language, and the only ways to make a string part of it.

Strings of a file (names, notes, versions, options) may appear in C, in a page, in a terminal.  A writer of such text
takes `Text[C]`, `Text[Html]`, ..., never `str`: mypy refuses a raw string, and only this module makes a `Text`
(`tests/security/test_lint.py` refuses it elsewhere).  A `Text` comes from a template, which is a literal in our own
source, from an escaper, which takes any string, or from a file of the package.

A closed set is better than an escaper: the name of an architecture is a plain name, checked when it is read.
"""

from __future__ import annotations

import csv
import html as markup
import importlib.resources
import io
import json
import keyword
import re
import string
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NoReturn, Protocol, TypeVar, final
from xml.etree import ElementTree

from gan_export.errors import GanExportError, printable

MOST_SHOWN = 2000  # characters of one string from a file
_MOST_COMMENT = 300  # the same in a comment
_PLAIN = re.compile(r"[a-z0-9_-]{1,64}")
_SVG_ELEMENTS = ("svg", "g", "path", "defs", "use", "clipPath", "rect", "text", "tspan", "line", "circle", "polyline")
_SVG_ATTRIBUTE = re.compile(r"(?!on)[a-z][a-zA-Z-]*|href")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")


class C:
    """C99 and newer."""


class Html:
    """HTML, and the SVG in it: text that is escaped for HTML is well-formed XML too."""


class Markdown:
    """CommonMark with GitHub's tables and links."""


class Json:
    """JSON in ASCII."""


class Csv:
    """CSV that a spreadsheet may open."""


class Python:
    """Python source; only identifiers."""


L = TypeVar("L", C, Html, Markdown, Json, Csv, Python)


@final
class Text(Generic[L]):
    """Text of the language L, made of our literals and escaped strings by the functions below."""

    __slots__ = ("_escaped", "_language")
    _language: type
    _escaped: str

    def __init__(self) -> None:
        raise TypeError("a Text is made by the functions of gan_export._lib.escape")

    def __str__(self) -> str:
        return self._escaped

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a Text goes into a template of gan_export._lib.escape, never into an f-string")

    def __bool__(self) -> bool:
        return bool(self._escaped)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and (self._language, self._escaped) == (other._language, other._escaped)

    def __hash__(self) -> int:
        return hash((self._language, self._escaped))

    def __contains__(self, part: Text[L]) -> bool:
        return _same(self, part)._escaped in self._escaped

    def __add__(self, other: Text[L]) -> Text[L]:
        return _made(self._language, self._escaped + _same(self, other)._escaped)

    def join(self, parts: Iterable[Text[L]]) -> Text[L]:
        """Join parts as str.join does."""
        return _made(self._language, self._escaped.join(_same(self, part)._escaped for part in parts))

    def replace(self, mark: str, value: Text[L]) -> Text[L]:
        """Replace `mark` as str.replace does."""
        return _made(self._language, self._escaped.replace(mark, _same(self, value)._escaped))

    def wrapped(self, width: int, indent: str) -> Text[L]:
        """Return the text broken at spaces into lines of at most `width` characters, each after `indent`."""
        lines = textwrap.fill(
            self._escaped, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        return _made(self._language, lines)


class Fields(Protocol):
    """A dataclass whose numbers a template uses: `{grid.h}`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


# ---- templates: `template` is a literal (the lint checks this), and {name} is replaced by a number or a Text of the
# language; without values, braces are not special


def c(template: str, /, **values: Text[C] | float | Fields) -> Text[C]:
    """Fill a template in C."""
    return _made(C, _filled(C, template, values))


def html(template: str, /, **values: Text[Html] | float) -> Text[Html]:
    """Fill a template in HTML."""
    return _made(Html, _filled(Html, template, values))


def markdown(template: str, /, **values: Text[Markdown] | float) -> Text[Markdown]:
    """Fill a template in Markdown."""
    return _made(Markdown, _filled(Markdown, template, values))


def resource(language: type[L], package: str, *name: str) -> Text[L]:
    """Read a file of the package as text of its language."""
    return _made(language, importlib.resources.files(package).joinpath(*name).read_text(encoding="utf-8"))


# ---- escapers: each takes any string


def shown(text: str, limit: int = MOST_SHOWN) -> str:
    """Return `text` on one line of plain characters, cut to `limit`, for a terminal and as the first step of escapers.

    Control characters, direction marks, line separators and characters that are not text are shown as escapes.
    """
    return printable(text[: limit + 1], limit)


def c_comment(text: str) -> Text[C]:
    """Escape for the inside of a comment, on one line: nothing in the result ends, opens or continues a comment."""
    shown = re.sub(r"[*\\?]|[^ -~]|^/", _hexadecimal, text[: _MOST_COMMENT + 1])
    return _made(C, shown if len(text) <= _MOST_COMMENT else shown[:_MOST_COMMENT].rpartition("\\")[0] + "...")


def c_identifier(text: str) -> Text[C]:
    """Return a name as a C identifier, which is also safe in a comment, a string and a file name.

    Raises GanExportError for any other text: names of layers become identifiers in `exporters.c.names`.
    """
    if not _IDENTIFIER.fullmatch(text):
        raise GanExportError(f"{printable(text, 60)} can't name C functions; use letters, digits and _, no digit first")
    return _made(C, text)


def c_numbers(values: Iterable[float], suffix: str = "") -> Text[C]:
    """Return numbers with commas; C reads the floats back as the same float32."""
    return _made(C, ", ".join(str(v) if isinstance(v, int) else _float32(v) for v in values))


def python_identifier(text: str) -> Text[Python]:
    """Return a name as an ASCII identifier of Python that is no keyword.

    Raises GanExportError for any other text: names of layers become identifiers in `graph.torch_module`.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) or keyword.iskeyword(text):
        raise GanExportError(f"{printable(text, 60)} can't be a name in Python; use letters, digits and _")
    return _made(Python, text)


def html_text(text: str) -> Text[Html]:
    """Escape for text and for quoted attributes."""
    return _made(Html, markup.escape(shown(text)))


def svg(text: str) -> Text[Html]:
    """Return an <svg> element made by a library.

    Raises ValueError unless it is well-formed, has only elements and attributes that draw, and links only to itself.
    """
    root = ElementTree.fromstring(text)
    for element in root.iter():
        name = str(element.tag).removeprefix("{http://www.w3.org/2000/svg}")
        if name not in _SVG_ELEMENTS:
            raise ValueError(f"an SVG image with the element {printable(name, 40)}")
        for key, value in element.items():
            linked = key != "href" or value.startswith("#")
            if not _SVG_ATTRIBUTE.fullmatch(key) or not linked or re.search(r"url\((?!#)|@import", value):
                raise ValueError(f"an SVG image with the attribute {printable(key, 40)}={printable(value, 40)}")
    return _made(Html, text)


def html_script(data: object) -> Text[Html]:
    """Return data as JSON for a script element, in which it is valid JavaScript; no string in it ends the element."""
    return _made(Html, json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def markdown_text(text: str) -> Text[Markdown]:
    """Escape for running text, a list's item or a table's cell: no markup, no link, no HTML."""
    plain = shown(text).strip()
    plain = re.sub(r"[\\`*\[\]<>|~&$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", plain)
    plain = re.sub(r"(?i)(?<=:)//|(?<=www)\.", r"\\\g<0>", plain)  # URLs that GitHub would link
    plain = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", plain)  # start of a list, a heading or a line below one
    return _made(Markdown, re.sub(r"^[#+=-]", r"\\\g<0>", plain))


def markdown_code(text: str) -> Text[Markdown]:
    """Return text as inline code, between a sufficient number of backquotes."""
    plain = shown(text)
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return _made(Markdown, f"{fence}{space}{plain}{space}{fence}")


def json_text(
    data: object, *, indent: int | None = None, sort_keys: bool = False, separators: tuple[str, str] | None = None
) -> Text[Json]:
    """Return data as a JSON file, with a final line break."""
    return _made(Json, json.dumps(data, indent=indent, sort_keys=sort_keys, separators=separators) + "\n")


def json_lines(data: Mapping[str, object], lists: Sequence[str]) -> Text[Json]:
    """Return an object as a JSON file with one line per key, and one per element of the lists named."""
    lines = []
    for key, value in data.items():
        if key in lists and isinstance(value, list | tuple) and value:
            inner = ",\n  ".join(json.dumps(item) for item in value)
            lines.append(f"{json.dumps(key)}: [\n  {inner}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return _made(Json, "{" + ",\n ".join(lines) + "}\n")


def csv_rows(rows: Iterable[Sequence[object]]) -> Text[Csv]:
    """Return rows as CSV; a string that a spreadsheet would evaluate gets a quote in front."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    for row in rows:
        table.writerow([_inert(cell) if isinstance(cell, str) else cell for cell in row])
    return _made(Csv, out.getvalue())


# ---- closed sets


def is_plain_name(text: object) -> bool:
    """Return whether a text can name an architecture: 1 to 64 small letters, digits, `_` and `-`."""
    return isinstance(text, str) and _PLAIN.fullmatch(text) is not None


def is_class_name(text: object) -> bool:
    """Return whether a text can name a user's module class: an identifier of 1 to 64 ASCII characters."""
    return isinstance(text, str) and len(text) <= 64 and _IDENTIFIER.fullmatch(text) is not None


def file_stem(text: str) -> str:
    """Return a file name, without folder and suffix, made of any string: letters, digits, `.`, `_`, `-`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text[:100]).lstrip(".") or "-"


# ---- implementation


class _Filler(string.Formatter):
    """A str.format that accepts only numbers and Text of one language."""

    def __init__(self, language: type) -> None:
        self._language = language

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if conversion is not None:
            raise TypeError(f"!{conversion} in a template")
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Text) and value._language is self._language and not format_spec:
            return value._escaped
        if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, format_spec)
        raise TypeError(f"a {type(value).__name__} in a template of {self._language.__name__}: escape it first")

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        if unused := set(kwargs) - set(used_args):
            raise TypeError(f"a template has no {', '.join(sorted(unused))}")


def _filled(language: type, template: str, values: Mapping[str, Any]) -> str:
    return _Filler(language).vformat(template, (), values) if values else template


def _made(language: type[L], text: str) -> Text[L]:
    made: Text[L] = object.__new__(Text)
    made._language, made._escaped = language, text
    return made


def _same(one: Text[L], other: Text[L]) -> Text[L]:
    if not isinstance(other, Text) or other._language is not one._language:
        raise TypeError(f"{type(other).__name__} beside a Text of {one._language.__name__}: escape it first")
    return other


def _hexadecimal(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _float32(value: float) -> str:
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def _inert(cell: str) -> str:
    return f"'{shown(cell)}" if cell[:1] in tuple("=+-@\t\r") else shown(cell)
