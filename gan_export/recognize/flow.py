"""Order modules by their channels, if neither names nor the order in the file show how they are connected."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence

from gan_export.recognize.state_dict import Module

Ends = Callable[[Module], tuple[int, int]]  # channels in, channels out


def is_chain(modules: Sequence[Module], ends: Ends) -> bool:
    """Return whether each module takes as many channels as the one before it gives."""
    return all(ends(a)[1] == ends(b)[0] for a, b in itertools.pairwise(modules))


def order_by_channels(modules: Sequence[Module], ends: Ends) -> list[Module] | None:
    """Return `modules` in an order in which their channels fit: the given one if it does, None if none does.

    Modules are edges between channel counts, so an order is a path over every edge (Hierholzer's algorithm).
    """
    if is_chain(modules, ends):
        return list(modules)
    leaving: dict[int, list[Module]] = defaultdict(list)
    balance: dict[int, int] = defaultdict(int)
    for m in reversed(modules):  # popped from the end, so that equal ones keep their natural order
        a, b = ends(m)
        leaving[a].append(m)
        balance[a] += 1
        balance[b] -= 1
    starts = [c for c, n in balance.items() if n > 0]
    if len(starts) != 1 or balance[starts[0]] != 1:
        return None
    trail: list[Module] = []
    pending: list[tuple[int, Module | None]] = [(starts[0], None)]
    while pending:
        at, came_by = pending[-1]
        if leaving[at]:
            m = leaving[at].pop()
            pending.append((ends(m)[1], m))
        else:
            pending.pop()
            if came_by is not None:
                trail.append(came_by)
    trail.reverse()
    return trail if len(trail) == len(modules) and is_chain(trail, ends) else None
