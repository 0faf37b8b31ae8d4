"""FastGAN's generator, in the original's form and in Projected GAN's: keys and arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

GATES = {64: 4, 128: 8, 256: 16, 512: 32}


class Glu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * torch.sigmoid(b)


class Noise(nn.Module):
    """Adds planes of `given`, or nothing if there are none left."""

    given: Iterator[Tensor] = iter(())

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        plane = next(Noise.given, None)
        return x if plane is None else x + self.weight * plane


def _conv(a: int, b: int, k: int, padding: int = 0, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Conv2d(a, b, k, padding=padding, bias=bias))


def _up(a: int, b: int, twice: bool) -> nn.Sequential:
    up = [nn.Upsample(scale_factor=2), _conv(a, 2 * b, 3, 1)]
    if not twice:
        return nn.Sequential(*up, nn.BatchNorm2d(2 * b), Glu())
    again = [_conv(b, 2 * b, 3, 1), Noise(), nn.BatchNorm2d(2 * b), Glu()]
    return nn.Sequential(*up, Noise(), nn.BatchNorm2d(2 * b), Glu(), *again)


class Init(nn.Module):
    def __init__(self, nz: int, width: int) -> None:
        super().__init__()
        first = spectral_norm(nn.ConvTranspose2d(nz, 2 * width, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(2 * width), Glu())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.init(z[:, :, None, None])
        return out


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Gate(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.AdaptiveAvgPool2d(4), _conv(a, b, 4), Swish(), _conv(b, b, 1), nn.Sigmoid())

    def forward(self, small: Tensor, big: Tensor) -> Tensor:
        out: Tensor = big * self.main(small)
        return out


class Generator(nn.Module):
    """Channels by side, from 4 up.  size: of the image, with blocks above it that don't run if there are any."""

    def __init__(self, nz: int, widths: dict[int, int], size: int, *, projected: bool = False) -> None:
        super().__init__()
        self.size, self.projected = size, projected
        self.init = Init(nz, widths[4])
        sides = sorted(widths)[1:]
        for side in sides:
            twice = projected or side in (8, 32, 128, 512)
            setattr(self, f"feat_{side}", _up(widths[side // 2], widths[side], twice))
            if side in GATES:
                setattr(self, f"se_{side}", Gate(widths[GATES[side]], widths[side]))
        if not projected and size > 128:
            self.to_128 = _conv(widths[128], 3, 1)
        self.to_big = _conv(widths[size], 3, 3, 1, bias=projected)

    def forward(self, z: Tensor) -> Tensor:
        if self.projected:
            z = z * torch.rsqrt((z * z).mean(1, keepdim=True) + 1e-8)
        x, side = self.init(z), 4
        maps = {4: x}
        while side < self.size:
            side *= 2
            x = getattr(self, f"feat_{side}")(x)
            if side in GATES:
                x = getattr(self, f"se_{side}")(maps[GATES[side]], x)
            maps[side] = x
        out: Tensor = self.to_big(x)
        return torch.tanh(out) if self.size == 1024 and not self.projected else out


def trained_a_little(nz: int, widths: dict[int, int], size: int, *, projected: bool = False) -> Generator:
    """Random parameters and statistics, the same in each call; spectral norm's vectors from a pass in training mode."""
    torch.manual_seed(0)
    model = Generator(nz, widths, size, projected=projected)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Noise):
                module.weight.normal_(0, 0.3)
        model.train()(torch.randn(4, nz))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_var is not None
                module.weight.normal_(1, 0.3)
                module.bias.normal_(0, 0.3)
                module.running_var.add_(torch.rand(module.running_var.shape))
    return model.eval()
