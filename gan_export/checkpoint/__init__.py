"""path -> generator: the spec and its weights out of a checkpoint, nothing in the file being run."""

from gan_export.arch.reading import Overrides
from gan_export.checkpoint.reader import read
from gan_export.checkpoint.types import Checkpoint, Source

__all__ = ["Checkpoint", "Overrides", "Source", "read"]
