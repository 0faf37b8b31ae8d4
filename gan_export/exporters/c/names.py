"""Choose C identifiers for the layers of a generator."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gan_export._lib.escape import C, Text, c, c_identifier
from gan_export.errors import GanExportError, printable

_LONGEST = 40
# Words of C and C++, and identifiers of the emitted functions.
_WORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const const_cast
    constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false float
    for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast
    struct switch template this thread_local throw true try typedef typeid typename typeof union unsigned using
    virtual void volatile wchar_t while xor xor_eq
    main linux unix vec tile load begin clear widen product source target normal uniform polynomial exponential
    i386 ROW WEIGHT STORE MORE TILE ZERO TALLEST
    weights workspace label dropout z x y w PANEL SLICE LANES FUSED sqrt memcpy near far
    typeof typeof_unqual fortran math_errhandling signgam mips sparc sun vax hppa arm vector pixel
"""
_RESERVED = frozenset(_WORDS.split())
# Macros of the included headers, of which a C library may have more than the standard (INFINITY, NAN, M_PI, UINT8_MAX),
# and types.
_LIKELY_TAKEN = re.compile(r"[A-Z][A-Z0-9_]*|\w+_t", re.ASCII)


def checked_symbol(symbol: str) -> Text[C]:
    """Return a valid prefix of C identifiers; raise GanExportError for any other text."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", symbol) or symbol in _RESERVED:
        raise GanExportError(
            f"{printable(symbol)} can't name C functions; use small letters, digits and _, a letter first"
        )
    return c_identifier(symbol)


def for_layers(names: Iterable[str], symbol: str) -> dict[str, Text[C]]:
    """Return a unique C identifier for each layer, equal to its name if possible."""
    given = {"z": c("z"), "label": c("label"), "input": c("input")}
    used = {"z", "label", "input"}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_LONGEST].strip("_") or "layer"
        if (
            plain[0].isdigit()
            or plain in _RESERVED
            or _LIKELY_TAKEN.fullmatch(plain)
            or plain.startswith(("run_", "apply_", "tile_", symbol))
        ):
            plain = f"layer_{plain}"
        unique, n = plain, 2
        while unique in used:
            unique, n = f"{plain}_{n}", n + 1
        used.add(unique)
        given[name] = c_identifier(unique)
    return given
