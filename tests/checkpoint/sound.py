"""Small sound checkpoints of every kind that is read, for mutation."""

from __future__ import annotations

import argparse
import io
import pickle
import warnings

import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from .makers import discriminator, generator, prefixed


def _saved(value: object, **how: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **how)
    return out.getvalue()


def files() -> list[tuple[str, bytes]]:
    """Small sound files of every kind that is read."""
    net = generator(width=2, nz=4)
    state = prefixed(net.state_dict())
    both = {**prefixed(state, "generator."), **prefixed(discriminator(2).state_dict(), "discriminator.")}
    adam = torch.optim.Adam(net.parameters()).state_dict()
    config = argparse.Namespace(nz=4, betas=(0.5, 0.999), nested=argparse.Namespace(a={1, 2}))
    full = {
        "netG": state,
        "netD": discriminator(2).state_dict(),
        "G_ema": state,
        "opt": adam,
        "config": config,
        "epoch": 3,
    }
    half = {k: v.to(torch.bfloat16) if v.ndim == 4 else v for k, v in state.items()}
    small = {k: v.to(torch.float8_e5m2) if v.ndim == 4 else v for k, v in state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectral = nn.Sequential(
            *(nn.utils.spectral_norm(m) if isinstance(m, nn.ConvTranspose2d) else m for m in generator(2, 4))
        )
    arrays = {k: v.numpy() for k, v in state.items()}
    stream = {"_use_new_zipfile_serialization": False}
    return [
        ("zip", _saved(state)),
        ("zip, wrapped", _saved(full)),
        ("zip, protocol 4", _saved(full, pickle_protocol=4)),
        ("zip, module", _saved(net)),
        ("zip, spectral", _saved(prefixed(spectral.state_dict()))),
        ("zip, half", _saved(half)),
        ("zip, float8", _saved(small)),
        ("stream", _saved(state, **stream)),
        ("stream, wrapped", _saved(full, **stream)),
        ("stream, module", _saved(net, **stream)),
        ("stream, lightning", _saved({"state_dict": both, "hyper_parameters": config}, **stream)),
        ("safetensors", save_safetensors({k: v.clone() for k, v in state.items()})),
        ("pickle, arrays", pickle.dumps(arrays, 2)),
        ("pickle, arrays, protocol 0", pickle.dumps(arrays, 0)),
        ("pickle, arrays, protocol 5", pickle.dumps(arrays, 5)),
        ("pickle, tensors", pickle.dumps(state, 4)),
    ]
