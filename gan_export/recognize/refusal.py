"""Write the error message for a state dict that no family fits.

The message names the kind of network, the first layer that doesn't fit, the nearest families, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from gan_export.errors import printable
from gan_export.recognize.options import Mismatch, ReadOptions
from gan_export.recognize.other_networks import classify_non_generator, describe, first_of_its_kind
from gan_export.recognize.state_dict import State

NEAR = 0.35  # least `Mismatch.nearness` of a family that the message names
_NEAREST = 2  # most families that the message names
_FEW = 6  # most keys that are named as missing, or as left over
_IN_ORDER = "sequence"  # the family whose reason names a layer that doesn't fit, not a missing key
NEXT = (
    "export its own torch.nn.Module (module=PKG.MOD:CLASS); docs/adding-an-architecture.md shows how to add it to "
    "gan-export, or as a plugin"
)


def explain(state: State, mismatches: Sequence[Mismatch], overrides: ReadOptions, hint: str = "") -> str:
    """Return the error message, without the file's name; `hint` is a way to make the file one that is read."""
    following = f"{hint}; or {NEXT}" if hint else NEXT
    if overrides.arch:
        return f"arch={overrides.arch} does not fit these keys and shapes: {_line(mismatches[0])}"
    if what := classify_non_generator(state):
        return f"this is {what}, not a generator; give the generator's file"
    near = nearest_of(mismatches)
    nearest = "; nearest: " + "; ".join(map(_line, near)) if near else ""
    if (what := describe(state)) and not near:
        return f"{what}, of no known architecture{_first_misfit(first_of_its_kind(state))}; {following}"
    reason = first_of_its_kind(state) or next((m.reason for m in mismatches if m.arch == _IN_ORDER), None)
    return f"no known architecture has these keys and shapes{_first_misfit(reason)}{nearest}; {following}"


def nearest_of(mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """Return the mismatches of the families that are near enough to be named, the nearest first."""
    return sorted((m for m in mismatches if m.nearness >= NEAR), key=lambda m: -m.nearness)[:_NEAREST]


def _first_misfit(reason: str | None) -> str:
    return f"; the first layer that doesn't fit: {printable(reason, 160)}" if reason else ""


def _line(m: Mismatch) -> str:
    line = f"{m.arch}: {printable(m.reason, 120)}"
    line += f", missing {_few(m.missing)}" if m.missing else ""
    return line + (f", left over {_few(m.left_over)}" if m.left_over and m.nearness > NEAR else "")


def _few(keys: tuple[str, ...]) -> str:
    shown = ", ".join(printable(k, 60) for k in keys[:_FEW])
    return shown + (f" and {len(keys) - _FEW} more" if len(keys) > _FEW else "")
