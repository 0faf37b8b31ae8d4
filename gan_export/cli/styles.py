"""Flags for the styles of a style-based generator: truncation, mixing and directions in w."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gan_export.cli.loading import Loading
from gan_export.errors import GanExportError, Topic, linked, printable

MOST_PSIS = 64

Psi = Annotated[
    str | None,
    typer.Option(
        "--psi",
        help="Truncation of a style-based generator: w moves to its mean; 1 leaves it.  Several values, such as "
        "0,0.3,0.7,1, give a column each.",
        show_default=False,
    ),
]
Mix = Annotated[
    str,
    typer.Option(
        "--mix", help="Style mixing: 4-7:12 gives layers 4 to 7 the w of seed 12; several with commas.",
        metavar="LAYERS:SEED", show_default=False,
    ),
]  # fmt: skip
Direction = Annotated[
    Path | None,
    typer.Option("--direction", help="A direction in w, .npy, .npz or .pt: --by times it is added.", metavar="FILE"),
]
By = Annotated[float, typer.Option("--by", help="How far --direction goes.")]


@dataclass(frozen=True, slots=True)
class Styles:
    """The styles that the flags set.  psis: the values of --psi."""

    psis: tuple[float, ...] = ()
    mix: str = ""
    direction: Path | None = None
    by: float = 1.0

    def __post_init__(self) -> None:
        if self.mix:
            from gan_export.sampling.styles import parse_mix

            parse_mix(self.mix)
        if self.by != 1.0 and self.direction is None:
            raise GanExportError("--by says how far --direction goes; name the direction's file too")

    @property
    def needs_ws(self) -> bool:
        """Whether the two parts of a checkpoint's generator are needed."""
        return bool(self.mix) or self.direction is not None or len(self.psis) > 1

    def of_checkpoint(self, loading: Loading, latents: Path | None) -> tuple[Loading, dict[str, Any]]:
        """Return how to load a checkpoint, and the keyword arguments of `Generator.sample`."""
        options = loading.overrides
        given = self.settings()
        if latents is not None and options.input is None and _holds_ws(latents):
            return replace(loading, overrides=replace(options, input="ws")), given
        if self.needs_ws and options.input is None:
            cutoff = {} if options.cutoff is None else {"cutoff": options.cutoff}
            return replace(loading, overrides=replace(options, part="synthesis", cutoff=None)), {**given, **cutoff}
        psi = given.pop("psi", None)
        return replace(loading, overrides=replace(options, psi=psi)), given

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `Generator.sample`; several values of psi are left to the caller."""
        from gan_export.sampling.latent_files import read_direction

        given: dict[str, Any] = {}
        if len(self.psis) == 1:
            given["psi"] = self.psis[0]
        if self.mix:
            given["mix"] = self.mix
        if self.direction is not None:
            given.update(direction=read_direction(self.direction), by=self.by)
        return given


@linked(Topic.STYLES)
def applied(file: Path, loading: Loading, asked: Styles, latents: Path | None) -> tuple[Loading, dict[str, Any]]:
    """Return how to load `file`, a checkpoint or an export, and the keyword arguments of `Generator.sample`."""
    from gan_export.formats.manifest import detect_format

    if asked == Styles() and latents is None:
        return loading, {}
    if file.exists() and detect_format(file) == "checkpoint":
        return asked.of_checkpoint(loading, latents)
    return loading, asked.settings()


@linked(Topic.STYLES)
def parse_psi(text: str | None) -> tuple[float, ...]:
    """Return the values of --psi, none if it isn't given."""
    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not 1 <= len(values) <= MOST_PSIS or not all(map(math.isfinite, values)):
        raise GanExportError(
            f"--psi {printable(text, 60)}: a number, or up to {MOST_PSIS} with commas between, such as 0,0.3,0.7,1"
        )
    return values


def _holds_ws(path: Path) -> bool:
    from gan_export.sampling.latent_files import holds_ws

    return holds_ws(path)
