"""Read a pickle as data: a small machine for the pickle protocols 0 to 5 that imports and calls nothing.

Python's own Unpickler imports the names in a file.  This one pushes a `Name`.  Applying a `Name` builds a value if it
has a builder (`pickle_builders.construct`), and an inert `Record` otherwise.  Time and memory are linear in the
pickle's length and counted by a Budget: each operation reads at least one byte, no value is copied, compared or hashed
deeply, and no step recurses.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers import pickle_builders
from gan_export.checkpoint.containers.denylist import Names
from gan_export.checkpoint.containers.pickle_operations import MARK, OPERATIONS, PickleDamage
from gan_export.checkpoint.containers.tensors import GlobalRef, OpaqueObject
from gan_export.errors import GanExportError

__all__ = ["PickleDamage", "PickleInterpreter"]

MAX_ARGUMENTS = 16  # of a builder
MAX_LINE = 64 * 8**5  # 2 MiB
MAX_KEY = 1024  # characters of a dict's key, of a parameter's name
MAX_NAME = 1024  # characters of a class's name with its module's
_BUILD = 8  # steps of building a tensor
_WRAP = 3  # steps of making an inert record
_ROUND = 1000  # operations between two checks of the budget
_EMBEDDED = GlobalRef("torch.storage", "_load_from_bytes")


class PickleInterpreter:
    """Runs one pickle at `position` of `data`; `position` is then directly after it.

    budget: counts steps and bytes.  names: collects the names without a builder.
    persistent: returns the value of a persistent id.  embedded: returns the value of a PyTorch file in the pickle.
    """

    __slots__ = ("_embedded", "_found", "budget", "data", "extra", "memo", "names", "persistent", "position", "stack")

    def __init__(
        self,
        data: memoryview,
        persistent: Callable[[object], object],
        names: Names,
        budget: Budget,
        *,
        position: int = 0,
        embedded: Callable[[memoryview], object] | None = None,
    ) -> None:
        self.data = data
        self.position = position
        self.names = names
        self.budget = budget
        self.persistent = persistent
        self.extra = 0  # steps since the last check of the budget, beyond one per operation
        self._embedded = embedded
        self._found: dict[tuple[str, str], GlobalRef] = {}
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        """Return the value of the pickle.  Raises PickleDamage, BudgetError, or the errors of the builders."""
        table, data, budget = OPERATIONS, self.data, self.budget
        collecting = gc.isenabled()
        gc.disable()  # a large pickle makes millions of objects and almost no garbage
        try:
            while True:
                begin = self.position
                for count in range(1, _ROUND + 1):
                    code = data[self.position]
                    self.position += 1
                    if code == 0x2E:  # STOP
                        budget.grant(self.position - begin)
                        budget.spend(count + self.extra)
                        return self._result()
                    operation = table[code]
                    if operation is None:
                        raise PickleDamage(f"no pickle operation {code:#04x}")
                    operation(self)
                budget.grant(self.position - begin)
                budget.spend(_ROUND + self.extra)
                self.extra = 0
        except (IndexError, struct.error):
            raise PickleDamage(f"it ends, or takes a value from an empty stack, at byte {self.position:,}") from None
        except (KeyError, ValueError, TypeError, OverflowError) as e:
            raise PickleDamage(f"{type(e).__name__} at byte {self.position:,}") from None
        finally:
            if collecting:
                gc.enable()

    def _result(self) -> object:
        value = self.pop()
        if self.stack:
            raise PickleDamage("values remain on the stack at the pickle's end")
        return value

    # -- reading

    def take(self, count: int) -> memoryview:
        at = self.position
        end = at + count
        if count < 0 or end > len(self.data):
            raise PickleDamage(f"it claims {count:,} bytes at byte {at:,} and is cut off")
        self.position = end
        return self.data[at:end]

    def line(self) -> bytes:
        self.extra += 2
        size = 64
        while size <= MAX_LINE:  # growing windows: a line costs a few times its length, not the length of the file
            window = bytes(self.data[self.position : self.position + size])
            end = window.find(b"\n")
            if end >= 0:
                self.position += end + 1
                return window[:end]
            size *= 8
        raise PickleDamage(f"a line without an end at byte {self.position:,}")

    # -- the stack

    def pop(self) -> object:
        value = self.stack.pop()
        if value is MARK:
            raise PickleDamage(f"a mark where a value is wanted, at byte {self.position:,}")
        return value

    def top(self) -> object:
        value = self.stack[-1]
        if value is MARK:
            raise PickleDamage(f"a mark where a value is wanted, at byte {self.position:,}")
        return value

    def to_mark(self) -> list[object]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is MARK:
                values = stack[i + 1 :]
                del stack[i:]
                return values
        raise PickleDamage(f"no mark on the stack at byte {self.position:,}")

    # -- used by operations

    def find(self, module: str, qualname: str) -> GlobalRef:
        if len(module) + len(qualname) > MAX_NAME:
            raise GanExportError(f"a class with a name of {len(module) + len(qualname):,} characters: forged")
        name = self._found.get((module, qualname))
        if name is None:
            self.budget.spend(_BUILD)
            self.budget.hold(3 * MAX_NAME)
            name = self._found[module, qualname] = GlobalRef(module, qualname)
            if not pickle_builders.is_allowed(name):
                self.names.add(name)
        return name

    def apply(self, function: object, args: object) -> object:
        """Return the value of a call, without making the call."""
        self.extra += 2
        if not isinstance(function, GlobalRef):
            function = function.name if isinstance(function, OpaqueObject) else GlobalRef("?", type(function).__name__)
        if not isinstance(args, tuple) or len(args) > MAX_ARGUMENTS or not pickle_builders.is_allowed(function):
            self.extra += _WRAP
            self.names.call(function, args, self.budget)
            return pickle_builders.persistent(function, args) or OpaqueObject(function, args)
        self.extra += _BUILD
        if function == _EMBEDDED and self._embedded and len(args) == 1 and isinstance(args[0], (bytes, memoryview)):
            return self._embedded(memoryview(args[0]))
        # A builder copies its arguments, and a memo can repeat a long one any number of times.
        for a in args:
            if isinstance(a, (str, bytes, memoryview)):
                self.budget.hold(len(a))
            elif isinstance(a, (list, tuple, dict)):
                self.budget.spend(len(a))
        return pickle_builders.construct(function, args)

    def set_state(self, state: object) -> None:
        """Apply `__setstate__(state)` to the top of the stack."""
        target = self.top()
        if isinstance(target, OpaqueObject):
            if isinstance(state, tuple) and len(state) == 5:  # the state of an array
                self.extra += _BUILD
                self.budget.hold(len(state[4]) if isinstance(state[4], str) else 0)
            pickle_builders.set_state(target, state)

    def set_items(self, flat: list[object]) -> None:
        self.extra += 1
        target = self.top()
        items = target.own_items() if isinstance(target, OpaqueObject) else target
        if not isinstance(items, dict) or len(flat) % 2:
            raise PickleDamage(f"items set on a value that is not a dict, at byte {self.position:,}")
        for i in range(0, len(flat), 2):
            key = _hashable(flat[i])
            if isinstance(key, OpaqueObject):
                self.extra += _WRAP
            items[key] = flat[i + 1]

    def append(self, values: list[object]) -> None:
        self.extra += 1
        target = self.top()
        elements = target.own_elements() if isinstance(target, OpaqueObject) else target
        if not isinstance(elements, list):
            raise PickleDamage(f"values appended to a value that is not a list, at byte {self.position:,}")
        elements.extend(values)


def _hashable(key: object) -> object:
    """Return a dict key whose hash and comparison take constant time and can't be made to collide."""
    if isinstance(key, (str, bytes)):
        return key if len(key) <= MAX_KEY else OpaqueObject(GlobalRef("?", "key"), key)
    if isinstance(key, (bool, float, GlobalRef)) or key is None or (type(key) is int and -(2**59) < key < 2**59):
        return key
    return OpaqueObject(GlobalRef("?", "key"), key)
