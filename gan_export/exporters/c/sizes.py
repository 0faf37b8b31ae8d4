"""Name the sizes of what a generator makes, as its C source does: an image, a volume or a signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gan_export._lib.escape import C, Text, c, c_identifier

# By number of sides: the names of the constants, from the outermost side in.
NAMES: Mapping[int, tuple[str, ...]] = {1: ("LENGTH",), 2: ("HEIGHT", "WIDTH"), 3: ("DEPTH", "HEIGHT", "WIDTH")}
KINDS: Mapping[int, str] = {1: "signal", 2: "image", 3: "volume"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The (C, ...) of what is made, and the prefix of the constants."""

    shape: tuple[int, ...]
    prefix: Text[C]

    @property
    def names(self) -> tuple[Text[C], ...]:
        """The names of the sides' constants."""
        return tuple(c("{prefix}_{name}", name=c_identifier(n), prefix=self.prefix) for n in NAMES[len(self.shape) - 1])

    @property
    def kind(self) -> Text[C]:
        """What is made, in a word."""
        return c_identifier(KINDS[len(self.shape) - 1])

    @property
    def pixels(self) -> Text[C]:
        """The product of the sides' constants."""
        return c(" * ").join(self.names)

    @property
    def rows(self) -> Text[C]:
        """The product of all sides but the last, or 1."""
        return c(" * ").join(self.names[:-1]) if self.names[1:] else c("1")

    @property
    def count(self) -> Text[C]:
        """The product of the sides' numbers."""
        return c(" * ").join(c("{side}", side=side) for side in self.shape[1:])

    @property
    def index(self) -> Text[C]:
        """The sides as the bounds of an array, [HEIGHT][WIDTH]."""
        return c("").join(c("[{name}]", name=c_identifier(n)) for n in NAMES[len(self.shape) - 1])
