"""Refuse a `.pt2` from which torch.export.load would run code.

torch.export.load unpickles what a configuration marks as pickled, and opaque constants; it evaluates expressions of
sizes and guards as Python, and imports modules named in the arguments' shape.  Files of gan-export have none of these:
they have raw weights, a graph of operators, and symbols in expressions.  Everything else is refused. Sources:
torch/export/pt2_archive/_package.py, torch/_export/serde/serialize.py and torch/utils/_pytree.py.
"""

from __future__ import annotations

import re
from typing import Any

from gan_export._lib import plaindata
from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers.zip import Archive
from gan_export.errors import GanExportError, HostileFileError, first_line, printable

_WEIGHTS, _CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
_MODEL, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/version|\.data/serialization_id"
    rf"|{re.escape(_WEIGHTS)}|{re.escape(_CONSTANTS)}|{re.escape(_MODEL)}|{re.escape(_SAMPLES)}"
    r"|data/weights/weight_[0-9]+|data/constants/tensor_[0-9]+|extra/gan-export\.manifest"
)
_PAYLOADS = re.compile(r"(?:weight|tensor)_[0-9]+")
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)[a-z0-9_]+\.[A-Za-z0-9_]+"
    r"|_operator\.(?:add|sub|mul|floordiv|mod|neg|pos|eq|ne|ge|gt|le|lt|and_|or_|not_)"
)
_SYMBOL = r"Symbol\('[su][0-9]{1,6}'(?:, (?:integer|positive|nonnegative)=True)*\)"
_RELATIONS = "GreaterThan|LessThan|StrictGreaterThan|StrictLessThan|Equality|Unequality|And|Or|Not"
_EXPRESSIONS = re.compile(
    rf"(?:{_SYMBOL}|(?:{_RELATIONS}|Add|Mul|Max|Min|Mod|FloorDiv|Integer)\(|-?[0-9]{{1,19}}|\)|, )*"
)
_SIZE = r"L\['[a-z_][a-z0-9_]{0,63}'\]\.size\(\)\[[0-9]\]"  # of an input
# Comparisons of sizes and integers, with + - * // %, max, min and parentheses: no other name, no power.
_GUARD = re.compile(rf"(?!.*\*\*)(?:{_SIZE}|[0-9]{{1,19}}|torch\.sym_(?:max|min)\(|//|==|!=|<=|>=|<|>|[-+*%(), ])+")
_LONGEST = 1000  # characters of an expression
_SHAPES = (None, "builtins.tuple", "builtins.list", "builtins.dict")  # allowed containers of arguments
_EMPTY = ("custom_obj_values", "treespec_namedtuple_fields", "metadata")  # empty in all files of gan-export
_NEVER = ("as_custom_obj", "as_operator", "as_graph", "custom_obj")


def check(data: memoryview) -> None:
    """Raise HostileFileError for more than a graph and its weights, GanExportError for a damaged file."""
    archive = Archive(data, Budget(len(data)))
    archive.refuse_tricks()
    roots = {name.partition("/")[0] for name in archive.entries}
    entries = {name.partition("/")[2]: name for name in archive.entries}
    if len(roots) != 1:
        raise _hostile("entries in several folders")
    if odd := next((name for name in entries if not _ENTRIES.fullmatch(name)), None):
        raise _hostile(f"the entry {printable(odd, 60)}")
    if lacking := next((name for name in (_WEIGHTS, _CONSTANTS, _MODEL, _SAMPLES) if name not in entries), None):
        raise GanExportError(f"a .pt2 that lacks {lacking}; export it again")
    if len(archive.bytes_of(entries[_SAMPLES])):
        raise _hostile("pickled arguments")
    for name in (_WEIGHTS, _CONSTANTS):
        _check_payloads(_parsed(archive, entries[name]))
    _check_graph(_parsed(archive, entries[_MODEL]))


def _parsed(archive: Archive, name: str) -> Any:
    try:
        return plaindata.from_json(bytes(archive.checked(name)))
    except ValueError as e:
        raise GanExportError(f"{printable(name, 60)} can't be read: {first_line(e, 100)}; export it again") from None


def _check_payloads(found: Any) -> None:
    config = found.get("config") if isinstance(found, dict) else None
    if not isinstance(config, dict) or not all(isinstance(entry, dict) for entry in config.values()):
        raise GanExportError("a .pt2 without a list of its weights; export it again")
    for entry in config.values():
        if entry.get("use_pickle") is not False:
            raise _hostile("a pickled weight")
        if not _PAYLOADS.fullmatch(str(entry.get("path_name"))):
            raise _hostile(f"weights in {printable(str(entry.get('path_name')), 60)}")


def _check_graph(found: Any) -> None:
    """Check every table in a graph at any depth, which `plaindata` has limited."""
    waiting = [found]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            _check_table(item)
            waiting.extend(item.values())


def _check_table(table: dict[str, Any]) -> None:
    for key in _EMPTY:
        if table.get(key):
            raise _hostile(f"its {key}")
    for guard in table.get("guards_code") or ():
        if not (isinstance(guard, str) and len(guard) <= _LONGEST and _GUARD.fullmatch(guard)):
            raise _hostile(f"the guard {printable(str(guard), 60)}")
    for key in _NEVER:
        if table.get(key) is not None:
            raise _hostile(f"a value {key}")
    for key, allowed in (("target", _OPERATORS), ("expr_str", _EXPRESSIONS)):
        text = table.get(key, "")
        if text and not (isinstance(text, str) and len(text) <= _LONGEST and allowed.fullmatch(text)):
            raise _hostile(printable(str(text), 60))
    for key in ("in_spec", "out_spec"):
        if table.get(key):
            _check_shape(table[key])


def _check_shape(text: Any) -> None:
    """Check the nesting of arguments, JSON in a string: [version, {"type", "context", "children_spec"}]."""
    try:
        waiting = [plaindata.from_json(text)[1]]
        while waiting:
            spec = waiting.pop()
            if spec["type"] not in _SHAPES or str(spec["context"]) not in ("None", "null", "[]"):
                raise _hostile(f"arguments in {printable(str(spec['type']), 60)}")
            waiting.extend(spec["children_spec"])
    except (ValueError, KeyError, TypeError, IndexError):
        raise GanExportError("a .pt2 without a description of its arguments; export it again") from None


def _hostile(what: str) -> HostileFileError:
    return HostileFileError(
        f"{what}: torch.export.load would run it, or might, and gan-export writes nothing of the kind; it is refused"
    )
