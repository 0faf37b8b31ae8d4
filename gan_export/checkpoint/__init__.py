"""path -> generator: the spec and its weights out of a checkpoint, nothing in the file being run."""

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers.denylist import warning as code_warning
from gan_export.checkpoint.reader import read
from gan_export.checkpoint.strict import check_strictly, refuse_code
from gan_export.recognize.options import ReadOptions

__all__ = ["Checkpoint", "ReadOptions", "Source", "check_strictly", "code_warning", "read", "refuse_code"]
