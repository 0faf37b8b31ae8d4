"""Check the language of the docs, of the commands' help and messages, and of docstrings and comments.

    python tools/check_language.py             check every covered path
    python tools/check_language.py PATH...     check these files

Prints FILE:LINE, the phrase, and what to write instead; exits with 1 if there is any.  CONTRIBUTING.md has the rule.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Texts that follow the rule everywhere: prose, docstrings, comments and strings.  Add a path when it is clean.
COVERED = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/gallery/*.md",
    "docs/guides/*.md",
    "docs/reference/*.md",
    "docs/start/*.md",
    "embed/README.md",
    "embed/*/README.md",
    "embed/*/*.py",
    "gan_export/data/README.md",
    "exported/*/README.md",
    "train/*.py",
    "train/experiments/*.py",
    "train/experiments/ablations.md",
    "gan_export/*.py",
    "gan_export/_lib/*.py",
    "gan_export/bench/*.py",
    "gan_export/bench/suites/*.toml",
    "gan_export/checkpoint/**/*.py",
    "gan_export/cli/*.py",
    "gan_export/datasets/**/*.py",
    "gan_export/exporters/**/*.py",
    "gan_export/formats/*.py",
    "gan_export/graph/**/*.py",
    "gan_export/metrics/*.py",
    "gan_export/pipeline/*.py",
    "gan_export/recognize/**/*.py",
    "gan_export/runtimes/*.py",
    "gan_export/sampling/*.py",
    "gan_export/training/*.html",
    "gan_export/training/*.py",
    "gan_export/training/recipes/*.toml",
    "gan_export/verification/*.py",
    "gan_export/web/*.js",
    "gan_export/web/*.py",
    "gan_export/web/page/*.html",
    "gan_export/web/page/*.js",
)
# Folders in which a docstring of a function or class begins with a verb or an article.
VERB_FIRST = ("gan_export/", "embed/", "train/")
_NO_VERB = re.compile(
    r"(Whether|What\w*|Who\w*|Where|How|Which|As|Of|Nothing|None|Raises|Its?|Th[eo]se|That|Everything|By|With)\b|\("
)

# pattern -> what to write instead
BANNED = {
    r"pictures?": "image",
    r"told|whoever|(?:is|are) (?:said|asked)|asked for": "a noun for the value",
    r"so many": "the number, or N",
    r"as far as": "if, or up to",
    r"unproven|proven": "verified",
    r"afresh|anew": "again",
    r"(?:is|are) (?:possible|known)(?=\W*$)|(?:is|are) possible": "must be ...",
    r"ask for (?:at least|fewer|a smaller)": "use",
    r"(?:draws?|drew|drawn)(?: \w+){0,2} (?:images?|digits?|latents?)": "generate",
    r"where (?:it|they|there|none|no|nothing|both|one|that) (?:is|are|was|has|have|can|gives?|takes?|needs?)": "if",
    r"(?:on the CPU|of it|them|those|files?|one|that|checkpoints?) alone": "only",
    r"(?:images?|bytes|calls|processes|files?|lines?) an? (?:second|batch|call|run|step|core|file)": "per",
    r"colour\w*|optimis\w+|recognis\w+|quantis\w+|neighbour\w*|normalis\w+": "American spelling",
}
# Exact text around a match that may stay: names that are not renamed yet.
EXCEPTIONS = (
    "unproven: ",
    *("*picture", "picture[", "{picture}", "sizeof picture"),  # a parameter of exported C source
)
_BANNED = tuple(
    (re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), use) for pattern, use in BANNED.items()
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A phrase that the rule bans, and what to write instead."""

    path: str
    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase!r}: write {self.instead}"


def check_text(path: str, text: str, first: int = 1) -> Iterator[Finding]:
    """Yield the findings in a text, without inline code, whose first line is line `first` of the file."""
    for offset, line in enumerate(re.sub(r"`[^`\n]*`", "``", text).split("\n")):
        for pattern, instead in _BANNED:
            for match in pattern.finditer(line):
                around = line[max(0, match.start() - 24) : match.end() + 24]
                if not any(known in around for known in EXCEPTIONS):
                    yield Finding(path, first + offset, match[0], instead)


def check_python(path: str, source: str) -> Iterator[Finding]:
    """Yield the findings in the strings, docstrings and comments of a module.

    A string without a space is an identifier or a key, and is not checked.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()):
            continue
        yield from check_text(path, node.value, node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from check_text(path, token.string, token.start[0])


def check_first_words(path: str, source: str) -> Iterator[Finding]:
    """Yield the functions and classes whose docstrings begin with a conjunction or a pronoun instead of a verb.

    Properties and constructors are not checked.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name == "__init__":
            continue
        if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
            continue
        if found := _NO_VERB.match(ast.get_docstring(node) or ""):
            yield Finding(path, node.lineno, found[0], "`Verb object.` first")


def prose(markdown: str) -> str:
    """Return Markdown without code blocks and link targets, at the same line numbers."""
    kept, code = [], False
    for line in markdown.split("\n"):
        fence = line.lstrip().startswith("```")
        code ^= fence
        kept.append("" if code or fence or line.startswith("    ") else re.sub(r"\]\([^)]*\)", "]", line))
    return "\n".join(kept)


def markup(page: str) -> str:
    """Return HTML without tags, styles and scripts, at the same line numbers."""
    blank = r"(?is)<(script|style)\b.*?</\1>|<[^>]*>"
    return re.sub(blank, lambda match: "\n" * match[0].count("\n"), page)


def remarks(source: str) -> str:
    """Return the comments of JavaScript, or the comments and descriptions of TOML, at the same line numbers."""
    remark = re.compile(r"(?://|#(?= )|^about = |^description = )(.*)")
    return "\n".join(found[1] if (found := remark.search(line)) else "" for line in source.split("\n"))


def check_file(path: Path) -> list[Finding]:
    """Return the findings in one file of the repository: Markdown, Python, HTML, JavaScript or TOML."""
    shown, text = path.resolve().relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        findings = list(check_python(shown, text))
        if shown.startswith(VERB_FIRST):
            findings += check_first_words(shown, text)
        return findings
    part = {".md": prose, ".html": markup, ".js": remarks, ".ts": remarks, ".toml": remarks}[path.suffix]
    return list(check_text(shown, part(text)))


def files(patterns: Iterable[str]) -> list[Path]:
    """Return the files that match any of the patterns; raise ValueError for a pattern without a file."""
    found: set[Path] = set()
    for pattern in patterns:
        matches = set(ROOT.glob(pattern))
        if not matches:
            raise ValueError(f"{pattern}: no such file; mend COVERED in {Path(__file__).name}")
        found |= matches
    return sorted(found)


def main(arguments: list[str]) -> int:
    if arguments:
        findings = [f for name in arguments for f in check_file(Path(name))]
    else:
        findings = [f for path in files(COVERED) for f in check_file(path)]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
