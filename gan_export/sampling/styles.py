"""Styles of a style-based generator: truncation, style mixing and directions in w, image by image.

Such a generator has two parts: its mapping, from z (and a label) to ws, one w for each layer, and its synthesis, from
ws to an image.  A checkpoint has both; of an export by `--split`, the mapping lies beside the synthesis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, Topic, UnusedOptionError, linked, printable
from gan_export.sampling.numpy_seeds import latents_of

if TYPE_CHECKING:
    from gan_export.graph.signature import Signature
    from gan_export.sampling.generator import Generator, Labels

Floats = npt.NDArray[np.float32]
Rng = Literal["philox", "numpy"]
MOST_MIXES = 64
_MIX = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?:(\d{1,20})", re.ASCII)
SYNTHESIS, MAPPING = ".synthesis", ".mapping"  # in the names of the two files of an export by --split


@dataclass(frozen=True, slots=True)
class Mix:
    """Layers first .. last, counted from 0, take the w of image 0 of `seed`."""

    first: int
    last: int
    seed: int


@dataclass(frozen=True, slots=True)
class Styling:
    """Changes to the w of each image, in this order: truncation, mixing, a direction.

    psi:       one value for all images or one for each (N,); None leaves it as the file was read or exported
    cutoff:    number of layers that psi changes, None for all
    direction: (F,) for all layers or (R, F); `by` times this is added to ws
    rng:       of the latents of a mix's seed: by the latent law, or `RandomState(seed).randn`
    """

    psi: Floats | None = None
    cutoff: int | None = None
    mix: tuple[Mix, ...] = ()
    direction: Floats | None = None
    by: float = 1.0
    rng: Rng = "philox"

    @staticmethod
    def of(
        psi: npt.ArrayLike | None,
        cutoff: int | None,
        mix: str,
        direction: npt.ArrayLike | None,
        by: float,
        *,
        rng: Rng,
        count: int,
    ) -> Styling:
        """Return the styling of `count` images, checked.  mix: as of `parse_mix`, empty for none."""
        if rng not in ("philox", "numpy"):
            raise GanExportError(f"rng={printable(str(rng), 40)}: must be philox or numpy")
        values = None if psi is None else np.asarray(psi, np.float32)
        if values is not None and (values.shape not in ((), (count,)) or not np.isfinite(values).all()):
            raise GanExportError(f"psi of shape {values.shape}: must be a finite number, or one for each of the images")
        if cutoff is not None and (cutoff < 0 or psi is None):
            raise GanExportError(f"cutoff {cutoff}: goes with psi, and is 0 or more")
        towards = None if direction is None else np.asarray(direction, np.float32)
        if not np.isfinite(by) or (towards is not None and not np.isfinite(towards).all()):
            raise GanExportError(f"direction by {by}: must be finite")
        mixes = parse_mix(mix) if mix else ()
        if rng == "numpy" and any(m.seed >= 1 << 32 for m in mixes):
            raise GanExportError(f"mix={printable(mix, 60)}: the seeds of numpy are 0 to 2^32-1")
        return Styling(values, cutoff, mixes, towards, float(by), rng)

    @property
    def changes_ws(self) -> bool:
        """Whether each layer may have another w."""
        return bool(self.mix) or self.direction is not None

    def moved(self, ws: Floats) -> Floats:
        """Return ws (N, R, F), or w (N, F), after the direction."""
        if self.direction is None:
            return ws
        if self.direction.shape not in (ws.shape[1:], ws.shape[-1:]):
            sizes = " or ".join(str(s) for s in dict.fromkeys((ws.shape[-1:], ws.shape[1:])))
            raise GanExportError(f"direction= of shape {self.direction.shape}: must be {sizes}")
        return ws + np.float32(self.by) * self.direction

    def of_rows(self, rows: slice) -> Styling:
        """Return the same for a part of the images."""
        return replace(self, psi=self.psi[rows]) if self.psi is not None and self.psi.ndim else self


@linked(Topic.STYLES)
def parse_mix(text: str) -> tuple[Mix, ...]:
    """Return the parts of "4-7:12,9:3".  Raises GanExportError for anything else."""
    mixes = []
    for part in text.split(",", MOST_MIXES):
        match = _MIX.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if match is None or first > last or int(match[3]) >= 1 << 64:
            raise GanExportError(f"mix={printable(text, 60)}: layers and a seed, such as 4-7:12, or 4-7:12,9:3")
        mixes.append(Mix(first, last, int(match[3])))
    return tuple(mixes)


@dataclass(frozen=True, slots=True)
class StyleParts:
    """The two parts of a style-based generator, both loaded."""

    mapping: Generator
    synthesis: Generator

    @property
    def shape(self) -> tuple[int, int]:
        """(R, F): layers that take a w, and its features."""
        rows, features = self.synthesis.signature.input("ws").shape
        return int(rows), int(features)

    def ws(self, z: Floats, labels: Labels | None, styling: Styling) -> Floats:
        """Return the ws of latents (N, nz), (N, R, F)."""
        return self.changed(self._mapped(z, labels, styling.psi), labels, styling)

    def changed(self, ws: Floats, labels: Labels | None, styling: Styling) -> Floats:
        """Return ws (N, R, F) after mixing and the direction."""
        made, rows = ws.copy(), self.shape[0]
        for mix in styling.mix:
            if mix.last >= rows:
                raise GanExportError(f"mix={mix.first}-{mix.last}: this generator has the layers 0 to {rows - 1}")
            other = self._mapped(np.repeat(self._latent(mix.seed, styling.rng), len(ws), 0), labels, styling.psi)
            made[:, mix.first : mix.last + 1] = other[:, mix.first : mix.last + 1]
        return styling.moved(made)

    def _mapped(self, z: Floats, labels: Labels | None, psi: Floats | None) -> Floats:
        signature = self.mapping.signature
        given: dict[str, Any] = {latent_name(signature): np.array(z), **self.mapping.labeled(labels)}
        if psi is not None:
            if "psi" not in signature.names()[0]:
                raise GanExportError("psi: the exported mapping has none as an input; export it with psi_input=True")
            given["psi"] = np.array(np.broadcast_to(psi, (len(z),)))
        outputs = self.mapping.run(signature.feeds(0, range(len(z)), **given))
        return np.array(outputs[signature.outputs[0].name], np.float32)

    def _latent(self, seed: int, rng: Rng) -> Floats:
        port = self.mapping.signature.input(latent_name(self.mapping.signature))
        if rng == "numpy":
            return latents_of([seed], int(port.shape[0]))
        return self.mapping.signature.feeds(seed, range(1))[port.name] * np.float32(self.synthesis.latent_scale)


def latent_name(signature: Signature) -> str:
    """Return the name of the latent that a mapping takes."""
    return signature.inputs_of("latent")[0].name


def starts_from_ws(signature: Signature) -> bool:
    """Return whether a generator takes one w for each layer."""
    return any(p.name == "ws" and p.kind == "values" and len(p.shape) == 2 for p in signature.inputs)


def has_mapping(generator: Generator) -> bool:
    """Return whether a generator starts from ws that its mapping, which is there, can give."""
    opening = generator.opening
    if opening is None or not starts_from_ws(generator.signature):
        return False
    return opening.kind == "checkpoint" or mapping_beside(opening.path) is not None


def has_labels(generator: Generator) -> bool:
    """Return whether the generator, or the mapping that belongs to it, takes a label."""
    return bool(generator.parts().mapping.classes if has_mapping(generator) else generator.classes)


@linked(Topic.STYLES)
def open_parts(generator: Generator, *, psi: bool, cutoff: int | None) -> StyleParts:
    """Load the parts of a generator that are not loaded yet.

    psi: whether the mapping must take psi as an input
    Raises GanExportError for a generator that has no two parts, or an export without its mapping.
    """
    opening = generator.opening
    if opening is None:
        raise GanExportError("this generator can't be opened in two parts; open it by its path")
    if opening.kind == "checkpoint":
        return _of_checkpoint(generator, psi=psi, cutoff=cutoff)
    name = printable(opening.path.name)
    if not starts_from_ws(generator.signature):
        raise GanExportError(
            f"{name} is one file from z to the image: psi, mixing and directions need the checkpoint of a style-based "
            "generator, or its export with split=True"
        )
    if cutoff is not None:
        raise GanExportError("cutoff: the exported mapping has its own; export it with another cutoff=")
    path = mapping_beside(opening.path)
    if path is None:
        raise GanExportError(
            f"{name} takes ws: give them (latents=), or put its mapping beside it, which split=True exports"
        )
    mapping = opening.open(path, None)
    if mapping.signature.outputs[0].shape != generator.signature.input("ws").shape:
        mapping.close()
        raise GanExportError(f"{printable(path.name)} gives other ws than {name} takes")
    return StyleParts(mapping, generator)


def mapping_beside(synthesis: Path) -> Path | None:
    """Return the path of the mapping that was exported with a synthesis, if it is there."""
    if SYNTHESIS not in synthesis.name:
        return None
    path = synthesis.with_name(MAPPING.join(synthesis.name.rsplit(SYNTHESIS, 1)))
    return path if path.exists() else None


def _of_checkpoint(generator: Generator, *, psi: bool, cutoff: int | None) -> StyleParts:
    opening, options = generator.opening, generator.overrides
    assert opening is not None
    first = options.of_part("mapping")
    if psi:
        cutoff = options.cutoff if cutoff is None else cutoff
        first = replace(first, psi=None, psi_input=True, cutoff=cutoff)
    has_parts = starts_from_ws(generator.signature)
    try:
        mapping = opening.open(opening.path, first)
    except UnusedOptionError:  # `part`: the other options are those that the generator was read with
        raise GanExportError(
            f"{printable(opening.path.name)}: psi, mixing and directions need a style-based generator"
        ) from None
    if has_parts:
        return StyleParts(mapping, generator)
    try:
        synthesis = opening.open(opening.path, options.of_part("synthesis"))
        return StyleParts(mapping, replace(synthesis, latent_scale=generator.latent_scale))
    except BaseException:
        mapping.close()
        raise
