"""A pickle read as data: a small machine for the pickle protocols 0 to 5 that imports and calls nothing.

Python's own Unpickler imports what a file names.  This one pushes a `Name`; applying a `Name` gives a value of
ours if it is one of the short list of tensor builders (`builders.build`), and an inert `Record` otherwise.
Time and memory are linear in the pickle's length, which is bounded: each operation reads at least a byte, no value
is copied, compared or hashed deeply, and no step recurses.
"""

from __future__ import annotations

import codecs
import gc
import re
import struct
from collections.abc import Callable

from gan_export.checkpoint.builders import build, is_known, set_state
from gan_export.checkpoint.names import check_name
from gan_export.checkpoint.values import Name, Record
from gan_export.errors import GanExportError

MAX_OPERATIONS = 2_000_000  # a state dict of 10,000 keys takes about 300,000; a few seconds
MAX_INTEGER_BYTES = 1024
MAX_ARGUMENTS = 16  # of a builder
MAX_LINE = 64 * 8**5  # 2 MiB


class PickleDamage(Exception):
    """Not a pickle, or a damaged one: why."""


class _Mark:
    """Where MARK was pushed."""


_MARK = _Mark()
_EMBEDDED = Name("torch.storage", "_load_from_bytes")


class Machine:
    """Runs one pickle at `position` of `data`; `position` is then just behind it.

    names: gathers every name met that is no builder, as "module.name".
    persistent: what a persistent id stands for.  embedded: what a PyTorch file within the pickle stands for.
    """

    def __init__(
        self,
        data: memoryview,
        position: int,
        persistent: Callable[[object], object],
        names: set[str],
        embedded: Callable[[bytes], object] | None = None,
    ) -> None:
        self.data = data
        self.position = position
        self.names = names
        self.persistent = persistent
        self._embedded = embedded
        self._copied = 0
        self._found: dict[tuple[str, str], Name] = {}
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The value.  Raises PickleDamage, HostileFileError, or what the builders raise."""
        table, data = _OPERATIONS, self.data
        collecting = gc.isenabled()
        gc.disable()  # a large pickle makes millions of objects and no garbage to speak of
        try:
            for _ in range(MAX_OPERATIONS):
                code = data[self.position]
                self.position += 1
                if code == 0x2E:  # STOP
                    value = self._pop()
                    if self._stack:
                        raise PickleDamage("values are left over at the pickle's end")
                    return value
                operation = table[code]
                if operation is None:
                    raise PickleDamage(f"no pickle operation {code:#04x}")
                operation(self)
        except (IndexError, struct.error):
            raise PickleDamage(f"it ends or runs empty at byte {self.position:,}") from None
        except (KeyError, ValueError, TypeError, OverflowError) as e:
            raise PickleDamage(f"{type(e).__name__} at byte {self.position:,}") from None
        finally:
            if collecting:
                gc.enable()
        raise GanExportError(
            f"a pickle of more than {MAX_OPERATIONS:,} operations; save the generator's state_dict alone"
        )

    # -- reading

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise PickleDamage(f"it claims {count:,} bytes at byte {self.position:,} and is cut off")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        value: int = struct.unpack(form, self.take(size))[0]
        return value

    def line(self) -> bytes:
        size = 64
        while size <= MAX_LINE:  # growing windows: a line costs a few times its length, never the rest of the file
            window = bytes(self.data[self.position : self.position + size])
            end = window.find(b"\n")
            if end >= 0:
                self.position += end + 1
                return window[:end]
            size *= 8
        raise PickleDamage(f"a line without an end at byte {self.position:,}")

    # -- the stack

    def push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleDamage(f"a mark where a value is wanted, at byte {self.position:,}")
        return value

    def _top(self) -> object:
        value = self._stack[-1]
        if value is _MARK:
            raise PickleDamage(f"a mark where a value is wanted, at byte {self.position:,}")
        return value

    def _to_mark(self) -> list[object]:
        stack = self._stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is _MARK:
                values = stack[i + 1 :]
                del stack[i:]
                return values
        raise PickleDamage(f"no mark on the stack at byte {self.position:,}")

    # -- what operations do

    def find(self, module: str, qualname: str) -> Name:
        name = self._found.get((module, qualname))
        if name is None:
            name = self._found[module, qualname] = Name(module, qualname)
            check_name(name)
            if not is_known(name):
                self.names.add(str(name))
        return name

    def apply(self, function: object, args: object) -> object:
        """What a call would give, without the call."""
        if not isinstance(function, Name):
            function = function.name if isinstance(function, Record) else Name("?", type(function).__name__)
        if not isinstance(args, tuple) or len(args) > MAX_ARGUMENTS or not is_known(function):
            return Record(function, args)
        if function == _EMBEDDED and self._embedded and len(args) == 1 and isinstance(args[0], bytes):
            return self._embedded(args[0])
        # A builder copies its arguments, and a memo can name a long one any number of times.
        self._copied += sum(len(a) for a in args if isinstance(a, (str, bytes, list, tuple, dict)))
        if self._copied > len(self.data) + MAX_OPERATIONS:
            raise GanExportError("a pickle that copies itself without end: forged")
        return build(function, args)

    def set_items(self, flat: list[object]) -> None:
        target = self._top()
        items = target.own_items() if isinstance(target, Record) else target
        if not isinstance(items, dict) or len(flat) % 2:
            raise PickleDamage(f"items set on no dict, at byte {self.position:,}")
        for i in range(0, len(flat), 2):
            items[_hashable(flat[i])] = flat[i + 1]

    def append(self, values: list[object]) -> None:
        target = self._top()
        elements = target.own_elements() if isinstance(target, Record) else target
        if not isinstance(elements, list):
            raise PickleDamage(f"values appended to no list, at byte {self.position:,}")
        elements.extend(values)


def _hashable(key: object) -> object:
    """A dict key that hashes in constant time and without crafted collisions; others by identity, in a Record."""
    if isinstance(key, (str, bytes, bool, float, Name)) or key is None or (type(key) is int and -(2**59) < key < 2**59):
        return key
    return Record(Name("?", "key"), key)


def _text(raw: memoryview | bytes) -> str:
    return str(raw, "utf-8", "surrogatepass")


def _latin(raw: memoryview | bytes) -> str:
    return str(raw, "latin-1")  # Python 2's str, byte for byte


def _long(m: Machine, size: int) -> None:
    if not 0 <= size <= MAX_INTEGER_BYTES:
        raise PickleDamage(f"an integer of {size:,} bytes")
    m.push(int.from_bytes(m.take(size), "little", signed=True))


def _int_line(m: Machine) -> None:
    raw = m.line()
    m.push(raw == b"01" if raw in (b"00", b"01") else _decimal(raw))


def _decimal(raw: bytes) -> int:
    if len(raw) > MAX_INTEGER_BYTES:
        raise PickleDamage(f"an integer of {len(raw):,} digits")
    return int(raw.rstrip(b"L"))


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit():
        return bytes([int(code, 8) & 255])
    return _ESCAPES.get(code, code)


def _string_line(m: Machine) -> None:
    raw = m.line()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise PickleDamage("a string without its quotes")
    m.push(_latin(_ESCAPE.sub(_unescaped, raw[1:-1])))


def _tuple(m: Machine, count: int) -> None:
    stack = m._stack
    values = tuple(stack[-count:])
    if len(values) < count or _MARK in values:
        raise PickleDamage(f"too few values for a tuple, at byte {m.position:,}")
    del stack[-count:]
    stack.append(values)


def _dict(m: Machine) -> None:
    flat = m._to_mark()
    m.push({})
    m.set_items(flat)


def _reduce(m: Machine) -> None:
    args = m._pop()
    m.push(m.apply(m._pop(), args))


def _newobj_ex(m: Machine) -> None:
    kwargs, args = m._pop(), m._pop()
    value = m.apply(m._pop(), args)
    if isinstance(value, Record) and kwargs:
        value.args = (args, kwargs)
    m.push(value)


def _stack_global(m: Machine) -> None:
    qualname, module = m._pop(), m._pop()
    if not isinstance(qualname, str) or not isinstance(module, str):
        raise PickleDamage("a name that is no text")
    m.push(m.find(module, qualname))


def _global(m: Machine) -> None:
    module = _text(m.line())
    m.push(m.find(module, _text(m.line())))


def _inst(m: Machine) -> None:
    module = _text(m.line())
    name = m.find(module, _text(m.line()))
    m.push(m.apply(name, tuple(m._to_mark())))


def _obj(m: Machine) -> None:
    function, *args = m._to_mark()
    m.push(m.apply(function, tuple(args)))


def _build(m: Machine) -> None:
    state = m._pop()
    set_state(m._top(), state)


def _get(m: Machine, index: int) -> None:
    m.push(m._memo[index])


def _put(m: Machine, index: int) -> None:
    m._memo[index] = m._top()


def _refuse_extension(m: Machine) -> None:
    raise GanExportError("a pickle with extension codes, which no checkpoint has; save the state_dict with torch.save")


def _refuse_buffers(m: Machine) -> None:
    raise GanExportError("a pickle whose buffers lie outside it; save the state_dict with torch.save")


def _proto(m: Machine) -> None:
    version = m.number("<B")
    if version > 5:
        raise PickleDamage(f"pickle protocol {version}")


def _pop_any(m: Machine) -> None:
    m._stack.pop()


_Operation = Callable[[Machine], object]
_OPERATIONS: list[_Operation | None] = [None] * 256
for _code, _operation in (
    (b"(", lambda m: m.push(_MARK)),
    (b"0", _pop_any),
    (b"1", lambda m: m._to_mark()),
    (b"2", lambda m: m.push(m._top())),
    (b"F", lambda m: m.push(float(m.line()[:MAX_INTEGER_BYTES]))),
    (b"I", _int_line),
    (b"J", lambda m: m.push(m.number("<i"))),
    (b"K", lambda m: m.push(m.number("<B"))),
    (b"M", lambda m: m.push(m.number("<H"))),
    (b"L", lambda m: m.push(_decimal(m.line()))),
    (b"N", lambda m: m.push(None)),
    (b"P", lambda m: m.push(m.persistent(_text(m.line())))),
    (b"Q", lambda m: m.push(m.persistent(m._pop()))),
    (b"R", _reduce),
    (b"S", _string_line),
    (b"T", lambda m: m.push(_latin(m.take(m.number("<i"))))),
    (b"U", lambda m: m.push(_latin(m.take(m.number("<B"))))),
    (b"V", lambda m: m.push(codecs.raw_unicode_escape_decode(m.line())[0])),
    (b"X", lambda m: m.push(_text(m.take(m.number("<I"))))),
    (b"a", lambda m: m.append([m._pop()])),
    (b"b", _build),
    (b"c", _global),
    (b"d", _dict),
    (b"}", lambda m: m.push({})),
    (b"e", lambda m: m.append(m._to_mark())),
    (b"g", lambda m: _get(m, _decimal(m.line()))),
    (b"h", lambda m: _get(m, m.number("<B"))),
    (b"j", lambda m: _get(m, m.number("<I"))),
    (b"i", _inst),
    (b"l", lambda m: m.push(m._to_mark())),
    (b"]", lambda m: m.push([])),
    (b"o", _obj),
    (b"p", lambda m: _put(m, _decimal(m.line()))),
    (b"q", lambda m: _put(m, m.number("<B"))),
    (b"r", lambda m: _put(m, m.number("<I"))),
    (b"s", lambda m: m.set_items([m._stack.pop(-2), m._pop()])),
    (b"t", lambda m: m.push(tuple(m._to_mark()))),
    (b")", lambda m: m.push(())),
    (b"u", lambda m: m.set_items(m._to_mark())),
    (b"G", lambda m: m.push(struct.unpack(">d", m.take(8))[0])),
    (b"B", lambda m: m.push(bytes(m.take(m.number("<I"))))),
    (b"C", lambda m: m.push(bytes(m.take(m.number("<B"))))),
    (b"\x80", _proto),
    (b"\x81", _reduce),
    (b"\x82", _refuse_extension),
    (b"\x83", _refuse_extension),
    (b"\x84", _refuse_extension),
    (b"\x85", lambda m: _tuple(m, 1)),
    (b"\x86", lambda m: _tuple(m, 2)),
    (b"\x87", lambda m: _tuple(m, 3)),
    (b"\x88", lambda m: m.push(True)),
    (b"\x89", lambda m: m.push(False)),
    (b"\x8a", lambda m: _long(m, m.number("<B"))),
    (b"\x8b", lambda m: _long(m, m.number("<i"))),
    (b"\x8c", lambda m: m.push(_text(m.take(m.number("<B"))))),
    (b"\x8d", lambda m: m.push(_text(m.take(m.number("<Q"))))),
    (b"\x8e", lambda m: m.push(bytes(m.take(m.number("<Q"))))),
    (b"\x8f", lambda m: m.push(Record(Name("builtins", "set")))),
    (b"\x90", lambda m: m.append(m._to_mark())),
    (b"\x91", lambda m: m.push(Record(Name("builtins", "frozenset"), elements=m._to_mark()))),
    (b"\x92", _newobj_ex),
    (b"\x93", _stack_global),
    (b"\x94", lambda m: _put(m, len(m._memo))),
    (b"\x95", lambda m: m.number("<Q")),
    (b"\x96", lambda m: m.push(bytes(m.take(m.number("<Q"))))),
    (b"\x97", _refuse_buffers),
    (b"\x98", _refuse_buffers),
):
    _OPERATIONS[_code[0]] = _operation
