"""The reading that a family has built, as a whole: refused if a key or an option has no place in it."""

from __future__ import annotations

import re
from dataclasses import replace

from gan_export.errors import GanExportError, UnusedOptionError, printable
from gan_export.graph.ports import Port
from gan_export.graph.signature import Signature
from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.words import Prior
from gan_export.recognize.draft import Draft
from gan_export.recognize.options import Match
from gan_export.recognize.state_dict import PICTURE_CHANNELS, DoesNotFitError


def reading(draft: Draft) -> Match:
    """Return the reading.

    Raises DoesNotFitError if a module has no place, and UnusedOptionError if an override decided nothing.
    """
    prior = draft.family.prior
    if not draft.ports:
        prior = draft.choice("prior", draft.family.prior, "the distribution of the latents")
    if left := left_over(draft):
        raise DoesNotFitError(f"{len(left)} of the arrays have no place")
    shape = draft.shape
    if len(shape) not in (2, 3, 4) or shape[0] > PICTURE_CHANNELS:
        raise DoesNotFitError(f"the last layer gives {shape}, not an image, a volume or a signal")
    size = draft.overrides.image_size
    if size is not None and "image_size" not in draft.used_overrides and set(shape[1:]) != {size}:
        only = "x".join(map(str, reversed(shape[1:])))
        raise GanExportError(f"image_size={size}: these keys and shapes give only {only}")
    for option, lacks in _NEEDS.items():
        if getattr(draft.overrides, option) is not None and option not in draft.used_overrides:
            raise UnusedOptionError(f"{option}=: {draft.family.name} as it is in this file has {lacks}")
        given = getattr(draft.overrides, option) if option in _PER_LAYER else None
        if isinstance(given, tuple) and draft.placed.get(option, 0) != len(given):
            raise GanExportError(
                f"{option}=: {len(given)} values, this generator has {draft.placed.get(option, 0)} such layers"
            )
    if draft.overrides.psi_input and "psi_input" not in draft.used_overrides:
        raise GanExportError(f"psi_input=True: {draft.family.name} as it is in this file has no w to truncate")
    if draft.overrides.raw and "raw" not in draft.used_overrides:
        raise GanExportError(f"raw=True: {draft.family.name} as it is in this file ends in no sigmoid; leave it out")
    spec = GeneratorSpec(draft.family.name, _signature(draft, prior), tuple(draft.chain), tuple(draft.images.values()))
    if draft.first_part:
        spec = _first_part(draft, spec.signature)
    notes = (*(("a generic reading: no known layout has these keys",) if draft.family.generic else ()), *draft.notes)
    wanted = spec.parameters()
    keys = {p: key for p, key in draft.keys.items() if p in wanted}
    derived = {p: how for p, how in draft.derived.items() if p in wanted}
    return Match(
        spec, keys, tuple(draft.assumed), tuple(draft.alternatives),
        ignored=(*draft.state.counters, *draft.idle), notes=notes,
        derived=derived, chosen=draft.chosen, settled=draft.settled,
    )  # fmt: skip


def _first_part(draft: Draft, whole: Signature) -> GeneratorSpec:
    """Return the spec of the part "mapping": the layers from z to ws."""
    layers = tuple(draft.chain)[: draft.first_part]
    rows = Port("ws", "values", draft.shapes[layers[-1].name])
    return GeneratorSpec(draft.family.name, Signature(whole.inputs, (rows,)), layers)


def _signature(draft: Draft, prior: Prior) -> Signature:
    if draft.ports:
        image = draft.image or Port("image", "image", draft.shape, range=draft.range)
        free = Signature(draft.ports, (image,), draft.free)
        return free if draft.overrides.size is None else free.fixed(_fixed_sizes(draft, draft.overrides.size))
    if draft.overrides.size is not None:
        raise GanExportError(f"size=: {draft.family.name} has images of one size; leave it out")
    one = Signature.of_latent(draft.shapes["z"][0], prior, draft.shape, draft.classes, draft.range)
    if not draft.images:
        return one
    outputs = tuple(replace(one.outputs[0], name=name) for name in draft.images)
    return Signature(one.inputs, outputs)


def _fixed_sizes(draft: Draft, text: str) -> dict[str, int]:
    """Return the height and width of `size`, "HxW"."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if match is None or set(draft.free) != {"H", "W"}:
        raise GanExportError(f"size={printable(text, 40)}: a height and a width, such as 256x512")
    return {"H": int(match[1]), "W": int(match[2])}


def left_over(draft: Draft) -> tuple[str, ...]:
    """Return the file's keys that no layer has."""
    return _keys_outside(draft, draft.used)


def nearness(draft: Draft) -> float:
    """Return the mean of two shares of the file's keys, 0 to 1: of keys placed, and of keys placed or looked up."""
    absent = len(left_over(draft)) + len(_keys_outside(draft, draft.used | draft.named))
    return 1 - absent / (2 * max(draft.state.size, 1))


def unknown(draft: Draft) -> tuple[str, ...]:
    """Return the file's keys that the family never looked up."""
    return _keys_outside(draft, draft.used | draft.seen)


def _keys_outside(draft: Draft, known: set[str]) -> tuple[str, ...]:
    modules = (*draft.state.modules.values(), *draft.state.embeddings)
    keys = [key for m in modules if m.key not in known for key in m.keys().values()]
    return tuple(key for key in (*keys, *sorted(draft.state.scalars)) if key not in draft.used_keys)


_NEEDS = {
    "bn_eps": "no BatchNorm",
    "slope": "no hidden activation",
    "first_activation": "no place behind a first Linear",
    "output": "no choice of a last activation",
    "upsample": "no interpolation",
    "label_order": "no label beside z",
    "norm": "no choice of BatchNorm's statistics",
    "dropout": "no dropout that its keys or its family show",
    "classes": "no place for a label",
    "psi": "no w to truncate, and no statistics by truncation",
    "cutoff": "no w to truncate",
    "input": "no choice of inputs",
    "part": "no two parts, from z to w and from w to an image",
    "noise": "no noise",
    "translate": "no Fourier features to move",
    "rotate": "no Fourier features to turn",
}
_PER_LAYER = ("bn_eps", "slope")  # options that may have a value for each layer
