"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

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
Count = Annotated[int, typer.Option("-n", "--count", help="Number of images.")]
Start = Annotated[int, typer.Option("--start", help="Index of the first image.")]
Label = Annotated[
    str | None, typer.Option("--label", "--class", help="Number of a label, or all.", show_default="random")
]
LatentScale = Annotated[
    float, typer.Option("--latent-scale", help="Multiply latents by this, 0 to 1; smaller values vary less.")
]
RuntimeName = Annotated[
    str | None, typer.Option("--runtime", help="Runtime to use.  The default is the first that can run the file.")
]
GeneratorFile = Annotated[Path, typer.Argument(help="A checkpoint or an export; recognized by its content.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Where to write.", show_default=False)]

# Settings that a checkpoint may lack: a flag per field of ReadOptions.
_HELP = {
    "arch": "Read the checkpoint as this family.",
    "key": "Key of the state dict in the file.",
    "bn_eps": "eps of BatchNorm: one for all, or one for each, such as 1e-5,0.8,0.8.",
    "slope": "Slope of LeakyReLU, 0 for ReLU, or elu: one for all, or one for each.",
    "first_activation": "An activation behind the first Linear: on or off.",
    "output": "Last activation: tanh, sigmoid or none.",
    "prior": "Distribution of the latents: normal or uniform.",
    "upsample": "How images are enlarged: nearest or bilinear.",
    "image_size": "Image size, if several fit the file.",
    "classes": "Number of classes, if labels are one-hot; 0 if no label takes part, though there is an embedding.",
    "label_order": "Whether features that are joined (a label's, or an earlier layer's) come after or before.",
    "norm": "BatchNorm by the statistics of each image, or by the stored ones: image or stored.",
    "dropout": "Dropout off, or on by seed and index: off or seed.",
    "size": "Fix the size of the images, HEIGHTxWIDTH, for a generator that takes any.",
    "psi": "Truncation of a style-based generator: w moves to its mean; 1 leaves it.  Also of Hugging Face's BigGAN.",
    "cutoff": "How many of the layers' w --psi changes.",
    "psi_input": "Keep psi as an input of the export.",
    "input": "What a style-based generator starts from: z, w, or ws (a w for each layer).",
    "part": "One part of a style-based generator: mapping (z to ws), or synthesis (ws to the image).",
    "noise": "What a style-based generator adds: const (stored), none, or seed (an input per layer).",
    "translate": "Move the images of a StyleGAN3 by X,Y, in sides of the image.",
    "rotate": "Turn the images of a StyleGAN3 by this many degrees.",
    "raw": "Keep the model's own range of values; don't rescale to [-1, 1].",
}


def reads_checkpoints(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `overrides: ReadOptions` by one flag per field."""
    hints = get_type_hints(ReadOptions)
    own = inspect.signature(command).parameters  # a field that the command reads itself

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        given = {f.name: arguments.pop(f.name) for f in fields(ReadOptions) if f.name not in own}
        for name, value in given.items():
            if isinstance(value, str) and _is_per_layer(hints[name]):
                given[name] = _each(name, value, _words(hints[name]))
            else:
                _check_word(name, value, hints[name])
        command(overrides=ReadOptions(**given), **arguments)

    kept = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "overrides"]
    added = []
    for f in (f for f in fields(ReadOptions) if f.name not in own):
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
    """Raise GanExportError for an unknown device."""
    if name not in ("cpu", "cuda"):
        raise GanExportError(f"--device {name}: must be cpu or cuda")


def parse_label(text: str | None) -> int | Literal["random", "all"]:
    """Return the value of --label."""
    if text is None:
        return "random"
    if text == "all":
        return "all"
    if text.isdecimal() and len(text) < 20:
        return int(text)
    raise GanExportError(f"--label {text}: must be the number of a label, or all")


def _words(hint: Any) -> tuple[str, ...]:
    """Return the strings of a Literal or an optional Literal; empty for other types."""
    found = [w for part in (hint, *get_args(hint)) for w in get_args(part) if isinstance(w, str)]
    return tuple(dict.fromkeys(found))


def _plain(hint: Any) -> Any:
    """Return the hint for typer: a string for what is checked here, for a better message."""
    return str | None if _words(hint) or _is_per_layer(hint) else hint


def _is_per_layer(hint: Any) -> bool:
    """Return whether a number may be given for each layer."""
    return any(get_origin(part) is tuple for part in get_args(hint))


def _each(name: str, text: str, words: tuple[str, ...]) -> float | str | tuple[float | str, ...]:
    """Return the numbers, or the words that the flag takes, between the commas."""
    try:
        values = tuple(part if part in words else float(part) for part in text.split(","))
    except ValueError:
        either = "".join(f" or {word}" for word in words)
        raise GanExportError(
            f"--{name.replace('_', '-')} {text}: a number{either}, or several with commas between"
        ) from None
    return values[0] if len(values) == 1 else values


def _check_word(name: str, value: Any, hint: Any) -> None:
    words = _words(hint)
    if value is not None and words and value not in words:
        raise GanExportError(f"--{name.replace('_', '-')} {value}: must be one of {', '.join(words)}")
