"""Name the kind of a network that no family fits, from the kinds of its layers, their widths and usual names.

The layers of a discriminator without biases have the shapes of a generator's layers in reverse order, so that both can
be read as a chain.  The first and last layers tell them apart, and whether a bias has the length of the weight's first
or second axis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from gan_export.errors import printable
from gan_export.graph.layers import Shape
from gan_export.recognize.state_dict import PICTURE_CHANNELS, Module, State

_OPTIMIZER = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta"}
_FEWEST_PIXELS = 196  # of an image as one row: 14 x 14
_STYLE = re.compile(r"(^|[._])(to_?)?(style|mapping|modulat|ada_?in)", re.IGNORECASE)
_TO_IMAGE = re.compile(r"(^|[._])(to_?)?(rgb|to_?image)", re.IGNORECASE)
_ATTENTION = re.compile(r"(^|[._])(\w*theta|\w*query(_conv)?|to_q(kv)?|q_proj|snconv1x1_theta)$", re.IGNORECASE)
_QKV = re.compile(r"(^|[._])(to_?)?qkv$", re.IGNORECASE)
# Names of the Linears that give an autoencoder's code: fc_mu and fc_logvar, fc21 and fc22 of PyTorch's example.
_CODE = re.compile(
    r"(^|[._])((fc|lin|linear|hidden2?)?_?(mu|mean|(log_?)?(var|sigma|std))|fc2[12])([._]\d+)?$", re.IGNORECASE
)
_AUTOENCODER = "an autoencoder, whose decoder alone is a generator (save the decoder's state dict)"
_LORA = re.compile(r"(^|[._])lora_(a|b|up|down)([._]|$)", re.IGNORECASE)
_TIME = re.compile(r"(^|[._])(time_?(emb\w*|mlp|proj|pos_emb)|t_?emb\w*)([._]|$)", re.IGNORECASE)
_CONDITION = re.compile(r"(^|[._])(gain|embed|gamma_embed|beta_embed|cond\w*)$", re.IGNORECASE)


def classify_non_generator(state: State) -> str | None:
    """Return the kind of a network in words, such as `a discriminator`, if it is none that generates images.

    None if it may be a generator.
    """
    modules = list(state.modules.values())
    if any(_LORA.search(m.path) for m in modules):
        return "a LoRA, which only changes the weights of another network"
    if any(_OPTIMIZER & m.arrays.keys() for m in modules):
        return "an optimizer's state"
    convs = [m for m in modules if m.kind == "conv"]
    linears = [m for m in modules if m.kind == "linear"]
    narrows = all(m.linear[1] <= m.linear[0] for m in linears) and any(m.linear[1] < m.linear[0] for m in linears)
    if narrows and any(m.linear[1] == 1 for m in linears):
        return "a discriminator"
    if not convs and narrows and len(linears) > 1 and max(m.linear[0] for m in linears) >= _FEWEST_PIXELS:
        return "a classifier or an encoder"
    if not any(m.conv[0] <= PICTURE_CHANNELS < m.conv[1] for m in convs) or is_image_to_image(state):
        return None
    if linears:
        return "a classifier or an encoder" if narrows or _ends_flat(state) else None
    if any(m.conv[1] == 1 and m.conv[0] > PICTURE_CHANNELS for m in convs):
        return "a discriminator"
    sides = {m.arrays["bias"][0] == m.conv[1] for m in convs if m.bias and m.conv[0] != m.conv[1]}
    return "a classifier or an encoder" if sides == {True} else None


def _ends_flat(state: State) -> bool:
    """Return whether the first layer takes an image and the last one is a Linear, as in a vision transformer."""
    owners = [m for path in state.order if (m := state.modules[path]).kind in ("conv", "linear")]
    first = owners[0]
    return first.kind == "conv" and first.conv[0] <= PICTURE_CHANNELS < first.conv[1] and owners[-1].kind == "linear"


def is_image_to_image(state: State) -> bool:
    """Return whether the convolutions take an image and give an image in color.

    An output of one channel doesn't count: the network may be a discriminator.
    """
    convs = [m for m in state.modules.values() if m.kind == "conv"]
    takes = any(m.conv[0] <= PICTURE_CHANNELS < m.conv[1] for m in convs)
    return takes and any(1 < m.conv[1] <= PICTURE_CHANNELS < m.conv[0] for m in convs)


def gives_a_code(path: str) -> bool:
    """Return whether a layer gives the mean or the spread of an autoencoder's code, by its name: fc_mu, logvar."""
    return _CODE.search(path) is not None


def describe(state: State) -> str | None:
    """Return the kind of network and a key that shows it; None if it is not a kind that this module knows."""
    modules = list(state.modules.values())
    kinds = (
        ("a recurrent network (an LSTM or a GRU)", (m for m in modules if _has(m, "weight_ih"))),
        ("a diffusion model's network, which takes a time step", _timed(modules)),
        ("a transformer", (m for m in modules if _has(m, "in_proj_weight") or _is_qkv(m))),
        (_AUTOENCODER, _latent_layers(state)),
        ("a style-based generator", _style_based(modules)),
        ("a progressively grown generator, several of whose layers give an image", _grown(modules)),
        ("a network of 3-D convolutions with kernels that are no cubes", _no_cubes(modules)),
        ("an image-to-image network", _first_layer(state)),
    )
    for what, found in kinds:
        if (one := next(iter(found), None)) is not None:
            return f"{what}: {printable(one.key, 80) or 'its weights'}{_shape(one)}"
    return _rows(state)


def first_of_its_kind(state: State) -> str | None:
    """Return, in words, the first layer that no generic family reads; None if there is none.

    Such a layer is an attention, a conditional norm, or a norm without running statistics.
    """
    for path, m in state.modules.items():
        if _ATTENTION.search(path):
            return f"self-attention at {printable(m.key, 80)}"
    for path, m in state.modules.items():
        if _CONDITION.search(path) and m.kind in ("linear", "other"):
            return f"a norm that a label or a code scales, at {printable(m.key, 80)}"
    if any(_CONDITION.search(m.path) for m in state.embeddings[1:]):
        return f"a norm that a label scales, at {printable(state.embeddings[1].key, 80)}"
    without = next((m for m in state.modules.values() if m.lacks_statistics), None)
    if without is not None:
        return f"{printable(without.key, 80)}, a norm that has no running statistics (Layer, Group or instance norm)"
    return None


def _no_cubes(modules: list[Module]) -> Iterable[Module]:
    return (m for m in modules if m.kind == "other" and len(_kernel(m)) == 5)


def _is_qkv(module: Module) -> bool:
    """Return whether a module is the Linear of a transformer that gives queries, keys and values."""
    return module.kind == "linear" and _QKV.search(module.path) is not None


def _latent_layers(state: State) -> Iterable[Module]:
    """Return the layers that give the mean and the spread of an autoencoder's code, if its first layer takes images."""
    first = state.modules[state.order[0]] if state.order else None
    if first is None or not (
        (first.kind == "conv" and first.conv[0] <= PICTURE_CHANNELS < first.conv[1])
        or (first.kind == "linear" and first.linear[0] >= _FEWEST_PIXELS and first.linear[0] > first.linear[1])
    ):
        return ()
    found = [m for m in state.modules.values() if m.kind in ("linear", "conv") and _CODE.search(m.path)]
    return found if len(found) > 1 and len({m.weight for m in found}) == 1 else ()


def _has(module: Module, name: str) -> bool:
    return any(array.startswith(name) for array in module.arrays)


def _kernel(module: Module) -> Shape:
    """Return the shape of a layer's weight; () if the weight is a factor of a normalization."""
    return module.weight if set(module.arrays) <= {"weight", "bias", "weight_orig", "weight_u", "weight_v"} else ()


def _style_based(modules: list[Module]) -> Iterable[Module]:
    found = [m for m in modules if _STYLE.search(m.path)]
    return found if len(found) > 1 else ()


def _timed(modules: list[Module]) -> Iterable[Module]:
    found = [m for m in modules if _TIME.search(m.path)]
    return found if any(m.kind == "conv" for m in modules) else ()


def _grown(modules: list[Module]) -> Iterable[Module]:
    found = [m for m in modules if _TO_IMAGE.search(m.path) and _outputs(m) <= PICTURE_CHANNELS]
    return found if len(found) > 1 else ()


def _outputs(module: Module) -> int:
    return module.weight[0] if len(module.weight) == 4 else PICTURE_CHANNELS + 1


def _first_layer(state: State) -> Iterable[Module]:
    """Yield the layer that takes the image, if the network is from image to image."""
    if is_image_to_image(state):
        yield next(m for m in state.modules.values() if m.kind == "conv" and m.conv[0] <= PICTURE_CHANNELS < m.conv[1])
        return
    ends = [state.modules[path] for path in (state.order[:1] + state.order[-1:])]
    if len(ends) < 2 or any(m.kind != "conv" for m in ends):
        return
    first, last = ends
    # The input may be an image with labels as planes or with a mask; the last layer may be a transposed convolution.
    widens = first.conv[0] < first.conv[1] and (first.kernel % 2 == 1 or first.conv[0] <= PICTURE_CHANNELS)
    if widens and 1 < min(last.weight[:2]) <= PICTURE_CHANNELS:
        yield first


def _rows(state: State) -> str | None:
    """Return a description of a network of Linears whose outputs are not images; None for other networks."""
    kinds = {m.kind for m in state.modules.values()}
    if not kinds <= {"linear", "batchnorm"} or "linear" not in kinds:
        return None
    last = next(state.modules[p] for p in reversed(state.order) if state.modules[p].kind == "linear")
    inside, out = last.linear
    if math.isqrt(out) ** 2 == out or (out % 3 == 0 and math.isqrt(out // 3) ** 2 == out // 3):
        return None
    return f"a network of Linear layers, {printable(last.key, 80)} from {inside} features to {out}, not to an image"


def _shape(module: Module) -> str:
    return f" {module.weight}" if module.weight else ""
