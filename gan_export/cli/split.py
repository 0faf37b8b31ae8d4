"""gan-export FORMAT CHECKPOINT --split: a style-based generator as two files, its mapping and its synthesis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.exporters.base import Options


def files_of(
    target: Path, overrides: ReadOptions, options: Options, module: str | None
) -> tuple[tuple[Path, ReadOptions, Options], ...]:
    """Return (file, how to read the checkpoint, options) of both parts; `target` is the path of the whole, NAME.SUFFIX.

    Truncation belongs to the mapping; noise, and the transform of StyleGAN3's input, to the synthesis.  That comes
    first: a format may lack its layers.
    """
    if overrides.input is not None or overrides.part is not None:
        raise GanExportError(
            "--split writes both parts, from z to ws and from ws to the image; leave --input and --part out"
        )
    if module is not None or options.sampler:
        raise GanExportError(f"{'--module' if module else '--sampler'} and --split: leave one out")
    second = replace(overrides, part="synthesis", psi=None, cutoff=None, psi_input=False)
    first = replace(overrides, part="mapping", noise=None, translate=None, rotate=None)
    return (
        (_named(target, "synthesis"), second, options),
        (_named(target, "mapping"), first, replace(options, output="float")),
    )


def _named(target: Path, part: str) -> Path:
    return target.with_name(f"{target.stem}.{part}{target.suffix}")
