"""Limit the cost of reading a file, counted instead of timed: every walk over untrusted data spends from a Budget.

A step is about 0.4 microseconds of CPython, and leaves at most 100 bytes allocated.  So a file costs at most 1 s, and
1 s more per 10 MB of pickle or header, and the process holds at most twice the file and 768 MiB, including the
interpreter and the file.  Passes over the weights (hashes, decoding) are linear and not counted.
"""

from __future__ import annotations

from typing import Any

from gan_export._lib import plaindata
from gan_export.errors import GanExportError, Topic

BASE_STEPS = 2_500_000  # 1 s; a training state of 10,000 parameters takes about this number
BYTES_PER_STEP = 5  # of pickle or header: 10 MB grant another second
MOST_STEPS = 4_000_000  # for a file of any size; they leave 400 MB
SPARE_BYTES = 640 << 20  # beyond twice the file's size: 768 MiB less the interpreter and its libraries
HELD_PER_STEP = 100  # bytes


class BudgetError(GanExportError):
    """Reading a file costs more than the limit for its size."""

    topic = Topic.COST


class Budget:
    """The steps and bytes that are left for one file.

    size: of the file, which is in memory too.  `spend` and `hold` raise BudgetError once nothing is left.
    """

    __slots__ = ("_granted", "_held", "_most_held", "_spent")

    def __init__(self, size: int) -> None:
        self._granted = BASE_STEPS
        self._spent = 0
        self._held = 0
        self._most_held = size + SPARE_BYTES

    def grant(self, count: int) -> None:
        """Add the steps for `count` more bytes of pickle or header."""
        self._granted = min(self._granted + count // BYTES_PER_STEP, MOST_STEPS)

    def enlarge(self, size: int) -> None:
        """Add the memory for another file of that size, which is a part of the same checkpoint."""
        self._most_held += size

    def spend(self, steps: int) -> None:
        """Spend steps before they are made."""
        self._spent += steps
        if self._spent > self._granted:
            raise BudgetError(
                f"reading it takes more than {self._granted:,} steps, the limit for a file of its size: forged, or too "
                "complex; save only the generator's state_dict"
            )
        if self._held + self._spent * HELD_PER_STEP > self._most_held:
            raise self._too_large()

    def hold(self, count: int) -> None:
        """Spend bytes before they are allocated."""
        self._held += count
        if self._held + self._spent * HELD_PER_STEP > self._most_held:
            raise self._too_large()

    def text(self, length: int) -> None:
        """Spend a pass over `length` characters."""
        self.spend(1 + length // 64)

    def _too_large(self) -> BudgetError:
        return BudgetError(
            f"its content takes more than {self._most_held / 2**30:.1f} GiB of memory, far more than the file: forged, "
            "or too complex; save only the generator's state_dict, in float32"
        )


def read_json(raw: bytes | memoryview, budget: Budget) -> Any:
    """Parse an untrusted JSON text; a repeated name in an object is refused.

    Raises BudgetError before parsing if the values would take too much, ValueError if the text is not JSON.
    """
    raw = bytes(raw)
    budget.grant(len(raw))
    opened = raw.count(b"{") + raw.count(b"[")
    values = opened + raw.count(b",") + raw.count(b":")
    budget.spend(values)
    # A container takes up to 100 bytes more than a step leaves. Text is held as bytes, as a str and in its values; each
    # character takes 4 bytes if any is beyond the Basic Multilingual Plane.
    widest = 1 if raw.isascii() and b"\\u" not in raw else 4
    budget.hold(100 * opened + len(raw) * (1 + 2 * widest))
    return plaindata.from_json(raw, _unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name twice")
    return table
