"""lucidrains' lightweight-gan: keys and arithmetic of its generator."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class Net(nn.Module):
    """What has its layers under `net`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Blur(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", torch.tensor([1.0, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.outer(self.f, self.f)
        wide = F.pad(x.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="reflect")
        return F.conv2d(wide, (taps / taps.abs().sum())[None, None])[:, 0].reshape(x.shape)


class ChannelNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.g, self.b = nn.Parameter(torch.ones(1, width, 1, 1)), nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, 1, unbiased=False, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * self.g + self.b


class Attention(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.heads = 8
        self.to_lin_q = nn.Conv2d(width, inner, 1, bias=False)
        around = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.to_lin_kv = Net(around, nn.Conv2d(width, 2 * inner, 1, bias=False))
        self.to_q = nn.Conv2d(width, inner, 1, bias=False)
        self.to_kv = nn.Conv2d(width, 2 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(2 * inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        out = []
        q, (k, v) = self.to_lin_q(x), self.to_lin_kv(x).chunk(2, 1)
        q, k, v = (part.reshape(n, self.heads, -1, h * w) for part in (q, k, v))
        q = q.softmax(2) / math.sqrt(q.shape[2])
        context = torch.einsum("bhdn,bhen->bhde", k.softmax(3), v)
        out.append(F.gelu(torch.einsum("bhde,bhdn->bhen", context, q).reshape(n, -1, h, w)))
        q, (k, v) = self.to_q(x), self.to_kv(x).chunk(2, 1)
        q = q.reshape(n, self.heads, -1, 1, h * w)
        k, v = (F.unfold(part, 3, padding=1).reshape(n, self.heads, q.shape[2], 9, h * w) for part in (k, v))
        share = ((q * k).sum(2, keepdim=True) / math.sqrt(q.shape[2])).softmax(3)
        out.append((share * v).sum(3).reshape(n, -1, h, w))
        made: Tensor = self.to_out(torch.cat(out, 1))
        return made


class PreNorm(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fn, self.norm = Attention(width, inner), ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fn(self.norm(x))
        return out


def _factors(a: int, between: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, between, 1), nn.LeakyReLU(0.1), nn.Conv2d(between, b, 1), nn.Sigmoid())


class Context(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.to_k = nn.Conv2d(a, 1, 1)
        self.net = _factors(a, max(3, b // 2), b)

    def forward(self, x: Tensor) -> Tensor:
        share = self.to_k(x).flatten(2).softmax(2)
        out: Tensor = self.net((x.flatten(2) * share).sum(2)[:, :, None, None])
        return out


class Frequencies(nn.Module):
    def __init__(self, a: int, b: int, side: int) -> None:
        super().__init__()
        self.register_buffer("dct_weights", torch.zeros(1, a, side, side))
        self.net = _factors(a, max(3, b // 4), b)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net((x * self.dct_weights).sum((2, 3), keepdim=True))
        return out


class Generator(nn.Module):
    """widths: of the layers' results, from 8x8 on.  attention: sides before which it stands.  gates: of which kind."""

    def __init__(
        self, nz: int, widths: list[int], attention: list[int], *, frequencies: bool = False, channels: int = 3
    ) -> None:
        super().__init__()
        self.initial_conv = nn.Sequential(nn.ConvTranspose2d(nz, 2 * nz, 4), nn.BatchNorm2d(2 * nz), Glu())
        self.layers = nn.ModuleList()
        for i, (a, b) in enumerate(zip([nz, *widths[:-1]], widths, strict=True)):
            padded = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(a, 2 * b, 4))
            up = Net(nn.Conv2d(a, 4 * a, 1), nn.SiLU(), nn.PixelShuffle(2))
            parts: list[nn.Module | None] = [
                nn.Sequential(up, Blur(), padded, Noise(), nn.BatchNorm2d(2 * b), Glu()), None, None
            ]  # fmt: skip
            if i >= 1 and i + 3 < len(widths):
                later = widths[i + 3]
                parts[1] = Frequencies(b, later, 8 << i) if frequencies else Context(b, later)
            if 4 << i in attention:
                parts[2] = PreNorm(a, 16)
            self.layers.append(nn.ModuleList(parts))
        self.out_conv = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return images as its script shows them, but in [-1, 1]."""
        x = F.normalize(self.initial_conv(z[:, :, None, None]), dim=1)
        gates: dict[int, Tensor] = {}
        for i, (up, gate, attention) in enumerate(self.layers):
            x = up(x if attention is None else x + attention(x))
            if gate is not None:
                gates[i + 3] = gate(x)
            x = x * gates.get(i, 1)
        return 2 * self.out_conv(x).clamp(0, 1) - 1


def random_lightweight(model: Generator, seed: int = 0) -> Generator:
    """Random values for each parameter and buffer."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            if t.dtype != torch.float32:
                continue
            value = torch.randn(t.shape, generator=draw)
            if name.endswith(("running_var", ".f")):
                value = torch.rand(t.shape, generator=draw) + 0.5
            elif t.ndim == 4 and not name.endswith((".g", ".b")):
                value *= 1.5 / math.sqrt(t[0].numel())
            elif name.endswith("out_conv.bias"):
                value = 0.5 + 0.1 * value
            elif t.ndim == 1 and name.endswith(("bias", "running_mean")):
                value *= 0.3
            t.copy_(value)
    return model.eval()
