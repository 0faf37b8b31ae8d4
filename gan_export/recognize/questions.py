"""List the options that keys and shapes leave open in many families, with their values and a word for each value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from gan_export.graph.words import Slope

OtherActivation = Literal["silu", "gelu", "selu"]

# 1e-5 is torch's default and 1e-3 is Keras's; 0.1 and 0.8 are momenta that scripts pass as eps by mistake.  An eps
# below 1e-5 has the same effect as 1e-5.
EPS = (1e-5, 1e-3, 0.1, 0.8)
# Slopes for negative inputs: 0 is ReLU, 0.01 is the default of torch's LeakyReLU, and scripts use the others, or ELU.
SLOPES: tuple[Slope, ...] = (0.0, 0.01, 0.1, 0.2, 0.3, "elu")
# Activations that no flag sets.  They are compared with the statistics too, so that another one isn't settled for them.
OTHER_ACTIVATIONS: tuple[OtherActivation, ...] = get_args(OtherActivation)
USUAL = (1e-5, 0.8, 0.0, 0.2)  # common values of eps and slope; these are tried in all combinations
_STATED: Mapping[str, tuple[Any, ...]] = {
    "bn_eps": (1e-5, 0.8),
    "slope": (0.0, 0.01, 0.2, "elu"),
}  # values that a summary names if there is no evidence

VALUES: Mapping[str, tuple[Any, ...]] = {
    "bn_eps": EPS,
    "slope": SLOPES,
    "first_activation": ("off", "on"),
    "output": ("tanh", "sigmoid", "none"),
    "prior": ("normal", "uniform"),
    "upsample": ("nearest", "bilinear"),
    "label_order": ("after", "before"),
}
_WORDS: Mapping[tuple[str, Any], str] = {
    ("first_activation", "off"): "none",
    ("first_activation", "on"): "one",
    ("output", "sigmoid"): "a sigmoid",
    ("label_order", "after"): "after",
    ("label_order", "before"): "before",
    ("classes", 0): "no label takes part",
    ("classes", None): "the label takes part",
    ("slope", "elu"): "ELU",
    ("slope", "silu"): "SiLU (module=)",
    ("slope", "gelu"): "GELU (module=)",
    ("slope", "selu"): "SELU (module=)",
}


def word(option: str, value: Any) -> str:
    """Return a value of an option in words."""
    if isinstance(value, tuple):
        return ", ".join(word(option, v) for v in value)
    if option == "slope" and not isinstance(value, str):
        return f"LeakyReLU {value:g}" if value else "ReLU (slope 0)"
    return _WORDS.get((option, value), str(value))


def others(option: str, taken: Any) -> tuple[str, ...]:
    """Return the other values that an option may have, in words; empty for an option that is not listed here."""
    values = _STATED.get(option, VALUES.get(option, ()))
    return tuple(word(option, v) for v in values if v != taken)


def values(option: str, words: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the values that `words` name, without values that no flag can set."""
    if option == "classes":
        return tuple(v for v in (0,) if word(option, v) in words)
    if option == "image_size":
        return tuple(int(side) for w in words if (side := w.partition("x")[0]).isdigit())
    by_word = {word(option, v): v for v in VALUES.get(option, ())}
    of_layers = (tuple(map(by_word.get, w.split(", "))) for w in words if ", " in w)
    return (*(v for w, v in by_word.items() if w in words), *(each for each in of_layers if None not in each))


def has_flag(value: Any) -> bool:
    """Return whether a flag can set a value, or each of several: none sets one of `OTHER_ACTIVATIONS`."""
    return not any(v in OTHER_ACTIVATIONS for v in (value if isinstance(value, tuple) else (value,)))
