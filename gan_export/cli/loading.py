"""How gan-sample's commands load a generator: one set of flags, the same warnings before, the same lines after."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export.cli import common, tables
from gan_export.cli.options import Device, RuntimeName, Strict, Threads, check_device, reads_checkpoints
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.sampling.generator import Generator


@dataclass(frozen=True, slots=True)
class Loading:
    """The settings of a runtime, and the options by which a checkpoint is read."""

    runtime: str | None
    device: str
    threads: int | None
    strict: bool
    overrides: ReadOptions

    def settings(self) -> dict[str, Any]:
        """Return what `open_generator` takes by keyword."""
        return {"runtime": self.runtime, "device": self.device, "threads": self.threads, "strict": self.strict}


_FLAGS: Mapping[str, tuple[Any, Any]] = {  # of the settings of a runtime: type and default
    "runtime": (RuntimeName, None),
    "device": (Device, "cpu"),
    "threads": (Threads, None),
    "strict": (Strict, False),
}


def loads_generators(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `loading: Loading` by one flag per setting."""

    @functools.wraps(command)
    def wrapper(*, overrides: ReadOptions, **arguments: Any) -> None:
        settings = {name: arguments.pop(name) for name in _FLAGS}
        check_device(settings["device"])
        command(loading=Loading(**settings, overrides=overrides), **arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    kept = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "loading"]
    added = [inspect.Parameter(n, keyword, default=d, annotation=t) for n, (t, d) in _FLAGS.items()]
    signature = inspect.Signature([*(p.replace(kind=keyword) for p in kept), *added])
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return reads_checkpoints(wrapper)


@contextlib.contextmanager
def opened(file: Path, loading: Loading, latent_scale: float = 1.0) -> Iterator[Generator]:
    """Load a generator; print the warnings about its file before, and how a checkpoint was read after the block."""
    from gan_export.sampling.opening import open_generator

    common.print_program(file)
    with open_generator(file, loading.overrides, latent_scale=latent_scale, **loading.settings()) as generator:
        common.print_warnings(generator.warnings)
        yield generator
    tables.print_how_read(generator.reading)
