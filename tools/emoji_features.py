"""Train the network whose features compare generated emoji with those of the font, and write it as ONNX.

    python tools/emoji_features.py -o features.onnx [--font FONT] [--steps 1200]

It learns to tell the listed emoji from each other, shifted, scaled, mirrored and recolored at random; the features are
the layer before the last one.  No generator is trained with it.  Its figures can't be compared with FIDs of Inception.
The input is uint8 (N, 3, 64, 64), the outputs are `logits` (N, emoji) and `features` (N, 96).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError
from gan_export.training import emoji

SIZE, BATCH, WIDTH = 64, 64, 96


class Network(nn.Module):
    """Images uint8 (N, 3, 64, 64) -> logits (N, classes), features (N, WIDTH)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 96), (96, WIDTH)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images.float() / 127.5 - 1)
        return self.head(F.relu(features)), features


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--font", default="")
    parser.add_argument("--steps", type=int, default=1200)
    given = parser.parse_args()
    try:
        known = emoji.render(given.font, (3, SIZE, SIZE))
    except GanExportError as error:
        print(f"emoji_features.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    torch.manual_seed(0)
    network = Network(len(known.characters)).to(memory_format=torch.channels_last)
    images = torch.from_numpy(known.images.copy())
    learn(network, images, given.steps)
    print(f"recognizes {accuracy(network, images):.1%} of the emoji, shifted and recolored in another way")
    write(network, given.out)


def learn(network: Network, images: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(images), (BATCH,))
        loss = F.cross_entropy(network(changed(images[chosen]))[0], chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    network.eval()


def changed(images: Tensor) -> Tensor:
    """Shift by up to 5 pixels, scale by 0.85 to 1.1, mirror, and change color and contrast; float32, 0..255."""
    n = len(images)
    x = 255 - images.float()  # what is shifted in is white
    scale = torch.empty(n).uniform_(0.9, 1.18)
    turned = torch.zeros(n, 2, 3)
    turned[:, 0, 0] = scale * (torch.randint(2, (n,)) * 2 - 1)
    turned[:, 1, 1] = scale
    turned[:, :, 2] = torch.empty(n, 2).uniform_(-5, 5) / (SIZE / 2)
    x = F.grid_sample(x, F.affine_grid(turned, list(x.shape), align_corners=False), align_corners=False)
    gain = torch.empty(n, 3, 1, 1).uniform_(0.8, 1.2)
    return (255 - x * gain + torch.randn_like(x) * 6).clamp(0, 255)


@torch.no_grad()
def accuracy(network: Network, images: Tensor) -> float:
    found = torch.cat([network(changed(part))[0].argmax(1) for part in images.split(BATCH)])
    return float((found == torch.arange(len(images))).float().mean())


def write(network: Network, target: Path) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)  # the other way of torch.onnx needs onnxscript
    with atomic_file(target) as temporary:
        torch.onnx.export(
            network, (torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8),), str(temporary), input_names=["image"],
            output_names=["logits", "features"], dynamic_axes={n: {0: "N"} for n in ("image", "logits", "features")},
            dynamo=False, opset_version=18,
        )  # fmt: skip


if __name__ == "__main__":
    main()
