"""Hold what the files of a C export are written from, and the pieces that several of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan_export._lib.escape import C, Text, c, c_comment, c_identifier, resource
from gan_export.exporters.c import layers
from gan_export.exporters.c.plan import Plan
from gan_export.exporters.c.sizes import Sizes
from gan_export.exporters.c.weights import Member
from gan_export.formats.manifest import Manifest
from gan_export.graph.views import LatentImage


@dataclass(frozen=True, slots=True)
class Source:
    """The data that the files are written from.

    symbol: the prefix of every public name, and of the files' names
    names:  C identifiers of the layers
    """

    symbol: Text[C]
    plan: Plan
    members: Sequence[Member]
    names: layers.Names
    manifest: Manifest
    embedded: bool

    @property
    def of(self) -> LatentImage:
        """The view of a signature from a latent."""
        assert isinstance(self.plan.of, LatentImage)
        return self.plan.of

    @property
    def sizes(self) -> Sizes:
        """The names of the sizes of what is made, before `fill`."""
        return Sizes(self.of.image, c("GENERATOR"))

    @property
    def data(self) -> bytes:
        """The bytes of the weights' struct, little-endian; without weights, one zero byte."""
        return b"".join(np.ascontiguousarray(m.values).tobytes() for m in self.members) or b"\0"

    def member(self, m: Member) -> Text[C]:
        """Return the name of a member of the struct."""
        return c("{layer}_{part}", layer=self.names[m.layer], part=c_identifier(m.part))

    def fill(self, text: Text[C]) -> Text[C]:
        """Return a template's text with this generator's names."""
        loud = text.replace("GENERATOR", c_identifier(str(self.symbol).upper()))
        return loud.replace("generator_", c("{symbol}_", symbol=self.symbol))


def part(name: str) -> Text[C]:
    """Return the text of parts/NAME.c."""
    return resource(C, "gan_export.exporters.c", "parts", f"{name}.c")


def declared(s: Source, m: Member) -> Text[C]:
    """Return the declaration of a member of the struct."""
    kind = {"float32": c("float"), "uint16": c("uint16_t"), "int8": c("int8_t")}[m.values.dtype.name]
    return c("{kind} {member}[{size}];", kind=kind, member=s.member(m), size=m.values.size)


def provenance(s: Source) -> Text[C]:
    """Return the lines of a comment that say what the source was made from."""
    m = s.manifest
    words = [
        c(
            "Written by gan-export {version} from a checkpoint of the family {arch}.",
            arch=c_comment(m.arch),
            version=c_comment(m.versions["gan-export"]),
        ),
        c("Source sha256: {sha256}", sha256=c_comment(m.source_sha256)),
        c("Weights: {precision}; latents: {law}", law=c_comment(m.latent_law), precision=c_comment(m.precision)),
    ]
    if m.options:
        given = ", ".join(f"{key} {value}" for key, value in sorted(m.options.items()))
        words.append(c("Options: {given}", given=c_comment(given)))
    return c("\n").join(c(" * {line}", line=line) for line in words)
