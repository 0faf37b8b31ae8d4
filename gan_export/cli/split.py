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

    The synthesis comes first: a format may lack its layers.
    """
    if overrides.input is not None or overrides.part is not None:
        raise GanExportError(
            "--split writes both parts, from z to ws and from ws to the image; leave --input and --part out"
        )
    if module is not None or options.sampler:
        raise GanExportError(f"{'--module' if module else '--sampler'} and --split: leave one out")
    return (
        (_named(target, "synthesis"), overrides.of_part("synthesis"), options),
        (_named(target, "mapping"), overrides.of_part("mapping"), replace(options, output="float")),
    )


def _named(target: Path, part: str) -> Path:
    return target.with_name(f"{target.stem}.{part}{target.suffix}")
