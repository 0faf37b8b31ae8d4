"""Read the state dict of a file for a given class, as data, and compare its keys with the class's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gan_export._lib.budget import Budget
from gan_export.checkpoint import keys
from gan_export.checkpoint.checkpoint import Source
from gan_export.checkpoint.containers import hf_folder
from gan_export.checkpoint.containers.detect import read_content
from gan_export.checkpoint.containers.tensors import FLOATS, Tensor
from gan_export.checkpoint.state_dicts import Candidate, at_path, find
from gan_export.errors import GanExportError, printable

_SHOWN = 4  # keys listed in a message

Wanted = Mapping[str, tuple[tuple[int, ...], bool]]  # key -> (shape, whether its values are floats)


def read_state_dict(path: Path, wanted: Wanted, key: str | None = None) -> tuple[dict[str, npt.NDArray[Any]], Source]:
    """Return the arrays of `path` by the keys of `wanted`, float32 or int64, and their source.

    If the file has several state dicts, the one at `key` is used, or else the first that fits.  Prefixes of wrappers
    ("module.", "generator.") are removed.  The file must have every key with its shape, and no further keys except
    torch's counters.  No code in the file is imported or run.
    Raises GanExportError, beginning with the file's name, with the keys that differ.
    """
    name, digest, content, budget = hf_folder.read_folder(path) if os.path.isdir(path) else read_content(path)
    found = find(content.root, budget)
    tried = found.candidates
    if key is not None:
        one = at_path(found, key, budget)
        tried = (one,) if one else ()
    if not tried:
        what = f"it has no state dict {printable(key, 80)}" if key is not None else "it contains no state dict"
        raise GanExportError(f"{printable(name)}: {what}")
    best: tuple[int, str] | None = None
    for candidate in tried:
        for tensors in _spellings(candidate, budget):
            differences = _differences(tensors, wanted)
            if not differences:
                arrays = {k: _array(tensors.get(k), floats) for k, (_, floats) in wanted.items()}
                source = Source(
                    name,
                    digest,
                    content.container,
                    candidate.path,
                    records=content.names.records,
                    code=content.names.code,
                    files=content.files,
                )
                return {k: a for k, a in arrays.items() if a is not None}, source
            ranked = (len(differences), _shown(differences))
            best = ranked if best is None or ranked[0] < best[0] else best
    assert best is not None
    raise GanExportError(f"{printable(name)}: its keys are not those of the class: {best[1]}")


def _spellings(candidate: Candidate, budget: Budget) -> list[Mapping[str, Tensor]]:
    """Return the tensors by their keys without wrappers, once with and once without each owner's name."""
    plain = keys.normalize(candidate.tensors, budget)
    owned = [{k[len(p) :]: t for k, t in plain.items()} for p in keys.candidate_prefixes(plain)]
    return [candidate.tensors, *owned]


def _differences(tensors: Mapping[str, Tensor], wanted: Wanted) -> list[str]:
    lacking = [k for k in wanted if k not in tensors and not keys.is_counter(k)]
    extra = [k for k in tensors if k not in wanted and not keys.is_counter(k)]
    found = [f"{k} is missing" for k in lacking] + [f"{k} is not in the class" for k in extra]
    for k in (k for k in wanted if k in tensors and not keys.is_counter(k)):
        shape, floats = wanted[k]
        if tensors[k].shape != shape:
            found.append(f"{k} is {tensors[k].shape}, the class has {shape}")
        elif (tensors[k].dtype in FLOATS) != floats:
            found.append(f"{k} is {tensors[k].dtype}, the class has {'floats' if floats else 'whole numbers'}")
    return found


def _array(tensor: Tensor | None, floats: bool) -> npt.NDArray[Any] | None:
    if tensor is None:  # a counter that is not in the file
        return None
    return tensor.floats() if floats else tensor.integers()


def _shown(differences: list[str]) -> str:
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(printable(d, 160) for d in differences[:_SHOWN]) + more
