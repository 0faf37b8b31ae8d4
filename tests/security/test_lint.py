"""What mypy can't hold of `gan_export._lib.escape`: templates are literals, nothing else makes a Text, one place
prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gan_export"
TEMPLATES = frozenset(("c", "html", "markdown", "md"))
MAKERS = frozenset(("_made", "_Filler", "_filled"))
OWN_PRINT = frozenset(
    ("cli/say.py", "bench/roofline.py", "datasets/worker.py")
)  # the last two: JSON for their parent alone
OWN_WRITE = frozenset(("_lib/fs.py",))
STREAMS = frozenset(("cli/say.py", "cli/dataset.py"))


def faults(source: str, name: str) -> Iterator[str]:
    """What in a module goes round `gan_export._lib.escape`."""
    if name == "_lib/escape.py":
        return
    tree = ast.parse(source)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "gan_export._lib.escape"
        for alias in node.names
        if alias.name in TEMPLATES
    }
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.module == "gan_export._lib.escape":
            if private := [alias.name for alias in node.names if alias.name in MAKERS]:
                yield f"{where} takes {private[0]} out of escape"
        elif isinstance(node, ast.Attribute) and (
            node.attr == "_escaped" or ast.unparse(node) in {f"escape.{maker}" for maker in MAKERS}
        ):
            yield f"{where} reaches into a Text"
        elif isinstance(node, ast.Call):
            yield from (f"{where} {fault}" for fault in call_faults(node, ours, name))


def call_faults(call: ast.Call, ours: set[str], name: str) -> Iterator[str]:
    called = call.func
    if isinstance(called, ast.Name):
        if called.id in ours and not (
            call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
        ):
            yield "fills a template that is no literal"
        if called.id == "print" and name not in OWN_PRINT:
            yield "prints; cli.say does"
        if called.id == "cast" and call.args and "Text" in ast.unparse(call.args[0]):
            yield "casts to a Text"
    elif isinstance(called, ast.Attribute):
        whole = ast.unparse(called)
        if called.attr == "write_text" and name not in OWN_WRITE:
            yield "writes text; fs.write_text does"
        if whole in ("typer.echo", "html.escape", "object.__new__", "Text.__new__"):
            yield f"calls {whole}"
        if whole in ("sys.stdout.write", "sys.stderr.write") and name not in STREAMS:
            yield "prints; cli.say does"


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_nothing_goes_round_the_escapers(file: Path) -> None:
    assert list(faults(file.read_text(encoding="utf-8"), file.relative_to(PACKAGE).as_posix())) == []


@pytest.mark.parametrize(
    "source",
    [
        "from gan_export._lib.escape import c\nc(f'int {x};')",
        "from gan_export._lib.escape import c\nc('a' + x)",
        "from gan_export._lib.escape import markdown as md\nmd(x)",
        "from gan_export._lib.escape import _made",
        "from gan_export._lib import escape\nescape._made(C, x)",
        "text._escaped = x",
        "cast(Text[C], x)",
        "print(x)",
        "path.write_text(x)",
        "sys.stdout.write(x)",
    ],
)
def test_the_lint_refuses(source: str) -> None:
    assert list(faults(source, "export/x.py"))
