"""The place of a process that torchrun, or another launcher with its environment variables, has started.

Nothing here imports torch, because the command calls it first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from gan_export.errors import GanExportError, printable

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Place:
    """A process's rank of `size`, and its number among the `local_size` processes of its machine."""

    rank: int
    size: int
    local: int
    local_size: int


def place() -> Place | None:
    """Return this process's place; None if no launcher has set all of the environment variables of one.

    Raises GanExportError if they contradict each other.
    """
    if not all(os.environ.get(name) for name in _NEEDED):
        return None
    values = {name: os.environ[name] for name in _NEEDED[:3]}
    values["LOCAL_WORLD_SIZE"] = os.environ.get("LOCAL_WORLD_SIZE", values["WORLD_SIZE"])
    shown = printable(", ".join(f"{k}={v}" for k, v in values.items()))
    if not all(v.isdecimal() and len(v) < 10 for v in values.values()):
        raise GanExportError(f"{shown}: must be whole numbers, as torchrun sets them")
    rank, size, local, local_size = map(int, values.values())
    if not (rank < size and local < local_size <= size):
        raise GanExportError(f"{shown}: a rank must be below its size; unset them, or start gan-train by torchrun")
    return Place(rank, size, local, local_size)
