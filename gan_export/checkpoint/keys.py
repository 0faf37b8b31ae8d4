"""Restore the keys of the generator's own class: remove the components that wrappers add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from gan_export._lib.budget import Budget
from gan_export.errors import GanExportError, printable

# Components that DataParallel, torch.compile, FSDP and activation checkpointing add to keys.
WRAPPERS = (
    "module", "_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module",
)  # fmt: skip
# Further first components of keys, if the generator is a part of a larger object that was saved.
_OWNERS = re.compile(r"(net_?|model_?)?(generator|gen|g)(_?ema)?|ema_model|model|net|state_dict|shadow", re.IGNORECASE)
_COUNTERS = ("num_batches_tracked", "n_averaged")
MAX_ATTEMPTS = 5
_LONG = 100  # characters; the budget counts longer keys by their length
T = TypeVar("T")


def is_counter(key: str) -> bool:
    """Return whether a key is a counter of PyTorch, which evaluation doesn't use."""
    return key.rpartition(".")[2] in _COUNTERS


def normalize(table: Mapping[str, T], budget: Budget) -> dict[str, T]:
    """Return the table with keys that lack wrappers' components.  Raises GanExportError if two keys become equal."""
    result: dict[str, T] = {}
    budget.spend(2 * len(table))
    for key, value in table.items():
        if len(key) > _LONG:
            budget.text(4 * len(key))
        short = ".".join(c for c in key.split(".") if c not in WRAPPERS) if any(w in key for w in WRAPPERS) else key
        if short in result:
            raise GanExportError(f"two keys mean the same parameter, {printable(short, 80)}; save only one of the two")
        result[short] = value
    return result


def candidate_prefixes(keys: Iterable[str]) -> list[str]:
    """Return the prefixes to try to remove from keys: "" first, then longer ones.

    Each is common to all keys and names an owner (`generator.`, `netG.`).
    """
    parts = [k.split(".", MAX_ATTEMPTS) for k in keys]
    prefixes = [""]
    if not parts:
        return prefixes
    for depth in range(MAX_ATTEMPTS - 1):
        here = {p[depth] if depth < len(p) - 1 else "" for p in parts}
        if len(here) != 1 or not _OWNERS.fullmatch(next(iter(here))):
            break
        prefixes.append(prefixes[-1] + next(iter(here)) + ".")
    return prefixes
