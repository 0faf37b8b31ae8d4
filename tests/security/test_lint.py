"""Check the rules of `gan_export._lib.escape` that mypy can't check.

Templates are literals, no other module makes a `Text`, and only one module prints.
"""

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
)  # the last two: JSON for their parent process only
OWN_WRITE = frozenset(("_lib/fs.py",))
STREAMS = frozenset(("cli/say.py", "cli/dataset.py"))
OWN_FX = frozenset(("graph/torch_code.py",))  # its names become Python, which torch compiles
OWN_TEXT = frozenset(("_lib/fs.py", "cli/bench.py", "datasets/worker.py"))  # the last: JSON for its parent process only
NAMED_NODES = frozenset(("call_module", "placeholder", "get_attr", "call_method", "create_node", "GraphModule"))
ARCHIVES = frozenset(("tarfile", "av", "archive"))
PARSERS_ALONE = frozenset(("tomli_w", "tomlkit", "toml", "lxml", "xml.dom", "xml.sax", "jinja2"))  # they write


def faults(source: str, name: str) -> Iterator[str]:
    """Yield what bypasses `gan_export._lib.escape` in a module."""
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
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if writers := [m for m in modules if m in PARSERS_ALONE or m.split(".")[0] in PARSERS_ALONE]:
                yield f"{where} imports {writers[0]}, which writes a language that has no escaper"
        elif isinstance(node, ast.Attribute) and (
            node.attr == "_escaped" or ast.unparse(node) in {f"escape.{maker}" for maker in MAKERS}
        ):
            yield f"{where} reaches into a Text"
        elif isinstance(node, ast.Call):
            yield from (f"{where} {fault}" for fault in call_faults(node, ours, name))


def opens_for_text(call: ast.Call) -> bool:
    """Return whether a call is an `open` that writes text."""
    called = call.func
    if not (isinstance(called, ast.Name | ast.Attribute) and ast.unparse(called).split(".")[-1] in ("open", "fdopen")):
        return False
    if ast.unparse(called).split(".")[0] in ARCHIVES:
        return False
    given = [*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")]
    modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return any(set(mode) <= set("rwaxbt+U") and set(mode) & set("wax+") and "b" not in mode for mode in modes)


def call_faults(call: ast.Call, ours: set[str], name: str) -> Iterator[str]:
    called = call.func
    if opens_for_text(call) and name not in OWN_TEXT:
        yield "opens a file for text; fs.write_text writes it"
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
        if called.attr in NAMED_NODES and name not in OWN_FX:
            yield "names a node of a graph; graph.torch_code does"
        if whole.endswith(("ElementTree.tostring", "ElementTree.ElementTree", "toprettyxml")):
            yield "writes XML"
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
        "open(path, 'w').write(x)",
        "path.open(mode='a')",
        "graph.placeholder(x)",
        "graph.call_module(x, ())",
        "torch.fx.GraphModule(layers, graph)",
        "import tomli_w",
        "from xml.sax import saxutils",
        "ElementTree.tostring(root)",
        "from gan_export._lib.escape import _made\n_made(Python, x)",
    ],
)
def test_the_lint_refuses(source: str) -> None:
    assert list(faults(source, "export/x.py"))
