"""What reading one file may cost, counted instead of timed: every walk over foreign data spends from one Budget.

A step is what CPython does in about 0.4 microseconds, and leaves at most 100 bytes behind.  So a file costs at most
1 s, and 1 s more per 10 MB of pickle or header; and the process holds at most twice the file and 768 MiB, the
interpreter and the file itself included.  The sums over weights (hashes, decoding) are linear by themselves.
"""

from __future__ import annotations

from typing import Any

from gan_export._lib import plaindata
from gan_export.errors import GanExportError

BASE_STEPS = 2_500_000  # 1 s; a training state of 10,000 parameters takes about as many
BYTES_PER_STEP = 5  # of pickle or header: 10 MB grant another second
MOST_STEPS = 4_000_000  # whatever the file's size; they leave 400 MB
SPARE_BYTES = 640 << 20  # over twice the file's size: 768 MiB less the interpreter and its libraries
HELD_PER_STEP = 100  # bytes


class BudgetError(GanExportError):
    """A file that costs more to read than a file of its size may."""


class Budget:
    """Steps and bytes that are left for one file.

    size: of the file, which is in memory itself.  `spend` and `hold` raise BudgetError once nothing is left.
    """

    __slots__ = ("_granted", "_held", "_most_held", "_spent")

    def __init__(self, size: int) -> None:
        self._granted = BASE_STEPS
        self._spent = 0
        self._held = 0
        self._most_held = size + SPARE_BYTES

    def grant(self, count: int) -> None:
        """Allow the steps that `count` more bytes of pickle or header are worth."""
        self._granted = min(self._granted + count // BYTES_PER_STEP, MOST_STEPS)

    def enlarge(self, size: int) -> None:
        """Allow what another file of that size may hold, read as a part of the same checkpoint."""
        self._most_held += size

    def spend(self, steps: int) -> None:
        """Take steps that are about to be made."""
        self._spent += steps
        if self._spent > self._granted:
            raise BudgetError(
                f"reading it takes over {self._granted:,} steps, more than a file of its size may: forged, or save the "
                "generator's state_dict alone"
            )
        if self._held + self._spent * HELD_PER_STEP > self._most_held:
            raise self._too_large()

    def hold(self, count: int) -> None:
        """Take bytes that are about to be allocated."""
        self._held += count
        if self._held + self._spent * HELD_PER_STEP > self._most_held:
            raise self._too_large()

    def text(self, length: int) -> None:
        """Take the work of a pass over `length` characters."""
        self.spend(1 + length // 64)

    def _too_large(self) -> BudgetError:
        return BudgetError(
            f"its content takes over {self._most_held / 2**30:.1f} GiB of memory, far more than the file: forged, or "
            "save the generator's state_dict alone, in float32"
        )


def read_json(raw: bytes | memoryview, budget: Budget) -> Any:
    """The value of a foreign JSON text; a table with a name twice is refused.

    Raises BudgetError before it is parsed if its values would take too much, ValueError if it is none.
    """
    raw = bytes(raw)
    budget.grant(len(raw))
    opened = raw.count(b"{") + raw.count(b"[")
    values = opened + raw.count(b",") + raw.count(b":")
    budget.spend(values)
    # A container takes up to 100 bytes more than a step leaves; text is held as bytes, as a str and in its values, each
    # character in 4 bytes if one of them is beyond the Basic Multilingual Plane.
    widest = 1 if raw.isascii() and b"\\u" not in raw else 4
    budget.hold(100 * opened + len(raw) * (1 + 2 * widest))
    return plaindata.from_json(raw, _unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name twice")
    return table
