#!/usr/bin/env python3
"""Write the whole engine as one C file, gan_all.c, with gan.h and gan.hpp beside it: amalgamate.py FOLDER.

The sources are those that CMakeLists.txt builds.  Two rules keep the names apart that a file defines for itself, from
those of other files and of system headers: what it declares gets the file's name in front (`gemm` of avx2.c becomes
`avx2_gemm`), and its macros end with it.  Every header with a guard stands once, before all files.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[1]
PUBLIC = ("gan.h", "gan.hpp")

# A comment, a string or a character, a name, a number (whose letters are no name), or any other sign.
TOKEN = re.compile(
    r"""(?P<skip>/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?P<sign>->|\S)""",
    re.DOTALL,
)
INCLUDE = re.compile(r'^#include "([^"]+)".*\n', re.MULTILINE)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", re.MULTILINE)

HEAD = """\
/* The engine of gan-export {version} as one file, made by engine/tools/amalgamate.py: change the sources, not this.
 *
 *     cc -O3 -c gan_all.c
 *
 * GCC or Clang (on Windows MinGW's or clang-cl), C11.  Link with -lm and -pthread.  No flag for a processor is needed:
 * the kernels for AVX2 and AVX-512 are compiled in, and chosen when a file is opened.  gan.h is the interface.  Define
 * GAN_BUILD to make a shared library of it, together with -fvisibility=hidden.
 *
{license}
 */
"""
# An a * b + c that the compiler contracts would round once instead of twice.
CONTRACTION = """
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
"""


@dataclass(frozen=True)
class Unit:
    """A file that is compiled for itself: its text without the headers that stand before all files."""

    name: str
    text: str

    def macros(self) -> list[str]:
        """What it defines as macros, in order."""
        return list(dict.fromkeys(re.findall(r"^[ \t]*#define (\w+)", self.text, re.MULTILINE)))

    def names(self) -> set[str]:
        """What it defines for itself at file scope: functions, variables, types, tags and constants."""
        return set(file_scope(DIRECTIVE.sub("", self.text))) - set(self.macros())


def file_scope(text: str) -> Iterator[str]:
    """Names that a text without directives declares outside of functions, without the library's own prefix."""
    depth, before, in_enum = 0, "", False
    tokens = [m for m in TOKEN.finditer(text) if m.lastgroup != "skip"]
    for here, after in zip(tokens, [*tokens[1:], None], strict=True):
        word, following = here[0], after[0] if after else ""
        if word in "({[":
            in_enum = in_enum or (word == "{" and depth == 0 and before.startswith("enum"))
            depth += 1
        elif word in ")}]":
            depth -= 1
            in_enum = in_enum and depth > 0
        elif here.lastgroup == "name" and not word.startswith(("gan_", "GAN_", "__", "_Static")):
            tag = before in ("struct", "union", "enum")
            declared = depth == 0 and (following in ("(", "[", "=", ";", ",") or (tag and following == "{"))
            if declared or (in_enum and depth == 1 and before in ("{", ",")):
                yield word
        before = f"enum {word}" if before == "enum" and depth == 0 and word != "{" else word


def renamed(text: str, names: dict[str, str]) -> str:
    """The text with other names, which members of structures keep."""
    before = ""

    def replace(m: re.Match[str]) -> str:
        nonlocal before
        member, before = before in (".", "->"), m[0]
        return m[0] if member else names.get(m[0], m[0])

    return TOKEN.sub(replace, text)


def sources() -> list[Path]:
    """The files that CMakeLists.txt's list of sources names."""
    build = (ENGINE / "CMakeLists.txt").read_text(encoding="utf-8")
    (patterns,) = re.findall(r"^file\(GLOB sources CONFIGURE_DEPENDS (.*)\)$", build, re.MULTILINE)
    found = [p.replace("${folder}/", "") for p in re.findall(r'"([^"]+)"', patterns)]
    return sorted(path for pattern in found for path in (ENGINE / "src").glob(pattern))


def guarded(text: str) -> bool:
    """Whether a header is one that is read once."""
    return re.search(r"^#ifndef (\w+)\n#define \1\n", text, re.MULTILINE) is not None


class Headers:
    """The headers with a guard, each after those that it includes."""

    def __init__(self) -> None:
        self.order: dict[Path, str] = {}

    def expand(self, text: str, folder: Path) -> str:
        """A text with its headers taken out, if they have a guard, and with others in their place."""

        def put(m: re.Match[str]) -> str:
            if m[1] in PUBLIC:
                return ""
            (path, *_) = [p for p in (folder / m[1], ENGINE / "src" / m[1]) if p.exists()]
            path = path.resolve()
            inner = path.read_text(encoding="utf-8")
            if not guarded(inner):
                return self.expand(inner, path.parent)
            if path not in self.order:
                self.order[path] = ""  # which ends a circle
                expanded = self.expand(inner, path.parent)
                del self.order[path]
                self.order[path] = expanded
            return ""

        return INCLUDE.sub(put, text)


def split_features(text: str) -> tuple[str, str]:
    """What a file defines before its first header, which system headers read, and the rest of the file."""
    first = text.find("\n#include")
    head = text[: first + 1]
    defined = [line for line in head.splitlines() if re.match(r"#(define|undef)\b", line)]
    if not defined:
        return "", text
    conditions = [line for line in head.splitlines() if re.match(r"#if", line)]
    lines = [line if "undef" in line else f"#ifndef {line.split()[1]}\n{line}\n#endif" for line in defined]
    for line in defined:
        head = head.replace(line + "\n", "")
    return "\n".join([*conditions, *lines, *["#endif"] * len(conditions)]) + "\n", head + text[first + 1 :]


def amalgamate() -> str:
    """The whole engine as one text."""
    headers, features, units, last = Headers(), [], [], []
    for path in sources():
        feature, text = split_features(path.read_text(encoding="utf-8"))
        unit = Unit(path.stem, headers.expand(text, path.parent))
        if feature:  # a system's own file, whose headers declare much: after all others
            features.append(feature)
            last.append(unit)
        else:
            units.append(unit)
    units += last
    if doubled := [stem for stem, n in Counter(unit.name for unit in units).items() if n > 1]:
        raise SystemExit(f"two files are called {doubled[0]}.c, so that their names would get the same prefix")
    version = ".".join(re.findall(r"#define GAN_VERSION_\w+ (\d+)", (ENGINE / "include/gan.h").read_text()))
    license_text = (ENGINE.parent / "LICENSE").read_text(encoding="utf-8").strip().splitlines()
    parts = [HEAD.format(version=version, license="\n".join(f" * {line}".rstrip() for line in license_text))]
    parts += [*features, CONTRACTION, '\n#include "gan.h"\n']
    parts += [section(path.relative_to(ENGINE / "src"), text) for path, text in headers.order.items()]
    for unit in units:
        own = {name: f"{unit.name}_{name.removeprefix(unit.name + '_')}" for name in unit.names()}
        ends = "".join(f"#undef {name}\n" for name in unit.macros())
        parts.append(section(Path(f"{unit.name}.c"), renamed(unit.text, own)) + ends)
    return "".join(parts)


def section(name: Path, text: str) -> str:
    """A file's text under a line with its name."""
    return f"\n/* ---- {name.as_posix()} ---- */\n{text}"


def main(words: list[str]) -> int:
    """Write the files to the folder that the first word names."""
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: amalgamate.py FOLDER: writes gan_all.c, gan.h and gan.hpp there", file=sys.stderr)
        return 2
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gan_all.c").write_text(amalgamate(), encoding="utf-8")
    for name in PUBLIC:
        shutil.copyfile(ENGINE / "include" / name, folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
