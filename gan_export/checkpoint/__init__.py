"""Read checkpoints: a path in, a generator's spec and weights out.  No code in the file is run."""

from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers.denylist import warning as code_warning
from gan_export.checkpoint.reader import read
from gan_export.checkpoint.strict import check_strictly, refuse_code
from gan_export.recognize.options import ReadOptions

__all__ = ["Checkpoint", "ReadOptions", "Source", "check_strictly", "code_warning", "read", "refuse_code"]
