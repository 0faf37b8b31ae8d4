"""Read the options that a training script wrote next to its weights, as data.

junyanz's `train_opt.txt` and `test_opt.txt` have lines `name: value`, some with `[default: ...]` at the end; only names
that concern the generator are used.  gan-train's `recipe.json` settles the settings that all its generators share.
The `config.json` of Hugging Face's BigGAN has its eps, and which blocks double the size.
Other lines, and files of another kind, are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_export._lib import plaindata
from gan_export.errors import GanExportError, printable
from gan_export.recognize.options import Match, ReadOptions, option_of

NAMES = ("train_opt.txt", "test_opt.txt")  # if both have an option, the second file wins
_KNOWN = ("netG", "norm", "no_dropout", "direction", "load_size", "crop_size", "eval")
RECIPE = "recipe.json"
# Settings of every generator of gan-train (`training.models.Generator`), by the names in `ReadOptions`.
TRAINED_HERE: Mapping[str, Any] = {
    "slope": 0.0, "bn_eps": 1e-5, "output": "tanh", "prior": "normal", "label_order": "after",
}  # fmt: skip
_SECTIONS = {"data", "generator", "discriminator", "loss", "optimizer", "augment", "ema", "train"}  # of a recipe
_HUB = "biggan_huggingface"
CONFIG = "config.json"
_HUB_EPS, _HUB_UPS = "eps of Hugging Face's BigGAN", "blocks of Hugging Face's BigGAN that double the size"
_LATENT = "latent of gan-train"
_MOST = 1 << 16  # bytes of a file
_LINE = re.compile(r"[ \t]{0,200}([A-Za-z_]{1,40}):[ \t]{0,200}([^\[\n]{0,200})")


def read_beside(path: Path) -> dict[str, str]:
    """Return the options in the folder of the file `path`, or in the folder `path` itself, by name; {} for none."""
    if path.is_dir():
        return _hub(path / CONFIG)
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
    return found | _recipe(path.parent / RECIPE) | _hub(path.parent / CONFIG)


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


def _hub(file: Path) -> dict[str, str]:
    """Return what a BigGAN's `config.json` says that its keys don't show."""
    try:
        with open(file, "rb") as f:
            data = plaindata.from_json(f.read(_MOST))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or "attention_layer_position" not in data:
        return {}
    eps, layers = data.get("eps"), data.get("layers")
    found = {}
    if type(eps) is float and 0 < eps < 1:
        found[_HUB_EPS] = repr(eps)
    if isinstance(layers, list) and all(isinstance(la, list) and la for la in layers):
        found[_HUB_UPS] = "".join("1" if la[0] is True else "0" for la in layers)
    return found


def settled(reading: Match, overrides: ReadOptions, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the open choices that a file next to the checkpoint settles, by their names in `ReadOptions`.

    {} if there is none, or if a recipe of gan-train has another length of latents.
    """
    if reading.spec.arch == _HUB:
        return _settled_by_config(reading, overrides, options)
    latents = reading.spec.signature.inputs_of("latent")
    if reading.spec.arch != "dcgan" or len(latents) != 1 or options.get(_LATENT) != str(latents[0].shape[0]):
        return {}
    open_here = {option_of(a.option) for a in reading.unsettled}
    return {o: v for o, v in TRAINED_HERE.items() if o in open_here and getattr(overrides, o) is None}


def _settled_by_config(reading: Match, overrides: ReadOptions, options: Mapping[str, str]) -> dict[str, Any]:
    ups = options.get(_HUB_UPS)
    names = {la.name for la in reading.spec.layers}
    blocks = sorted(int(m[1]) for name in names if (m := re.fullmatch(r"block(\d+)", name)))
    found = "".join("1" if f"block{i}_up" in names else "0" for i in blocks)
    if ups is not None and ups != found:
        raise GanExportError(f"{CONFIG} says that other blocks double the size than it's read with: not read")
    eps = options.get(_HUB_EPS)
    return {} if eps is None or overrides.bn_eps is not None else {"bn_eps": float(eps)}


def source_of(reading: Match) -> str:
    """Return the name of the file that `settled` takes the choices from."""
    return CONFIG if reading.spec.arch == _HUB else f"gan-train's {RECIPE}"


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
