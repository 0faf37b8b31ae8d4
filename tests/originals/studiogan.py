"""PyTorch-StudioGAN's resnet and big_resnet at 32: BatchNorms of eps 1e-4, conditional ones, self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

EPS = 1e-4
BLOCKS = 3


class Conditional(nn.Module):
    """A BatchNorm that two Linears of the condition scale and shift."""

    def __init__(self, inside: int, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, EPS, affine=False)
        self.gain, self.bias = (nn.Linear(inside, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.bn(x) * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class Block(nn.Module):
    def __init__(self, a: int, b: int, condition: int) -> None:
        super().__init__()
        norm = (lambda c: Conditional(condition, c)) if condition else (lambda c: nn.BatchNorm2d(c, EPS))
        self.bn1, self.bn2 = norm(a), norm(b)
        self.conv2d0 = spectral_norm(nn.Conv2d(a, b, 1))
        self.conv2d1, self.conv2d2 = nn.Conv2d(a, b, 3, 1, 1), nn.Conv2d(b, b, 3, 1, 1)

    def forward(self, x: Tensor, y: tuple[Tensor, ...]) -> Tensor:
        inner = self.conv2d1(F.interpolate(F.relu(self.bn1(x, *y)), scale_factor=2))
        out: Tensor = self.conv2d2(F.relu(self.bn2(inner, *y))) + self.conv2d0(F.interpolate(x, scale_factor=2))
        return out


class Attention(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1x1_theta, self.conv1x1_phi = (nn.Conv2d(c, c // 8, 1, bias=False) for _ in range(2))
        self.conv1x1_g, self.conv1x1_attn = nn.Conv2d(c, c // 2, 1, bias=False), nn.Conv2d(c // 2, c, 1, bias=False)
        self.sigma = nn.Parameter(torch.full((1,), 0.7))

    def forward(self, x: Tensor, _: tuple[Tensor, ...]) -> Tensor:
        theta = self.conv1x1_theta(x).flatten(2)
        phi, g = (F.max_pool2d(f(x), 2).flatten(2) for f in (self.conv1x1_phi, self.conv1x1_g))
        weights = torch.softmax(theta.transpose(1, 2) @ phi, -1)
        mixed = (g @ weights.transpose(1, 2)).reshape(len(x), -1, *x.shape[2:])
        return x + self.sigma * self.conv1x1_attn(mixed)


class StudioResnet(nn.Module):
    """classes: 0 for plain BatchNorms.  shared: features of big_resnet's label, where each block has a chunk of z."""

    def __init__(self, width: int, classes: int = 0, shared: int = 0, attention: bool = False) -> None:
        super().__init__()
        self.classes, c = classes, 4 * width
        self.chunk = 20 if shared else 128
        self.linear0 = nn.Linear(self.chunk, 16 * c)
        if shared:
            self.shared = nn.Embedding(classes, shared)
        condition = shared + self.chunk if shared else classes
        blocks: list[nn.Module] = [Block(c, c, condition) for _ in range(BLOCKS)]
        if attention:
            blocks.insert(2, Attention(c))
        self.blocks = nn.ModuleList([nn.ModuleList([b]) for b in blocks])
        self.bn4 = nn.BatchNorm2d(c, EPS)
        self.conv2d5 = nn.Conv2d(c, 3, 3, 1, 1)

    @property
    def nz(self) -> int:
        return self.chunk * (BLOCKS + 1) if hasattr(self, "shared") else self.chunk

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        conditions: list[tuple[Tensor, ...]] = [()] * BLOCKS
        if hasattr(self, "shared"):
            z, *rest = z.split(self.chunk, 1)
            conditions = [(torch.cat((self.shared(label), part), 1),) for part in rest]
        elif self.classes and label is not None:
            conditions = [(F.one_hot(label, self.classes).to(z.dtype),)] * BLOCKS
        x, used = self.linear0(z).view(len(z), -1, 4, 4), iter(conditions)
        for (block,) in self.blocks:
            x = block(x, next(used) if isinstance(block, Block) else ())
        return torch.tanh(self.conv2d5(F.relu(self.bn4(x))))
