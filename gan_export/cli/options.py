"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from gan_export.errors import GanExportError
from gan_export.recognize.options import ReadOptions

Seed = Annotated[int, typer.Option("--seed", help="0 to 2^64-1. The seed and the index determine each image.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Threads of the runtime.", show_default="its own default", min=1)
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a checkpoint that is ambiguous, or that names code to run."),
]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Where to write.", show_default=False)]

# What a checkpoint doesn't say and a user can: a flag for each field of Overrides.
_HELP = {
    "arch": "Read the checkpoint as this family.",
    "key": "Key of the state dict in the file.",
    "bn_eps": "eps of BatchNorm.",
    "slope": "Slope of LeakyReLU; 0 for ReLU.",
    "output": "Last activation: tanh, sigmoid or none.",
    "prior": "Distribution of the latents: normal or uniform.",
    "upsample": "How images are enlarged: nearest or bilinear.",
    "image_size": "Image size, if several fit the file.",
    "classes": "Number of classes, if labels are one-hot.",
    "label_order": "Whether the label's features come after z or before it.",
    "raw": "Keep the model's own range of values; don't rescale to [-1, 1].",
}


def reads_checkpoints(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `overrides: Overrides` a flag for each of its fields instead."""
    hints = get_type_hints(ReadOptions)

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        given = {f.name: arguments.pop(f.name) for f in fields(ReadOptions)}
        for name, value in given.items():
            _check_word(name, value, hints[name])
        command(overrides=ReadOptions(**given), **arguments)

    kept = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "overrides"]
    added = []
    for f in fields(ReadOptions):
        option = typer.Option(f"--{f.name.replace('_', '-')}", help=_HELP[f.name], show_default=False)
        plain = _plain(hints[f.name])
        annotation: Any = Annotated[plain, option]
        added.append(
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=annotation)
        )
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept] + added
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def check_device(name: str) -> None:
    """Raises GanExportError for a device that isn't one."""
    if name not in ("cpu", "cuda"):
        raise GanExportError(f"--device {name}: cpu and cuda are possible")


def _words(hint: Any) -> tuple[str, ...]:
    """The strings that a Literal, or None beside it, allows; none for another type."""
    found = [w for part in (hint, *get_args(hint)) for w in get_args(part) if isinstance(w, str)]
    return tuple(dict.fromkeys(found))


def _plain(hint: Any) -> Any:
    """The hint as typer takes it: a Literal as a string, checked here with a message of our own."""
    return str | None if _words(hint) else hint


def _check_word(name: str, value: Any, hint: Any) -> None:
    words = _words(hint)
    if value is not None and words and value not in words:
        raise GanExportError(f"--{name.replace('_', '-')} {value}: {', '.join(words)} are possible")
