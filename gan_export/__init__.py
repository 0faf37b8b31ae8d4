"""gan-export: from a GAN checkpoint to a generator you can ship.

`import gan_export` is light: torch, NumPy and every runtime are imported when a function needs them.  The names in
`__all__` are the public ones, and stay; docs/api.md describes them.
"""

from typing import TYPE_CHECKING, Any

from gan_export.api import (
    dataset,
    distill,
    evaluate,
    export,
    load,
    open,
    sample,
    stream,
    train,
    verify,
)
from gan_export.errors import (
    CheckFailedError,
    GanExportError,
    HostileFileError,
    NotRecognizedError,
    UnavailableError,
)
from gan_export.register import register_architecture, register_evaluator, register_format, register_runtime

if TYPE_CHECKING:
    from gan_export.api import Checkpoint as Checkpoint
    from gan_export.api import Comparison as Comparison
    from gan_export.api import DistillResult as DistillResult
    from gan_export.api import ExportResult as ExportResult
    from gan_export.api import Generator as Generator
    from gan_export.api import Normal as Normal
    from gan_export.api import ParityError as ParityError
    from gan_export.api import Port as Port
    from gan_export.api import Report as Report
    from gan_export.api import Signature as Signature
    from gan_export.api import Size as Size
    from gan_export.api import TrainResult as TrainResult
    from gan_export.api import Uniform as Uniform
    from gan_export.api import Verification as Verification

__all__ = [
    "CheckFailedError",
    "Checkpoint",
    "Comparison",
    "DistillResult",
    "ExportResult",
    "GanExportError",
    "Generator",
    "HostileFileError",
    "Normal",
    "NotRecognizedError",
    "ParityError",
    "Port",
    "Report",
    "Signature",
    "Size",
    "TrainResult",
    "UnavailableError",
    "Uniform",
    "Verification",
    "dataset",
    "distill",
    "evaluate",
    "export",
    "load",
    "open",
    "register_architecture",
    "register_evaluator",
    "register_format",
    "register_runtime",
    "sample",
    "stream",
    "train",
    "verify",
]

__version__ = "0.1.0"


if not TYPE_CHECKING:  # to a type checker, a name that isn't here is an error

    def __getattr__(name: str) -> Any:
        """Import a public type when it is first used."""
        from gan_export import api

        if name not in api.TYPES:
            raise AttributeError(f"module 'gan_export' has no attribute {name!r}")
        return api.public_type(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
