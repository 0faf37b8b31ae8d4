"""path -> generator: the spec and its weights out of a checkpoint, nothing in the file being run."""

from gan_export.arch.reading import Overrides
from gan_export.checkpoint.names import warning as code_warning
from gan_export.checkpoint.reader import read
from gan_export.checkpoint.strict import check_strictly, refuse_code
from gan_export.checkpoint.types import Checkpoint, Source

__all__ = ["Checkpoint", "Overrides", "Source", "check_strictly", "code_warning", "read", "refuse_code"]
