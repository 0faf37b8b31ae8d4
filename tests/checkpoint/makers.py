"""Generators and files that these tests save and read back."""

from __future__ import annotations

import io
import itertools
import pickle
import struct
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.checkpoint import Checkpoint, read
from gan_export.errors import GanExportError

from .guard import nothing_runs


def generator(width: int = 8, nz: int = 12, channels: int = 1, bias: bool = True) -> nn.Sequential:
    """The classic layout, small: nz -> 4w -> 2w -> w -> channels, 32x32."""
    torch.manual_seed(width * 1000 + nz)
    sizes = (nz, 4 * width, 2 * width, width, channels)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.ConvTranspose2d(a, b, 4, 2 if i else 1, 1 if i else 0, bias=bias))
        layers += [nn.BatchNorm2d(b), nn.ReLU()] if i < 3 else [nn.Tanh()]
    net = nn.Sequential(*layers)
    for m in net:
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2)
            nn.init.normal_(m.weight, 1, 0.2)
    return net.eval()


def discriminator(width: int = 8, channels: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
        nn.BatchNorm2d(4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 4),
        nn.Sigmoid(),
    )


def prefixed(state: dict[str, torch.Tensor], prefix: str = "model.") -> dict[str, torch.Tensor]:
    return {prefix + k: v for k, v in state.items()}


def saved(path: Path, value: object, **how: object) -> Path:
    torch.save(value, path, **how)
    return path


def same_weights(checkpoint: Checkpoint, net: nn.Module, tolerance: float = 0.0) -> None:
    """The classic layout's weights, in its order, equal the module's."""
    wanted = [v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")]
    got = list(checkpoint.weights.values())
    assert [tuple(v.shape) for v in wanted] == [g.shape for g in got]
    for have, want in zip(got, wanted, strict=True):
        assert have.dtype == np.float32
        assert have.flags.c_contiguous
        np.testing.assert_allclose(have, want.detach().float().numpy(), rtol=tolerance, atol=tolerance)


def torch_zip(value: bytes, storages: dict[str, bytes] | None = None, extra: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """A file in torch.save's zip format around a pickle written by hand."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", value)
        z.writestr("archive/version", b"3\n")
        for key, raw in (storages or {}).items():
            z.writestr(f"archive/data/{key}", raw)
        for name, raw in extra:
            z.writestr(name, raw)
    return out.getvalue()


def torch_stream(value: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """A file in the format before 1.6 around a pickle written by hand; storages hold float32."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    head = magic + pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    tail = pickle.dumps(list(storages or {}), 2)
    body = b"".join(struct.pack("<q", len(raw) // 4) + raw for raw in (storages or {}).values())
    return head + value + tail + body


FORMATS: dict[str, Callable[[bytes], bytes]] = {"zip": torch_zip, "stream": torch_stream, "plain": lambda raw: raw}


def refused(path: Path, raw: bytes, match: str, kind: type[GanExportError] = GanExportError) -> None:
    """The file is refused in one printable line, in time, with nothing run."""
    path.write_bytes(raw)
    begin = time.process_time()
    with nothing_runs(), pytest.raises(kind, match=match) as info:
        read(path)
    assert str(info.value).isprintable()
    assert time.process_time() - begin < 10


class Calls:
    """Pickles to a call of `function` with `args`, then a state, then items."""

    def __init__(self, function: Any, args: tuple[Any, ...], state: Any = None, items: Any = None) -> None:
        self.parts = (function, args, state, None, items)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts
