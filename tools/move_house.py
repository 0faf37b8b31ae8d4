"""Move the package to its new rooms: files, imports, paths in text, names.

    python tools/move_house.py [ROOT] [--left] [--check] [--names]

Works on any tree near the tag `before-house`, a branch of work in the old layout as well: files that it has never seen
go where their folder goes, and their imports and names are rewritten like all others.  A second run changes nothing.
What it can't resolve is listed and makes it exit with 1 before anything is written.  `--left` prints what a reader
should look at: names and strings that no rule was sure of.  `--check` writes nothing.  `--names` renames classes and
functions as well (`house_names.py`).

The tables are in `house_tables.py`.  Standard library only; ruff, if ROOT has it in `.venv/bin` or the PATH does, puts
imports and lines in order afterwards.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import house_tables as tables
from house_edits import BLOCKS, EDITS, INSTEAD, OPTIONAL
from house_names import SYMBOLS, WORDS

# What may lie at the top of the package: public modules alone.
PUBLIC = {"__init__.py", "api.py", "errors.py", "types.py", "latents.py", "images.py", "py.typed"}
# Never read: records of what was, and this script.
FROZEN = (
    "benchmarks/results/",
    "benchmarks/report.html",
    "train/records/",
    "train/ablations/",
    "train/experiments/ablations/",
    "tools/",
)
TEXT = {
    ".py", ".md", ".toml", ".txt", ".sh", ".c", ".h", ".hpp", ".cpp", ".in", ".cmake", ".json", ".ipynb", ".js", ".mjs",
    ".ts", ".html", ".css", ".yml", ".yaml", ".pyi", ".supp", ".def",
}  # fmt: skip
TEXT_NAMES = {"Makefile", "CMakeLists.txt", ".gitignore", "run", "abi", "kat_vectors", "stream_vectors"}
TOP = ("gan_export", "csrc", "docs", "train", "tests", "benchmarks")


@functools.cache
def map_path(path: str) -> str:
    """Where the file or folder `path` (from the root, in the old layout) lies in the new one."""
    clean = path.rstrip("/")
    if clean in tables.FOLDERS:
        return tables.FOLDERS[clean] + path[len(clean) :]
    best = ""
    for old in tables.MOVES:
        fits = clean == old or (old.endswith("/") and (clean + "/").startswith(old))
        if fits and len(old) > len(best):
            best = old
    if not best:
        return path
    new = tables.MOVES[best]
    if clean == best or clean + "/" == best:
        return new.rstrip("/") + path[len(clean) :]
    return new + path[len(best) :]


def module_of(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


@dataclass
class Tree:
    """The files of a tree before the move, and what their modules are called after it."""

    root: Path
    files: dict[str, None]  # in order
    modules: dict[str, str] = field(default_factory=dict)  # old -> new
    news: set[str] = field(default_factory=set)  # modules of the new layout, all of them
    folders: set[str] = field(default_factory=set)
    symbols: dict[str, dict[str, str]] = field(default_factory=dict)  # module -> name -> new name, imported ones too
    defined: dict[str, dict[str, str]] = field(default_factory=dict)  # the same without what modules import
    names: bool = False  # whether SYMBOLS are renamed too
    tops: dict[str, set[str]] = field(default_factory=dict)  # old module -> what it defines at its top
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for old, new in tables.MOVES.items():
            if old.endswith(".py"):
                self.modules[module_of(old)] = module_of(new)
            elif old.startswith(("gan_export/", "tests/")) and new.startswith(("gan_export/", "tests/")):
                self.modules[module_of(old.rstrip("/"))] = module_of(new.rstrip("/"))
        for path in self.files:
            for i in range(1, path.count("/") + 1):
                self.folders.add("/".join(path.split("/")[:i]))
            if path.endswith(".py"):
                new = map_path(path)
                self.news.add(module_of(new))
                if new != path:
                    self.modules[module_of(path)] = module_of(new)
        for path in tables.NEW_FILES:
            self.news.add(module_of(path))
        for module in tuple(self.news):
            parts = module.split(".")
            self.news |= {".".join(parts[:n]) for n in range(1, len(parts))}
        for module, names in SYMBOLS.items() if self.names else ():
            for name in (module, module_of(map_path(module.replace(".", "/") + ".py"))):
                if name.replace(".", "/") + ".py" in self.files:
                    self.symbols.setdefault(name, {}).update(names)
                    self.defined.setdefault(name, {}).update(names)

    def is_old(self, module: str) -> bool:
        """Whether `module` is a file of the old layout that is still there."""
        path = module.replace(".", "/") + ".py"
        return path in self.files and map_path(path) != path

    def map_module(self, dotted: str) -> str:
        """A dotted name in the new layout: the longest old module that it begins with is replaced."""
        parts = dotted.split(".")
        for n in range(len(parts), 0, -1):
            old = ".".join(parts[:n])
            if old not in self.modules:
                continue
            new = self.modules[old]
            # gan_export.sampling is a module before and a package after: what names the package's parts stays.
            if new.startswith(old + ".") and n < len(parts) and f"{old}.{parts[n]}" in self.news:
                return dotted
            return ".".join([new, *parts[n:]])
        return dotted


# --- Python ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Scope:
    kind: str
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)  # global and nonlocal names


@dataclass(eq=False)
class Use:
    name: str
    scope: Scope
    start: int
    end: int
    string: ast.JoinedStr | None = None  # inside of this f-string: then start and end mean nothing
    attribute: str = ""  # what is read of it: the `b` of `a.b`
    attribute_end: int = 0


@dataclass(eq=False)
class Imported:
    statement: ast.ImportFrom
    alias: ast.alias
    scope: Scope


class Reader(ast.NodeVisitor):
    """Every name of a module with the scope that it is looked up from, and every import."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.module = Scope("module", None)
        self.scope = self.module
        self.string: ast.JoinedStr | None = None
        self.uses: list[Use] = []
        self.imports: list[Imported] = []
        self.attributes: list[tuple[str, int, ast.JoinedStr | None]] = []  # name, its end
        self.keywords: list[tuple[str, int, ast.JoinedStr | None]] = []  # name, its start
        self.members: list[tuple[str, int]] = []  # defined in a class's body: name, its start
        self.strings: list[ast.Constant | ast.JoinedStr] = []
        self.divisions: list[ast.BinOp] = []
        tree = ast.parse(source)
        self.body = tree.body
        self.visit(tree)

    def at(self, line: int, column: int) -> int:
        return self.lines[line - 1] + column

    def start(self, node: ast.expr | ast.stmt | ast.arg | ast.alias | ast.keyword) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.alias) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.at(node.end_lineno, node.end_col_offset)

    def use(self, name: str, start: int, *, bind: bool = False, scope: Scope | None = None) -> Use:
        scope = scope or self.scope
        if bind and name not in scope.elsewhere:
            scope.bound.add(name)
        made = Use(name, scope, start, start + len(name.encode()), self.string)
        self.uses.append(made)
        return made

    def inside(self, kind: str, run: Callable[[], None]) -> None:
        self.scope = Scope(kind, self.scope)
        run()
        assert self.scope.parent
        self.scope = self.scope.parent

    def name_after(self, word: bytes, node: ast.stmt, name: str) -> int:
        found = re.compile(rb"\b" + word + rb"\s+" + name.encode() + rb"\b").search(self.source, self.start(node))
        assert found
        return found.end() - len(name.encode())

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        start = self.name_after(b"def", node, node.name)
        if self.scope.kind == "class":
            self.members.append((node.name, start))
        self.use(node.name, start, bind=True)
        for item in [*node.decorator_list, *node.args.defaults, *[d for d in node.args.kw_defaults if d]]:
            self.visit(item)
        everything = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        for arg in everything:
            if arg and arg.annotation:
                self.visit(arg.annotation)
        if node.returns:
            self.visit(node.returns)

        def body() -> None:
            for arg in everything:
                if arg:
                    self.use(arg.arg, self.start(arg), bind=True)
            for statement in node.body:
                self.visit(statement)

        self.inside("function", body)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for item in [*node.args.defaults, *[d for d in node.args.kw_defaults if d]]:
            self.visit(item)

        def body() -> None:
            for arg in [
                *node.args.posonlyargs,
                *node.args.args,
                *node.args.kwonlyargs,
                node.args.vararg,
                node.args.kwarg,
            ]:
                if arg:
                    self.use(arg.arg, self.start(arg), bind=True)
            self.visit(node.body)

        self.inside("function", body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.use(node.name, self.name_after(b"class", node, node.name), bind=True)
        for item in [*node.decorator_list, *node.bases]:
            self.visit(item)
        for keyword in node.keywords:
            self.visit(keyword.value)

        def body() -> None:
            for statement in node.body:
                self.visit(statement)

        self.inside("class", body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.visit(node.generators[0].iter)

        def body() -> None:
            for i, generator in enumerate(node.generators):
                self.visit(generator.target)
                if i:
                    self.visit(generator.iter)
                for condition in generator.ifs:
                    self.visit(condition)
            for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
                self.visit(part)

        self.inside("comprehension", body)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        scope = self.scope
        while scope.kind == "comprehension":
            assert scope.parent
            scope = scope.parent
        scope.bound.add(node.target.id)
        self.use(node.target.id, self.start(node.target))
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        stored = not isinstance(node.ctx, ast.Load)
        if stored and self.scope.kind == "class":
            self.members.append((node.id, self.start(node)))
        self.use(node.id, self.start(node), bind=stored)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        end = self.end(node)
        self.attributes.append((node.attr, end, self.string))
        if isinstance(node.value, ast.Name):
            made = self.use(node.value.id, self.start(node.value), bind=False)
            made.attribute, made.attribute_end = node.attr, end
        else:
            self.visit(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.keywords.append((node.arg, self.start(node), self.string))
        self.visit(node.value)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        text = self.source[self.start(node) : self.end(node)].decode()
        for name in node.names:
            self.scope.elsewhere[name] = "global" if isinstance(node, ast.Global) else "nonlocal"
            found = re.search(rf"(?<=[ ,]){name}\b", text)
            assert found
            self.use(name, self.start(node) + found.start())

    visit_Nonlocal = visit_Global  # type: ignore[assignment]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            self.visit(node.type)
        if node.name:
            after = self.end(node.type) if node.type else self.at(node.lineno, node.col_offset)
            found = re.compile(rb"\bas\s+" + node.name.encode() + rb"\b").search(self.source, after)
            assert found
            self.use(node.name, found.end() - len(node.name), bind=True)
        for statement in node.body:
            self.visit(statement)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.scope.bound.add(node.name)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self.use(alias.asname, self.end(alias) - len(alias.asname), bind=True)
            else:
                self.use(alias.name.split(".")[0], self.start(alias), bind=True)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.scope.bound.add(alias.asname or alias.name)
            self.imports.append(Imported(node, alias, self.scope))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if self.string is None:
            self.strings.append(node)
            self.string = node
            self.generic_visit(node)
            self.string = None
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and self.string is None:
            self.strings.append(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Div):
            self.divisions.append(node)
        self.generic_visit(node)


def resolve(name: str, scope: Scope) -> Scope | None:
    """The scope that binds `name` for a use in `scope`; None for a builtin or what is bound nowhere."""
    at: Scope | None = scope
    if scope.elsewhere.get(name) == "global":
        while at and at.parent:
            at = at.parent
        return at
    first = True
    while at:
        if name in at.bound and (first or at.kind != "class"):
            return at
        first = False
        at = at.parent
    return None


class PythonFile:
    """One Python source, and the edits that the move makes in it."""

    def __init__(self, tree: Tree, path: str, source: str) -> None:
        self.tree = tree
        self.path = path
        self.source = source.encode()
        self.read = Reader(self.source)
        self.edits: dict[tuple[int, int], bytes] = {}
        self.in_strings: dict[int, list[tuple[str, str, bool]]] = defaultdict(list)  # f-string -> (old, new, attribute)
        self.strings_by_id = {id(s): s for s in self.read.strings}

    def edit(self, start: int, end: int, text: str) -> None:
        self.edits[start, end] = text.encode()

    def rename(self, use: Use, new: str) -> None:
        if use.string is not None:
            self.in_strings[id(use.string)].append((use.name, new, False))
        else:
            self.edit(use.start, use.end, new)

    def rename_attribute(self, name: str, end: int, string: ast.JoinedStr | None, new: str) -> None:
        if string is not None:
            self.in_strings[id(string)].append((name, new, True))
        else:
            self.edit(end - len(name.encode()), end, new)

    def uses_of(self, name: str, scope: Scope) -> list[Use]:
        return [u for u in self.read.uses if u.name == name and resolve(name, u.scope) is scope]

    def free(self, old: str, new: str, scope: Scope) -> bool:
        """Whether `old`, bound in `scope`, can be called `new` everywhere."""
        if new in scope.bound:
            return False
        for use in self.uses_of(old, scope):
            found = resolve(new, use.scope)
            at: Scope | None = found
            while at and at is not scope:
                at = at.parent
            if at is scope:  # bound between the use and the scope
                return False
        for use in self.read.uses:
            if use.name != new:
                continue
            # a builtin, or what an outer scope binds, would be captured
            at = use.scope
            while at and at is not scope:
                at = at.parent
            found = resolve(new, use.scope)
            if at is scope and (found is None or not _within(found, scope)):
                return False
        return True

    def imports(self) -> None:
        """Rewrite `from gan_export... import ...`, and what it binds."""
        statements: dict[ast.ImportFrom, list[Imported]] = defaultdict(list)
        for item in self.read.imports:
            statements[item.statement].append(item)
        wanted: dict[tuple[int, str], str] = {}  # (scope, old binding) -> new binding
        chosen: dict[str, str] = {}  # new module -> its binding in this file
        for item in self.read.imports:
            full = _full(item)
            if full is None or not self._renames(item, full):
                continue
            new = self.tree.modules.get(full, full)
            leaf, old = new.rpartition(".")[2], item.alias.asname or item.alias.name
            if leaf != old:
                chosen.setdefault(new, leaf)
                if not self.free(old, leaf, item.scope):
                    chosen[new] = tables.ALIASES.get(new, "")
        for item in self.read.imports:
            full = _full(item)
            if full is None or not self._renames(item, full):
                continue
            new, old = self.tree.modules.get(full, full), item.alias.asname or item.alias.name
            if new in chosen:
                name = chosen[new]
                if not name or not self.free(old, name, item.scope):
                    self.tree.problems.append(
                        f"{self.path}:{item.statement.lineno}: {name or new} is not free for {new}; see ALIASES"
                    )
                    continue
                wanted[id(item.scope), old] = name
                for use in self.uses_of(old, item.scope):
                    self.rename(use, name)
        for statement, items in statements.items():
            self._statement(statement, items, wanted)

    def _renames(self, item: Imported, full: str) -> bool:
        """Whether what this import binds changes with the name of the module."""
        if item.alias.asname:
            return tables.UNALIAS.get(full) == item.alias.asname
        return full in self.tree.modules and not self._is_new(full)

    def _is_new(self, full: str) -> bool:
        """Whether `full` is read as the new layout's package and not as the old module of that name."""
        new = self.tree.modules.get(full, "")
        return new.startswith(full + ".") and full.replace(".", "/") + ".py" not in self.tree.files

    def _statement(self, statement: ast.ImportFrom, items: list[Imported], wanted: dict[tuple[int, str], str]) -> None:
        groups: dict[str, list[str]] = {}
        changed = False
        for item in items:
            full = _full(item)
            if full is None:
                return
            assert statement.module
            name, asname = item.alias.name, item.alias.asname
            asname = wanted.get((id(item.scope), asname), asname) if asname else None
            if full in self.tree.modules and not self._is_new(full):
                new = self.tree.modules[full]
                parent, _, leaf = new.rpartition(".")
                bound = asname or wanted.get((id(item.scope), name), leaf if leaf == name else name)
                text = leaf if bound == leaf else f"{leaf} as {bound}"
            elif full in self.tree.news and not self.tree.is_old(statement.module):
                parent, text = statement.module, name if asname in (None, name) else f"{name} as {asname}"
            else:
                parent = self.tree.map_module(statement.module)
                renamed = self.tree.symbols.get(statement.module, {}).get(name, name)
                text = renamed
                if asname:
                    text += f" as {asname}"
                elif renamed != name:
                    if self.free(name, renamed, item.scope):
                        for use in self.uses_of(name, item.scope):
                            self.rename(use, renamed)
                    else:
                        self.tree.problems.append(f"{self.path}:{statement.lineno}: {renamed} for {name} is not free")
            changed |= parent != statement.module or text != ast.unparse(item.alias)
            groups.setdefault(parent, []).append(text)
        if not changed:
            return
        start, end = self.read.start(statement), self.read.end(statement)
        old = self.source[start:end].decode()
        remarks = [t.string for t in tokenize.generate_tokens(io.StringIO(old).readline) if t.type == tokenize.COMMENT]
        if remarks:
            self.tree.problems.append(f"{self.path}:{statement.lineno}: a comment inside of an import")
        indent = " " * statement.col_offset
        line = self.source[self.source.rfind(b"\n", 0, start) + 1 : start].decode()
        join = "\n" + indent if not line.strip() else "; "
        rest = self.source[end : self.source.find(b"\n", end)].decode()
        pragma = rest if re.match(r"\s*# noqa", rest) and len(groups) > 1 else ""
        self.edit(start, end, (pragma + join).join(f"from {p} import {', '.join(n)}" for p, n in groups.items()))

    def attributes_of_modules(self) -> None:
        """Rename `module.name`, `module` being what an import bound."""
        bound: dict[tuple[int, str], str] = {}
        for item in self.read.imports:
            full = _full(item)
            if full is not None:
                bound[id(item.scope), item.alias.asname or item.alias.name] = full
        for use in self.read.uses:
            if not use.attribute:
                continue
            scope = resolve(use.name, use.scope)
            module = bound.get((id(scope), use.name), "") if scope else ""
            new = self.tree.symbols.get(module, {}).get(use.attribute)
            if new:
                self.rename_attribute(use.attribute, use.attribute_end, use.string, new)

    def definitions(self) -> None:
        """Rename what this module itself defines."""
        own = module_of(self.path)
        for old, new in self.tree.defined.get(own, {}).items():
            if old not in self.read.module.bound:
                if new not in self.read.module.bound:
                    self.tree.left.append(f"{self.path}: defines neither {old} nor {new}")
                continue
            if any((i.alias.asname or i.alias.name) == old and i.scope is self.read.module for i in self.read.imports):
                self.tree.problems.append(f"{self.path}: {old} is imported, not defined")
                continue
            if not self.free(old, new, self.read.module):
                self.tree.problems.append(f"{self.path}: {new} for {old} is not free")
                continue
            for use in self.uses_of(old, self.read.module):
                self.rename(use, new)

    def words(self) -> None:
        """Rename attributes, keywords, parameters and local names of the files that WORDS lists."""
        for old, new, where in WORDS if self.tree.names else ():
            if not map_path(self.path).startswith(where):
                continue
            for name, end, string in self.read.attributes:
                if name == old and (end - len(old.encode()), end) not in self.edits:  # a module's own name has its turn
                    self.rename_attribute(name, end, string, new)
            for name, start, string in self.read.keywords:
                if name == old and string is None:
                    self.edit(start, start + len(old), new)
                elif name == old:
                    self.tree.left.append(f"{self.path}: keyword {old}= inside of an f-string")
            for name, start in self.read.members:
                if name == old:
                    self.edit(start, start + len(old), new)
            scopes = {id(u.scope): u.scope for u in self.read.uses if old in u.scope.bound}
            for scope in scopes.values():
                if scope.kind not in ("function", "comprehension"):
                    continue
                if self.free(old, new, scope):
                    for use in self.uses_of(old, scope):
                        self.rename(use, new)
                else:
                    self.tree.problems.append(f"{self.path}: {new} for {old} is not free; see WORDS")

    def strings(self) -> None:
        """Code inside of strings, names inside of f-strings, and `__all__`."""
        renamed = self.tree.symbols.get(module_of(self.path), {})
        for node in self.read.strings:
            start, end = self.read.start(node), self.read.end(node)
            text = old = self.source[start:end].decode()
            for name, new, attribute in self.in_strings.get(id(node), ()):
                text = _in_fields(text, name, new, attribute)
            if re.search(r"\bfrom (gan_export|tests)[\w.]* import", text):
                text = code_in_text(self.tree, text)
            whole = isinstance(node, ast.Constant) and node.value in renamed and re.fullmatch(r"[\"']\w+[\"']", text)
            if isinstance(node, ast.Constant) and whole and self.path.startswith("gan_export/"):
                # `__all__`, a table of lazy names, a type in quotes
                text = f'"{renamed[str(node.value)]}"'
                self.tree.left.append(f"{self.path}:{node.lineno}: the string {old} becomes {text}")
            if text != old:
                self.edits = {k: v for k, v in self.edits.items() if not start <= k[0] < end}
                self.edit(start, end, text)

    def paths(self) -> None:
        """Rewrite ROOT / "csrc" / "tests" / "x": pieces of a path from the root."""
        inner = {id(d.left) for d in self.read.divisions}
        for division in self.read.divisions:
            if id(division) in inner:
                continue
            parts: list[ast.expr] = []
            at: ast.expr = division
            while isinstance(at, ast.BinOp) and isinstance(at.op, ast.Div):
                parts.insert(0, at.right)
                at = at.left
            pieces: list[ast.Constant] = []
            for part in parts:
                if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
                    break
                pieces.append(part)
            while pieces:
                joined = "/".join(str(p.value) for p in pieces)
                known = joined in self.tree.files or joined in self.tree.folders
                if joined.split("/")[0] in TOP and (known or len(pieces) == 1):
                    break
                pieces.pop()
            if len(pieces) < 2:
                continue
            new = map_path("/".join(str(p.value) for p in pieces))
            text = " / ".join(f'"{p}"' for p in new.split("/"))
            self.edit(self.read.start(pieces[0]), self.read.end(pieces[-1]), text)

    def result(self) -> str:
        self.imports()
        self.attributes_of_modules()
        self.definitions()
        self.words()
        self.paths()
        self.strings()
        out = self.source
        last = len(out) + 1
        for (start, end), text in sorted(self.edits.items(), reverse=True):
            if end > last:
                self.tree.problems.append(f"{self.path}: two edits overlap at byte {start}")
                continue
            out = out[:start] + text + out[end:]
            last = start
        return out.decode()


def _within(scope: Scope, outer: Scope) -> bool:
    at: Scope | None = scope
    while at:
        if at is outer:
            return True
        at = at.parent
    return False


def _full(item: Imported) -> str | None:
    module = item.statement.module
    if item.statement.level or not module or module.split(".")[0] not in ("gan_export", "tests"):
        return None
    return f"{module}.{item.alias.name}"


def _in_fields(text: str, old: str, new: str, attribute: bool) -> str:
    """Rename inside of the {...} of an f-string's source."""
    before = r"(?<=\.)" if attribute else r"(?<![\w.])"
    pattern = re.compile(before + re.escape(old) + r"\b")
    out, i, depth, since = [], 0, 0, 0
    while i < len(text):
        if depth == 0 and text[i : i + 2] in ("{{", "}}"):
            out.append(text[i : i + 2])
            i += 2
            continue
        if text[i] == "{":
            if depth == 0:
                out.append("{")
                since = i + 1
            depth += 1
        elif text[i] == "}" and depth:
            depth -= 1
            if depth == 0:
                out.append(pattern.sub(new, text[since:i]) + "}")
        elif depth == 0:
            out.append(text[i])
        i += 1
    return "".join(out)


def code_in_text(tree: Tree, text: str) -> str:
    """Rewrite Python imports, and what they bind, in text that is no Python file: strings, pages, shell scripts."""

    def one(found: re.Match[str]) -> str:
        module, names = found[1], found[2].split(", ")
        groups: dict[str, list[str]] = {}
        for name in names:
            real, _, asname = name.partition(" as ")
            full = f"{module}.{real}"
            bound = asname or real
            if asname and tables.UNALIAS.get(full) == asname:
                asname = ""
            if full in tree.modules and not (
                tree.modules[full].startswith(full + ".") and full in tree.news - set(tree.modules)
            ):
                parent, _, leaf = tree.modules[full].rpartition(".")
                if not asname and leaf != bound:
                    taken = re.search(rf"(?<![\w.]){leaf}\b(?![.]\w)", text.replace(found[0], ""))
                    chosen = tables.ALIASES[tree.modules[full]] if taken else leaf
                    bindings.append((bound, chosen))
                    asname = chosen if taken else ""
                groups.setdefault(parent, []).append(leaf + (f" as {asname}" if asname else ""))
            elif full in tree.news and not tree.is_old(module):
                groups.setdefault(module, []).append(name)
            else:
                new = tree.symbols.get(module, {}).get(real, real)
                groups.setdefault(tree.map_module(module), []).append(new + (f" as {asname}" if asname else ""))
                if new != real and not asname:
                    symbols.append((real, new))
            if full in tree.symbols:
                members.extend((bound, a, b) for a, b in tree.symbols[full].items())
        first, *rest = [f"from {p} import {', '.join(n)}" for p, n in groups.items()]
        return "; ".join([first, *rest])

    bindings: list[tuple[str, str]] = []
    symbols: list[tuple[str, str]] = []
    members: list[tuple[str, str, str]] = []
    out = re.sub(r"\bfrom ((?:gan_export|tests)[\w.]*) import (\*|\w+(?: as \w+)?(?:, \w+(?: as \w+)?)*)", one, text)
    for bound, old, new in members:
        out = re.sub(rf"(?<![\w.]){bound}\.{old}\b", f"{bound}.{new}", out)
    for old, new in bindings:
        out = re.sub(rf"(?<![\w./]){old}(?=\.\w)(?!\.(py|md|toml))", new, out)
    for old, new in symbols:
        out = re.sub(rf"(?<![\w.]){old}\b", new, out)
    return out


# --- text ------------------------------------------------------------------------------------------

DOTTED = re.compile(r"(?<![\w./])(gan_export|tests)((?:\.[A-Za-z_]\w*)+)(?!\w|\.\w| import\b)")
PATH = re.compile(r"(?<![\w$])((?:\.\.?/)*(?:[\w.-]+/)+(?:[\w.*-]*\w/?)?)")
TOKEN = re.compile(r"(?<![\w$])((?:\.\.?/)*(?:[\w.-]+/)*[\w.*-]*\w/?)")
NAMES = {posixpath.basename(o): posixpath.basename(n) for o, n in tables.BESIDE.items() if o.startswith("docs/")}


def dotted_names(tree: Tree, text: str) -> str:
    def one(found: re.Match[str]) -> str:
        old = found[0]
        if old.endswith((".py", ".md")):
            return old
        new = tree.map_module(old)
        parts = old.split(".")
        for n in range(len(parts) - 1, 0, -1):
            renamed = tree.symbols.get(".".join(parts[:n]), {}).get(parts[n])
            if renamed:
                tail = parts[n + 1 :]
                head = tree.map_module(".".join(parts[:n]))
                return ".".join([head, renamed, *tail])
        return new

    return DOTTED.sub(one, text)


def path_names(tree: Tree, path: str, text: str) -> str:
    """Rewrite paths from the root, paths from the file's own folder, and names of pages."""
    here, there = posixpath.dirname(path), posixpath.dirname(map_path(path))
    base = BASES.get(path, here)
    own_rules = path.endswith((".md", "CMakeLists.txt")) or path in BASES

    def one(found: re.Match[str]) -> str:
        token = found[1]
        before = text[max(0, found.start() - 14) : found.start()]
        if before.endswith(("://", "torch/")) or "://" in before.split(" ")[-1]:
            return token
        if token.startswith("../"):
            target = posixpath.normpath(posixpath.join(here, token))
            if target.startswith("..") or not (target in tree.files or target in tree.folders):
                return token
            new = map_path(target)
            if before.endswith("-I") and new == "engine":
                new = "engine/include"
            return posixpath.relpath(new, there) + ("/" if token.endswith("/") else "")
        if own_rules and token not in (".", "..") and "/" + token not in before:
            target = posixpath.normpath(posixpath.join(base, token))
            if target in tree.files:
                if path.endswith(".md") and not (before.endswith("](") or "/" in token):
                    return NAMES.get(token, token)
                new_base = map_path(base) if path in BASES else there
                if base == "csrc":
                    new_base = "engine"
                return posixpath.relpath(map_path(target), new_base)
        within = f"gan_export/{token}"  # a page or a test may leave out the package
        if "/" in token and token.endswith(".py") and within in tree.files and token not in tree.files:
            return map_path(within).removeprefix("gan_export/")
        if "/" in token and token.split("/")[0] in TOP:
            return map_path(token)
        return token

    text = (TOKEN if own_rules else PATH).sub(one, text)
    for old, new in NAMES.items():
        if old in text:
            text = re.sub(rf"(?<![\w./-]){re.escape(old)}\b", new, text)
    if "csrc" not in text:
        return text
    return re.sub(r"(?<![\w/-])csrc\b(?!/api)|(?<=[}/]/)csrc\b|(?<=[ (}]/)csrc\b|(?<=build/)csrc\b", "engine", text)


# Scripts that change to a folder first: what they name lies there.
BASES = {
    "csrc/CMakeLists.txt": "csrc",
    "csrc/wasm/build.sh": "csrc",
    "csrc/tests/fuzz/run.sh": "csrc",
}


TICKED = re.compile(r"`((?:\w+/)*\w+(?:\.\w+)*/?)(\([^`\n]*\))?`")


def ticked_names(tree: Tree, path: str, text: str) -> str:
    """Rewrite what prose names between backticks without the package: `module.name`, `room/module`, `room/`."""
    own = posixpath.dirname(path)

    def one(found: re.Match[str]) -> str:
        name, call = found[1], found[2] or ""
        if "/" in name:
            within = f"gan_export/{name}".rstrip("/")
            old = f"{within}.py" if f"{within}.py" in tree.files and not name.endswith("/") else within
            if (old not in tree.files and old not in tree.folders) or name.rstrip("/") in tree.folders:
                return found[0]
            new = map_path(old).removesuffix(".py").removeprefix("gan_export/") + ("/" if name.endswith("/") else "")
            return f"`{new}{call}`" if map_path(old) != old else found[0]
        parts = name.split(".")
        if len(parts) > 1 and f"gan_export/{name.replace('.', '/')}.py" in tree.files:
            return f"`{tree.map_module(f'gan_export.{name}').removeprefix('gan_export.')}{call}`"
        for n in range(len(parts) - 1, 0, -1):
            inner = ".".join(parts[:n])
            for base in (own.replace("/", "."), "gan_export"):
                old = f"{base}.{inner}"
                if parts[n] not in tree.tops.get(old, ()):
                    continue
                new = tree.modules.get(old, old)
                short = new.rpartition(".")[2] if base != "gan_export" else new.removeprefix("gan_export.")
                renamed = tree.symbols.get(old, {}).get(parts[n], parts[n])
                return f"`{'.'.join([short, renamed, *parts[n + 1 :]])}{call}`"
        return found[0]

    return TICKED.sub(one, text)


def top_names(source: str) -> set[str]:
    """What a module defines at its top."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def depth(path: str) -> int:
    return path.count("/")


def root_of_file(tree: Tree, path: str, text: str) -> str:
    """`Path(__file__).parents[n]` in a file that lies deeper or higher than before."""
    more = depth(map_path(path)) - depth(path)
    if not more:
        return text
    text, n = re.subn(
        r"(\(__file__\)(?:\.resolve\(\))?\.parents\[)(\d+)(\])", lambda m: f"{m[1]}{int(m[2]) + more}{m[3]}", text
    )
    if len(re.findall(r"\(__file__\)", text)) > n:
        tree.left.append(f"{path}: lies {more:+d} deeper than before and uses __file__ otherwise than by parents[n]")
    return text


WIDTH = 120


def fill(text: str) -> str:
    """Break the lines that renaming made too long: in comments and docstrings at a word, in code after a comma."""
    out: list[str] = []
    rows = text.split("\n")
    for i, row in enumerate(rows):
        line = row
        if len(line) > WIDTH and _in_docstring(rows, i) and "  # " in line:  # an example with a remark
            line = re.sub(r"  +# ", "  # ", line)
        while len(line) > WIDTH and not re.search("# (noqa|type: ignore)", line):
            lead = re.match(r"\s*(?:#|//|\*| \*)?\s*", line)
            assert lead
            prose = "#" in lead[0] or _in_docstring(rows, i)
            cut = line.rfind(" " if prose else ", ", 0, WIDTH) + (0 if prose else 1)
            if cut <= len(lead[0]):
                break
            out.append(line[:cut].rstrip())
            line = lead[0] + line[cut:].lstrip()
            follows = rows[i + 1] if i + 1 < len(rows) else ""
            mine = re.match(r"\s*(?:#\s*)?", follows)
            if prose and mine and mine[0] == lead[0] and follows.strip() not in ("", '"""') and len(line) <= WIDTH:
                rows[i + 1] = f"{line} {follows[len(lead[0]) :]}"
                line = ""
                break
        if line or not row:
            out.append(line)
    return "\n".join(out)


def _in_docstring(rows: list[str], i: int) -> bool:
    return sum(row.count('"""') for row in rows[:i]) % 2 == 1 or rows[i].lstrip().startswith('"""')


# --- the whole tree --------------------------------------------------------------------------------


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


def is_text(path: str) -> bool:
    name = posixpath.basename(path)
    return (posixpath.splitext(name)[1] in TEXT or name in TEXT_NAMES) and not path.startswith(FROZEN)


def edited(tree: Tree, path: str, text: str, missing: dict[tuple[str, str], bool]) -> str:
    for where, old, new in OPTIONAL:
        if path in (where, map_path(where)) and not (old in new and new in text):
            text = text.replace(old, new)
    for where, pattern, new in BLOCKS:
        if path in (where, map_path(where)):
            text = re.sub(pattern, lambda _, new=new: new, text, count=1, flags=re.DOTALL)  # type: ignore[misc]
    for where, old, new in EDITS:
        if path not in (where, map_path(where)):
            continue
        missing[where, old] = False
        if old in new and new in text:
            continue
        if old in text:
            text = text.replace(old, new)
        elif new not in text and not any(t in text for t in INSTEAD.get(where, ())):
            tree.problems.append(f"{path}: holds neither {old[:70]!r} nor {new[:70]!r}; see EDITS")
    return text


def rewritten(tree: Tree, path: str, text: str, missing: dict[tuple[str, str], bool]) -> str:
    text = edited(tree, path, text, missing)
    for pattern, new in tables.PATTERNS:
        text = re.sub(pattern, new, text)
    if path.endswith(".py"):
        try:
            text = PythonFile(tree, path, text).result()
        except (SyntaxError, AssertionError) as e:
            tree.problems.append(f"{path}: not read: {e!r}")
            return text
        text = root_of_file(tree, path, text)
    elif path.endswith(".ipynb"):
        text = notebook(tree, text)
    elif path.endswith(".md"):
        text = page(tree, text)
    elif path.endswith((".sh", ".toml")) or posixpath.basename(path) == "Makefile":
        text = code_in_text(tree, text)
    text = dotted_names(tree, text)
    if path.endswith((".md", ".py")):
        text = ticked_names(tree, path, text)
    return path_names(tree, path, text)


def page(tree: Tree, text: str) -> str:
    """Rewrite the code of a page: its blocks, and what stands between backticks by the blocks' imports."""
    renamed: dict[str, str] = {}

    def block(found: re.Match[str]) -> str:
        for module, names in re.findall(r"\bfrom (gan_export[\w.]*) import ([\w, ]+)", found[0]):
            renamed.update({n: new for n in names.split(", ") if (new := tree.symbols.get(module, {}).get(n))})
        return code_in_text(tree, found[0])

    text = re.sub(r"```.*?```", block, text, flags=re.DOTALL)
    for old, new in renamed.items():
        text = re.sub(rf"`{old}\b", f"`{new}", text)
    return text


def notebook(tree: Tree, text: str) -> str:
    data = json.loads(text)
    cells = [c for c in data["cells"] if c["cell_type"] == "code"]
    whole = "\0".join("".join(c["source"]) for c in cells)
    for cell, source in zip(cells, code_in_text(tree, whole).split("\0"), strict=True):
        cell["source"] = source.splitlines(keepends=True)
    out = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    return (
        out
        if json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n" == text
        else json.dumps(data, ensure_ascii=False)
    )


def re_exports(tree: Tree, texts: dict[str, str]) -> None:
    """What a module imports at its top under its own name is renamed for those who import it from there."""
    imports: list[tuple[dict[str, str], str, str]] = []  # (renamed in the importing module, module, name)
    for path, text in texts.items():
        if not path.endswith(".py") or not path.startswith(("gan_export/", "tests/")):
            continue
        top = ast.parse(text).body
        own = tree.symbols.setdefault(module_of(path), {})
        for node in [*top, *(inner for part in top if isinstance(part, ast.If) for inner in part.body)]:
            if isinstance(node, ast.ImportFrom) and node.module:
                imports += [(own, node.module, a.name) for a in node.names if not a.asname]
    again = True
    while again:
        again = False
        for own, module, name in imports:
            new = tree.symbols.get(module, {}).get(name)
            if new and name not in own:
                own[name] = new
                again = True


def plan(root: Path, names: bool = False) -> tuple[Tree, dict[str, str], dict[str, str]]:
    """The moves, and the texts that change, by their old paths."""
    files = [f for f in git(root, "ls-files", "-co", "--exclude-standard").splitlines() if (root / f).is_file()]
    tree = Tree(root, dict.fromkeys(sorted(files)), names=names)
    texts: dict[str, str] = {}
    for path in tree.files:
        if is_text(path):
            with contextlib.suppress(UnicodeDecodeError):
                texts[path] = (root / path).read_text(encoding="utf-8")
    for path, text in texts.items():
        if path.startswith("gan_export/") and path.endswith(".py"):
            tree.tops[module_of(path)] = top_names(text)
    re_exports(tree, texts)
    missing = {(where, old): True for where, old, _ in EDITS}
    changed: dict[str, str] = {}
    for path, text in texts.items():
        new = rewritten(tree, path, text, missing)
        if new != text:
            changed[path] = new
    tree.problems += [f"{where}: is not there; see EDITS" for (where, _), gone in missing.items() if gone]
    moves = {path: map_path(path) for path in tree.files if map_path(path) != path and not path.startswith("tools/")}
    for path in tree.files:
        folder, _, name = map_path(path).rpartition("/")
        if folder == "gan_export" and name not in PUBLIC:
            tree.problems.append(f"{path}: has no room; see PACKAGE in house_tables.py")
    for old, new in moves.items():
        if (root / new).is_file() and new not in moves:
            tree.problems.append(f"{old}: {new} is there already")
    return tree, moves, changed


def carry_out(root: Path, moves: dict[str, str], changed: dict[str, str]) -> None:
    for path, text in changed.items():
        (root / path).write_text(text, encoding="utf-8")
    aside = {old: f"{new}.moving" for old, new in moves.items()}  # a module may become a folder of its name
    for old, new in aside.items():
        (root / new).parent.parent.mkdir(parents=True, exist_ok=True)
        if (root / new).parent.is_file():
            raise SystemExit(f"{new}: its folder is a file")
        (root / new).parent.mkdir(exist_ok=True)
        os.replace(root / old, root / new)
    for new in moves.values():
        os.replace(root / f"{new}.moving", root / new)
    for path, text in tables.NEW_FILES.items():
        target = root / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    for folder in sorted({posixpath.dirname(p) for p in moves}, key=len, reverse=True):
        at = folder
        while at:
            shutil.rmtree(root / at / "__pycache__", ignore_errors=True)
            with contextlib.suppress(OSError):
                (root / at).rmdir()
            at = posixpath.dirname(at)
    git(root, "add", "-A", "--", *sorted({p.split("/")[0] for p in [*moves.values(), *changed]}))
    git(root, "add", "-u")


def tidy(root: Path, touched: list[str]) -> None:
    ruff = next((str(r) for r in (root / ".venv/bin/ruff",) if r.exists()), None) or shutil.which("ruff")
    if not ruff:
        print("ruff is not here: run `ruff check --select I,RUF022 --fix . && ruff format .`")
        return
    subprocess.run([ruff, "check", "--quiet", "--select", "I,RUF022", "--fix", "."], cwd=root, check=False)
    subprocess.run([ruff, "format", "--quiet", "."], cwd=root, check=False)
    for path in touched:
        if path.endswith(".py"):
            text = (root / path).read_text(encoding="utf-8")
            if (filled := fill(text)) != text:
                (root / path).write_text(filled, encoding="utf-8")
    git(root, "add", "-u")


def lines(items: list[str]) -> Iterator[str]:
    yield from dict.fromkeys(items)


def main() -> int:
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    root = Path(words[0] if words else ".").resolve()
    tree, moves, changed = plan(root, "--names" in sys.argv)
    if "--left" in sys.argv:
        print(*lines(tree.left), sep="\n")
    if tree.problems:
        print(*lines(tree.problems), sep="\n", file=sys.stderr)
        return 1
    print(f"{len(moves)} files move, {len(changed)} change")
    if "--check" not in sys.argv:
        carry_out(root, moves, changed)
        tidy(root, [moves.get(path, path) for path in changed])
    return 0


if __name__ == "__main__":
    sys.exit(main())
