"""Generators of volumes and of signals, restated: 3D-GAN of three repositories, and WaveGAN."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export.recognize import ReadOptions
from tests.originals.common import Original


class Layers(nn.Module):
    """rimchang's and xchhuang's: `layer1` to `layer5`; of a side of 32, the first layer has a padding."""

    def __init__(self, width: int, side: int, bias: bool, nz: int = 12, last: nn.Module | None = None) -> None:
        super().__init__()
        channels = [nz, 8 * width, 4 * width, 2 * width, width]
        for i, (a, b) in enumerate(itertools.pairwise(channels), 1):
            padding = 1 if side == 32 or i > 1 else 0
            conv = nn.ConvTranspose3d(a, b, 4, 2, padding, bias=bias)
            self.add_module(f"layer{i}", nn.Sequential(conv, nn.BatchNorm3d(b), nn.ReLU()))
        end = last or nn.Sigmoid()
        self.layer5 = nn.Sequential(nn.ConvTranspose3d(width, 1, 4, 2, 1, bias=bias), end)

    def forward(self, z: Tensor) -> Tensor:
        x = z.view(len(z), -1, 1, 1, 1)
        for i in range(1, 6):
            x = getattr(self, f"layer{i}")(x)
        return x


class Projected(nn.Module):
    """black0017's: a Linear to the first volume, and four layers that double it."""

    def __init__(self, width: int, side: int = 32, nz: int = 12) -> None:
        super().__init__()
        self.first = (8 * width, side // 16, side // 16, side // 16)
        self.linear = nn.Linear(nz, 8 * width * (side // 16) ** 3)
        for i, (a, b) in enumerate(itertools.pairwise([8 * width, 4 * width, 2 * width, width]), 1):
            conv = nn.ConvTranspose3d(a, b, 4, 2, 1, bias=False)
            self.add_module(f"conv{i}", nn.Sequential(conv, nn.BatchNorm3d(b), nn.ReLU()))
        self.conv4 = nn.Sequential(nn.ConvTranspose3d(width, 1, 4, 2, 1, bias=False))
        self.out = nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z).view(-1, *self.first)
        for i in range(1, 5):
            x = getattr(self, f"conv{i}")(x)
        y: Tensor = self.out(x)
        return y


class Stretch(nn.Module):
    """A layer of mostafaelaraby's WaveGAN: transposed, or behind nearest-neighbor upsampling and a padding."""

    def __init__(self, inside: int, out: int, enlarged: bool, norm: bool, stride: int) -> None:
        super().__init__()
        self.enlarged = enlarged
        ops: list[nn.Module] = [nn.ConvTranspose1d(inside, out, 25, 4, 11, 1)]
        if enlarged:
            ops = [nn.ConstantPad1d(12, 0.0), nn.Conv1d(inside, out, 25, stride)]
        self.transpose_ops = nn.Sequential(*ops, *([nn.BatchNorm1d(out)] if norm else []))

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarged:
            x = F.interpolate(x, scale_factor=4, mode="nearest")
        y: Tensor = self.transpose_ops(x)
        return y


class Wave(nn.Module):
    """mostafaelaraby's WaveGAN, of as many layers as given; `bn1` is made even if it isn't used."""

    def __init__(
        self, width: int, layers: int = 2, *, enlarged: bool = False, norm: bool = False, last: int = 1
    ) -> None:
        super().__init__()
        self.norm, self.channels = norm, width << (layers - 1)
        self.fc1 = nn.Linear(12, 16 * self.channels)
        self.bn1 = nn.BatchNorm1d(self.channels)
        widths = [self.channels >> i for i in range(layers)]
        hidden = [Stretch(a, b, enlarged, norm, 1) for a, b in itertools.pairwise(widths)]
        self.deconv_list = nn.ModuleList([*hidden, Stretch(width, 1, enlarged, False, last)])

    def forward(self, z: Tensor) -> Tensor:
        x = self.fc1(z).view(-1, self.channels, 16)
        x = F.relu(self.bn1(x) if self.norm else x)
        for layer in self.deconv_list[:-1]:
            x = F.relu(layer(x))
        return torch.tanh(self.deconv_list[-1](x))


def flat(nz: int, channels: list[int], conv: Any, norm: Any, end: nn.Module) -> nn.Sequential:
    """One Sequential of transposed convolutions with kernels of 4, as many tutorials have it."""
    layers: list[nn.Module] = [conv(nz, channels[0], 4, 1, 0, bias=False)]
    for a, b in itertools.pairwise(channels):
        layers += [norm(a), nn.ReLU(), conv(a, b, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, end)


class Flat(nn.Module):
    """`main.0`, `main.1`, ... on one voxel or one value."""

    def __init__(self, net: nn.Sequential, dims: int) -> None:
        super().__init__()
        self.main, self.dims = net, dims

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.main(z.view(*z.shape[:2], *(1,) * self.dims))
        return y


class Enlarged(nn.Module):
    """A Linear, and Upsample and Conv in turn, with the numbers of a Sequential: read by the order of the keys."""

    def __init__(self, width: int, dims: int, mode: str) -> None:
        super().__init__()
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if dims == 3 else (nn.Conv1d, nn.BatchNorm1d)
        self.first = (2 * width, *(4,) * dims)
        self.stem = nn.Linear(12, 2 * width * 4**dims)
        self.body = nn.Sequential(
            norm(2 * width), nn.Upsample(scale_factor=2, mode=mode), conv(2 * width, width, 3, 1, 1), norm(width),
            nn.ReLU(), nn.Upsample(scale_factor=2, mode=mode), conv(width, 1, 3, 1, 1),
            nn.Sigmoid() if dims == 3 else nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.body(self.stem(z).view(-1, *self.first))
        return y


def halving(channels: list[int], conv: Any, norm: Any) -> nn.Sequential:
    """A discriminator of volumes or signals."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        layers += [conv(a, b, 4, 2, 1, bias=False), *([norm(b)] if i else []), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, conv(channels[-1], 1, 4, bias=False), nn.Sigmoid())


UNIT = (0.0, 1.0)
ROWS = (
    Original("gan3d-32", lambda w: Layers(w, 32, bias=False), 2, 3, 12, (1, 32, 32, 32), "vector", range=UNIT),
    Original("gan3d-64", lambda w: Layers(w, 64, bias=True), 64, 64, 12, (1, 64, 64, 64), "vector", range=UNIT),
    Original(
        "gan3d-32-tanh", lambda w: Layers(w, 32, bias=True, last=nn.Tanh()), 2, 3, 12, (1, 32, 32, 32), "vector",
        overrides=ReadOptions(output="tanh"),
    ),
    Original("gan3d-projected", Projected, 2, 4, 12, (1, 32, 32, 32), "vector", range=UNIT),
    Original(
        "volume-flat", lambda w: Flat(flat(12, [2 * w, w, 1], nn.ConvTranspose3d, nn.BatchNorm3d, nn.Sigmoid()), 3),
        2, 3, 12, (1, 16, 16, 16), range=UNIT,
    ),
    Original("volume-enlarged", lambda w: Enlarged(w, 3, "nearest"), 2, 3, 12, (1, 16, 16, 16), "vector", range=UNIT),
    Original(
        "volume-trilinear", lambda w: Enlarged(w, 3, "trilinear"), 2, 3, 12, (1, 16, 16, 16), "vector", range=UNIT,
        overrides=ReadOptions(upsample="bilinear"),
    ),
    Original("wavegan", Wave, 2, 3, 12, (1, 256), "vector"),
    Original("wavegan-enlarged", lambda w: Wave(w, enlarged=True, norm=True), 2, 3, 12, (1, 256), "vector"),
    Original(
        "wavegan-32768", lambda w: Wave(w, 6, enlarged=True, last=2), 1, 1, 12, (1, 32768), "vector",
        overrides=ReadOptions(image_size=32768),
    ),
    Original(
        "signal-flat", lambda w: Flat(flat(12, [2 * w, w, 1], nn.ConvTranspose1d, nn.BatchNorm1d, nn.Tanh()), 1),
        2, 3, 12, (1, 16),
    ),
    Original("signal-enlarged", lambda w: Enlarged(w, 1, "nearest"), 2, 3, 12, (1, 16), "vector"),
)  # fmt: skip
CRITICS = {
    "volume": lambda: halving([1, 8, 16, 32], nn.Conv3d, nn.BatchNorm3d),
    "signal": lambda: halving([1, 8, 16, 32], nn.Conv1d, nn.BatchNorm1d),
}
