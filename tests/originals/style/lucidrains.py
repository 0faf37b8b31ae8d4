"""lucidrains' stylegan2-pytorch: keys and arithmetic of its style vectorizer and its generator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.style.lightweight import Blur, ChannelNorm, Net

LATE = 0.1


class Styles(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        pairs = ((nn.Linear(width, width), nn.LeakyReLU(0.2)) for _ in range(depth))
        self.net = nn.Sequential(*(layer for pair in pairs for layer in pair))

    def forward(self, z: Tensor) -> Tensor:
        x = z / z.norm(dim=1, keepdim=True)
        for layer in self.net[::2]:  # type: ignore[attr-defined]
            x = F.leaky_relu(F.linear(x, layer.weight * LATE, layer.bias * LATE), 0.2)
        return x


def modulated(conv: nn.Conv2d, x: Tensor, style: Tensor, *, demodulate: bool = True) -> Tensor:
    """One image after another, each with a weight of its own."""
    made = []
    for one, s in zip(x, style, strict=True):
        weight = conv.weight * (s + 1)[None, :, None, None]
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        made.append(F.conv2d(one[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(made)


def bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Linear(nn.Module):
    """Linear attention, before keys and values a depthwise convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 16
        self.to_q = nn.Conv2d(width, inner, 1, bias=False)
        around = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.to_kv = Net(around, nn.Conv2d(width, 2 * inner, 1, bias=False))
        self.to_out = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(1, (8, -1)).flatten(3) for t in (self.to_q(x), *self.to_kv(x).chunk(2, 1)))
        context = torch.einsum("bhdn,bhen->bhde", k.softmax(3), v)
        out = torch.einsum("bhdn,bhde->bhen", q.softmax(2) / math.sqrt(q.shape[2]), context)
        made: Tensor = self.to_out(F.gelu(out.flatten(1, 2).unflatten(2, x.shape[2:])))
        return made


class Residual(nn.Module):
    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Module()
        self.fn.fn, self.fn.norm = inner, ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fn.fn(self.fn.norm(x))  # type: ignore[operator]
        return x + made


class ToImage(nn.Module):
    def __init__(self, latent: int, width: int, *, up: bool) -> None:
        super().__init__()
        self.to_style = nn.Linear(latent, width)
        self.conv = nn.Conv2d(width, 3, 1, bias=False)
        self.upsample = nn.Sequential(nn.Identity(), Blur()) if up else None


class Block(nn.Module):
    def __init__(self, latent: int, a: int, b: int, *, up: bool) -> None:
        super().__init__()
        self.to_style1, self.to_noise1, self.conv1 = (
            nn.Linear(latent, a),
            nn.Linear(1, b),
            nn.Conv2d(a, b, 3, bias=False),
        )
        self.to_style2, self.to_noise2, self.conv2 = (
            nn.Linear(latent, b),
            nn.Linear(1, b),
            nn.Conv2d(b, b, 3, bias=False),
        )
        self.to_rgb = ToImage(latent, b, up=up)


class Generator(nn.Module):
    def __init__(self, latent: int, widths: list[int], attention: tuple[int, ...], *, constant: bool) -> None:
        super().__init__()
        first = widths[0]
        if constant:
            self.initial_block = nn.Parameter(torch.randn(1, first, 4, 4))
        else:
            self.to_initial_block = nn.ConvTranspose2d(latent, first, 4, bias=False)
        self.initial_conv = nn.Conv2d(first, first, 3, padding=1)
        inside = [first, *widths]
        self.blocks = nn.ModuleList(
            Block(latent, inside[i], w, up=i < len(widths) - 1) for i, w in enumerate(widths)
        )  # fmt: skip
        self.attns = nn.ModuleDict()
        for i in attention:
            wide = nn.Sequential(
                nn.Conv2d(inside[i], 2 * inside[i], 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * inside[i], inside[i], 1)
            )
            self.attns[str(i)] = nn.Sequential(Residual(inside[i], Linear(inside[i])), Residual(inside[i], wide))

    def forward(self, ws: Tensor, noise: Tensor) -> Tensor:
        """Return images (N, 3, S, S) of ws (N, blocks, latent) and noise (N, S, S, 1)."""
        if hasattr(self, "initial_block"):
            x = self.initial_block.repeat(len(ws), 1, 1, 1)
        else:
            x = self.to_initial_block(ws.mean(1)[:, :, None, None])
        x, image = self.initial_conv(x), torch.zeros(1)
        for i, block in enumerate(self.blocks):
            b: Any = block
            x = self.attns[str(i)](x) if str(i) in self.attns else x
            x = bilinear(x) if i else x
            part = noise[:, : x.shape[2], : x.shape[3]]
            for n, conv, style in ((b.to_noise1, b.conv1, b.to_style1), (b.to_noise2, b.conv2, b.to_style2)):
                x = F.leaky_relu(modulated(conv, x, style(ws[:, i])) + n(part).permute(0, 3, 2, 1), 0.2)
            image = image + modulated(b.to_rgb.conv, x, b.to_rgb.to_style(ws[:, i]), demodulate=False)
            image = image if b.to_rgb.upsample is None else b.to_rgb.upsample(bilinear(image))
        return image


class Network(nn.Module):
    """Both, as `S` and `G`."""

    def __init__(
        self, latent: int, widths: list[int], attention: tuple[int, ...] = (), *, constant: bool = True
    ) -> None:
        super().__init__()
        self.S, self.side = Styles(latent, 2), 2 << len(widths)
        self.G = Generator(latent, widths, attention, constant=constant)

    def shown(self, ws: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return images as its script shows them, but in [-1, 1]; without noise, with its mean."""
        noise = torch.full((len(ws), self.side, self.side, 1), 0.5) if noise is None else noise
        made: Tensor = 2 * self.G(ws, noise).clamp(0, 1) - 1
        return made

    def forward(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.shown(self.S(z)[:, None].repeat(1, len(self.G.blocks), 1), noise)


def random_lucidrains(model: Network, seed: int = 0) -> Network:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            value = torch.randn(t.shape, generator=draw)
            if name.endswith(".f"):
                value = value.abs() + 0.5
            elif name.startswith("S."):
                value *= 8 / math.sqrt(t.shape[-1])
            elif t.ndim == 4 and "initial_block" not in name:
                value *= (0.3 if "to_rgb" in name else 1.5) / math.sqrt(t[0].numel())
            elif t.ndim < 4:
                value *= 0.3
            t.copy_(value)
    return model.eval()


def saved(model: nn.Module, path: Path) -> Path:
    """As its trainer saves it: networks and their averages in one state dict."""
    state = model.state_dict()
    averaged = {f"{key[0]}E{key[1:]}": t for key, t in state.items()}
    raw = {key: torch.zeros_like(t) for key, t in state.items()}
    critic = {"D.blocks.0.conv_res.weight": torch.ones(4, 3, 1, 1)}
    torch.save({"GAN": {**raw, **critic, **averaged}, "version": "1.9.0"}, path)
    return path
