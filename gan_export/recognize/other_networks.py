"""What else a state dict may be.

Told by what goes in and what comes out, not by names: a generator and its mirror image, a discriminator without
biases, chain alike, so it is the far ends that count, and which of its two sides a bias is as long as.
"""

from __future__ import annotations

from gan_export.recognize.state_dict import PICTURE_CHANNELS, State

_OPTIMISER = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta"}


def classify_non_generator(state: State) -> str | None:
    """`a discriminator`, `a classifier or an encoder`, `an optimiser's state`; None where nothing says so."""
    modules = list(state.modules.values())
    if any(_OPTIMISER & m.arrays.keys() for m in modules):
        return "an optimiser's state"
    convs = [m for m in modules if m.kind == "conv"]
    linears = [m for m in modules if m.kind == "linear"]
    takes_picture = any(m.conv[0] <= PICTURE_CHANNELS < m.conv[1] for m in convs)
    if any(m.linear[1] == 1 for m in linears) and all(m.linear[1] < m.linear[0] for m in linears):
        return "a discriminator"
    if not takes_picture:
        return None
    if linears:
        return "a classifier or an encoder" if all(m.linear[1] < m.linear[0] for m in linears) else None
    if any(m.conv[1] == 1 and m.conv[0] > PICTURE_CHANNELS for m in convs):
        return "a discriminator"
    sides = {m.arrays["bias"][0] == m.conv[1] for m in convs if m.bias and m.conv[0] != m.conv[1]}
    return "a classifier or an encoder" if sides == {True} else None
