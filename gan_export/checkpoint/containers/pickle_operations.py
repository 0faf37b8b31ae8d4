"""Apply each pickle operation to a Machine: one short function per operation, and their table at the end.

Source: CPython's pickletools, read for the operations' meaning.
"""

from __future__ import annotations

import codecs
import re
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gan_export.checkpoint.containers.tensors import GlobalRef, OpaqueObject
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    from gan_export.checkpoint.containers.pickle_vm import PickleInterpreter

MAX_INTEGER_BYTES = 1024
COPIED = 1 << 10  # bytes up to this length are copied out of the file; longer ones remain views of it
_LONG_TEXT = 1 << 10  # bytes from which the size of a text is counted separately


class PickleDamage(Exception):
    """A reason why bytes are not a pickle, or a damaged one."""


class Mark:
    """A place on the stack at which MARK was pushed."""


MARK = Mark()
_SET, _FROZENSET = GlobalRef("builtins", "set"), GlobalRef("builtins", "frozenset")
_u2, _u4, _i4, _u8 = (struct.Struct(f).unpack_from for f in ("<H", "<I", "<i", "<Q"))
_f8 = struct.Struct(">d").unpack_from


# -- numbers


def _push_u1(m: PickleInterpreter) -> None:
    at = m.position
    m.stack.append(m.data[at])
    m.position = at + 1


def _push_u2(m: PickleInterpreter) -> None:
    m.stack.append(_u2(m.data, m.position)[0])
    m.position += 2


def _push_i4(m: PickleInterpreter) -> None:
    m.stack.append(_i4(m.data, m.position)[0])
    m.position += 4


def _push_f8(m: PickleInterpreter) -> None:
    m.stack.append(_f8(m.data, m.position)[0])
    m.position += 8


def _size1(m: PickleInterpreter) -> int:
    at = m.position
    m.position = at + 1
    return m.data[at]


def _size4(m: PickleInterpreter) -> int:
    at = m.position
    m.position = at + 4
    return int(_u4(m.data, at)[0])


def _size8(m: PickleInterpreter) -> int:
    at = m.position
    m.position = at + 8
    return int(_u8(m.data, at)[0])


def _signed4(m: PickleInterpreter) -> int:
    at = m.position
    m.position = at + 4
    return int(_i4(m.data, at)[0])


def _long(m: PickleInterpreter, size: int) -> None:
    if not 0 <= size <= MAX_INTEGER_BYTES:
        raise PickleDamage(f"an integer of {size:,} bytes")
    m.extra += 1
    m.stack.append(int.from_bytes(m.take(size), "little", signed=True))


def _decimal(raw: bytes) -> int:
    if len(raw) > MAX_INTEGER_BYTES:
        raise PickleDamage(f"an integer of {len(raw):,} digits")
    return int(raw.rstrip(b"L"))


def _int_line(m: PickleInterpreter) -> None:
    raw = m.line()
    m.stack.append(raw == b"01" if raw in (b"00", b"01") else _decimal(raw))


# -- text and bytes


def _text(raw: memoryview | bytes) -> str:
    return str(raw, "utf-8", "surrogatepass")


def _push_text(m: PickleInterpreter, text: str) -> None:
    m.extra += 1
    if len(text) > _LONG_TEXT:
        m.budget.hold(sys.getsizeof(text))  # up to four bytes per character, which may be more than in the file
    m.stack.append(text)


def _unicode(m: PickleInterpreter, size: int) -> None:
    _push_text(m, str(m.take(size), "utf-8", "surrogatepass"))


def _latin(m: PickleInterpreter, size: int) -> None:
    _push_text(m, str(m.take(size), "latin-1"))  # Python 2's str, byte for byte


def _bytes(m: PickleInterpreter, size: int) -> None:
    m.extra += 1
    raw = m.take(size)
    m.stack.append(raw if size > COPIED else bytes(raw))


_ODD_ESCAPE = re.compile(rb"\\[^xnrt\\'\"]")  # escapes that repr() doesn't write
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit():
        return bytes([int(code, 8) & 255])
    return _ESCAPES.get(code, code)


def _string_line(m: PickleInterpreter) -> None:
    raw = m.line()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise PickleDamage("a string without its quotes")
    inner = raw[1:-1]
    if _ODD_ESCAPE.search(inner):
        m.budget.spend(4 * inner.count(b"\\"))
        inner = _ESCAPE.sub(_unescaped, inner)
    else:
        inner = codecs.escape_decode(inner)[0]
    _push_text(m, str(inner, "latin-1"))


def _unicode_line(m: PickleInterpreter) -> None:
    _push_text(m, codecs.raw_unicode_escape_decode(m.line())[0])


# -- the stack and the memo


def _pop_any(m: PickleInterpreter) -> None:
    m.stack.pop()


def _get(m: PickleInterpreter, index: int) -> None:
    m.stack.append(m.memo[index])


def _get1(m: PickleInterpreter) -> None:
    at = m.position
    m.stack.append(m.memo[m.data[at]])
    m.position = at + 1


def _put(m: PickleInterpreter, index: int) -> None:
    m.memo[index] = m.top()


def _memoise(m: PickleInterpreter) -> None:
    m.memo[len(m.memo)] = m.top()


# -- containers


def _tuple(m: PickleInterpreter, count: int) -> None:
    stack = m.stack
    values = tuple(stack[-count:])
    if len(values) < count or any(v is MARK for v in values):
        raise PickleDamage(f"too few values for a tuple, at byte {m.position:,}")
    del stack[-count:]
    stack.append(values)


def _tuple1(m: PickleInterpreter) -> None:
    m.stack[-1] = (m.top(),)


def _dict(m: PickleInterpreter) -> None:
    flat = m.to_mark()
    m.stack.append({})
    m.set_items(flat)


def _set_item(m: PickleInterpreter) -> None:
    value = m.pop()
    m.extra += 1
    m.set_items([m.pop(), value])


def _empty_set(m: PickleInterpreter) -> None:
    m.extra += 1
    m.stack.append(OpaqueObject(_SET))


def _frozenset(m: PickleInterpreter) -> None:
    m.extra += 1
    m.stack.append(OpaqueObject(_FROZENSET, elements=m.to_mark()))


# -- names and calls


def _stack_global(m: PickleInterpreter) -> None:
    qualname, module = m.pop(), m.pop()
    if not isinstance(qualname, str) or not isinstance(module, str):
        raise PickleDamage("a name that is not text")
    m.stack.append(m.find(module, qualname))


def _global(m: PickleInterpreter) -> None:
    module = _text(m.line())
    m.stack.append(m.find(module, _text(m.line())))


def _reduce(m: PickleInterpreter) -> None:
    args = m.pop()
    m.stack.append(m.apply(m.pop(), args))


def _newobj_ex(m: PickleInterpreter) -> None:
    kwargs, args = m.pop(), m.pop()
    value = m.apply(m.pop(), args)
    if isinstance(value, OpaqueObject) and kwargs:
        value.args = (args, kwargs)
    m.stack.append(value)


def _inst(m: PickleInterpreter) -> None:
    module = _text(m.line())
    name = m.find(module, _text(m.line()))
    m.stack.append(m.apply(name, tuple(m.to_mark())))


def _obj(m: PickleInterpreter) -> None:
    function, *args = m.to_mark()
    m.stack.append(m.apply(function, tuple(args)))


def _persistent(m: PickleInterpreter, identity: object) -> None:
    m.extra += 4
    m.stack.append(m.persistent(identity))


def _refuse_extension(m: PickleInterpreter) -> None:
    raise GanExportError("a pickle with extension codes, which no checkpoint has; save the state_dict with torch.save")


def _refuse_buffers(m: PickleInterpreter) -> None:
    raise GanExportError("a pickle whose buffers are outside of it; save the state_dict with torch.save")


def _proto(m: PickleInterpreter) -> None:
    version = _size1(m)
    if version > 5:
        raise PickleDamage(f"pickle protocol {version}")


Operation = Callable[["PickleInterpreter"], object]
OPERATIONS: list[Operation | None] = [None] * 256
for _code, _operation in (
    (b"(", lambda m: m.stack.append(MARK)),
    (b"0", _pop_any),
    (b"1", lambda m: m.to_mark()),
    (b"2", lambda m: m.stack.append(m.top())),
    (b"F", lambda m: m.stack.append(float(m.line()[:MAX_INTEGER_BYTES]))),
    (b"I", _int_line),
    (b"J", _push_i4),
    (b"K", _push_u1),
    (b"M", _push_u2),
    (b"L", lambda m: m.stack.append(_decimal(m.line()))),
    (b"N", lambda m: m.stack.append(None)),
    (b"P", lambda m: _persistent(m, _text(m.line()))),
    (b"Q", lambda m: _persistent(m, m.pop())),
    (b"R", _reduce),
    (b"S", _string_line),
    (b"T", lambda m: _latin(m, _signed4(m))),
    (b"U", lambda m: _latin(m, _size1(m))),
    (b"V", _unicode_line),
    (b"X", lambda m: _unicode(m, _size4(m))),
    (b"a", lambda m: m.append([m.pop()])),
    (b"b", lambda m: m.set_state(m.pop())),
    (b"c", _global),
    (b"d", _dict),
    (b"}", lambda m: m.stack.append({})),
    (b"e", lambda m: m.append(m.to_mark())),
    (b"g", lambda m: _get(m, _decimal(m.line()))),
    (b"h", _get1),
    (b"j", lambda m: _get(m, _size4(m))),
    (b"i", _inst),
    (b"l", lambda m: m.stack.append(m.to_mark())),
    (b"]", lambda m: m.stack.append([])),
    (b"o", _obj),
    (b"p", lambda m: _put(m, _decimal(m.line()))),
    (b"q", lambda m: _put(m, _size1(m))),
    (b"r", lambda m: _put(m, _size4(m))),
    (b"s", _set_item),
    (b"t", lambda m: m.stack.append(tuple(m.to_mark()))),
    (b")", lambda m: m.stack.append(())),
    (b"u", lambda m: m.set_items(m.to_mark())),
    (b"G", _push_f8),
    (b"B", lambda m: _bytes(m, _size4(m))),
    (b"C", lambda m: _bytes(m, _size1(m))),
    (b"\x80", _proto),
    (b"\x81", _reduce),
    (b"\x82", _refuse_extension),
    (b"\x83", _refuse_extension),
    (b"\x84", _refuse_extension),
    (b"\x85", _tuple1),
    (b"\x86", lambda m: _tuple(m, 2)),
    (b"\x87", lambda m: _tuple(m, 3)),
    (b"\x88", lambda m: m.stack.append(True)),
    (b"\x89", lambda m: m.stack.append(False)),
    (b"\x8a", lambda m: _long(m, _size1(m))),
    (b"\x8b", lambda m: _long(m, _signed4(m))),
    (b"\x8c", lambda m: _unicode(m, _size1(m))),
    (b"\x8d", lambda m: _unicode(m, _size8(m))),
    (b"\x8e", lambda m: _bytes(m, _size8(m))),
    (b"\x8f", _empty_set),
    (b"\x90", lambda m: m.append(m.to_mark())),
    (b"\x91", _frozenset),
    (b"\x92", _newobj_ex),
    (b"\x93", _stack_global),
    (b"\x94", _memoise),
    (b"\x95", _size8),
    (b"\x96", lambda m: _bytes(m, _size8(m))),
    (b"\x97", _refuse_buffers),
    (b"\x98", _refuse_buffers),
):
    OPERATIONS[_code[0]] = _operation
