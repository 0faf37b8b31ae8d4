"""Read the options that a training script wrote next to its weights, as data.

junyanz's `train_opt.txt` and `test_opt.txt` have lines `name: value`, some with `[default: ...]` at the end; only names
that concern the generator are used.  gan-train's `recipe.json` settles the settings that all its generators share.
Other lines, and files of another kind, are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_export._lib import plaindata
from gan_export.errors import printable
from gan_export.recognize.options import Match, ReadOptions, option_of

NAMES = ("train_opt.txt", "test_opt.txt")  # if both have an option, the second file wins
_KNOWN = ("netG", "norm", "no_dropout", "direction", "load_size", "crop_size", "eval")
RECIPE = "recipe.json"
# Settings of every generator of gan-train (`training.models.Generator`), by the names in `ReadOptions`.
TRAINED_HERE: Mapping[str, Any] = {
    "slope": 0.0, "bn_eps": 1e-5, "output": "tanh", "prior": "normal", "label_order": "after",
}  # fmt: skip
_SECTIONS = {"data", "generator", "discriminator", "loss", "optimizer", "augment", "ema", "train"}  # of a recipe
_LATENT = "latent of gan-train"
_MOST = 1 << 16  # bytes of a file
_LINE = re.compile(r"[ \t]{0,200}([A-Za-z_]{1,40}):[ \t]{0,200}([^\[\n]{0,200})")


def read_beside(path: Path) -> dict[str, str]:
    """Return the options in the folder of the file `path`, by name; {} if it has none, or if `path` is a folder."""
    found: dict[str, str] = {}
    for name in NAMES:
        try:
            with open(path.parent / name, "rb") as f:
                text = f.read(_MOST).decode("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            match = _LINE.match(line)
            if match and match[1] in _KNOWN:
                found[match[1]] = printable(match[2].strip(), 40)
    return found | _recipe(path.parent / RECIPE)


def _recipe(file: Path) -> dict[str, str]:
    try:
        with open(file, "rb") as f:
            data = plaindata.from_json(f.read(_MOST))
    except (OSError, ValueError):
        return {}
    if not (isinstance(data, dict) and data.keys() >= _SECTIONS and isinstance(data["generator"], dict)):
        return {}
    nz = data["generator"].get("nz")
    return {_LATENT: str(nz)} if type(nz) is int else {}


def settled(reading: Match, overrides: ReadOptions, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the open choices that gan-train's recipe next to the file settles, by their names in `ReadOptions`.

    {} if there is no recipe, or if it has another length of latents.
    """
    latents = reading.spec.signature.inputs_of("latent")
    if reading.spec.arch != "dcgan" or len(latents) != 1 or options.get(_LATENT) != str(latents[0].shape[0]):
        return {}
    open_here = {option_of(a.option) for a in reading.unsettled}
    return {o: v for o, v in TRAINED_HERE.items() if o in open_here and getattr(overrides, o) is None}


def calls_eval(options: Mapping[str, str]) -> bool:
    """Return whether the script calls eval(), and so uses BatchNorm's stored statistics."""
    return options.get("eval") == "True"


def describe(options: Mapping[str, str]) -> str:
    """Return the options in words."""
    words = [
        f"{name} {options[name]}" for name in ("netG", "norm", "direction", "load_size", "crop_size") if name in options
    ]
    match options.get("no_dropout"):
        case "True":
            words.append("no dropout")
        case "False":
            words.append("dropout, which its test.py leaves on (dropout=seed)")
    words += ["eval() called"] if calls_eval(options) else []
    return f"the options beside the file say: {', '.join(words)}" if words else ""
