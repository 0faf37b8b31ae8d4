"""Write a checkpoint with random weights, or an image, to follow a page of "Start" without a file of your own.

    python docs/start/example_file.py network.pkl                StyleGAN2, 64x64, as NVlabs' training writes it
    python docs/start/example_file.py latest_net_G.pth           CycleGAN's resnet_9blocks, a quarter of the usual width
    python docs/start/example_file.py realesr-general-x4v3.pth   Real-ESRGAN's SRVGGNetCompact, a quarter of the width
    python docs/start/example_file.py photo.png                  an image of 128 x 96 pixels, computed

The file lies in the current folder.  The weights were never trained: the images show that every step works, no more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.originals import images_in
from tests.originals.style import containers, nvlabs


def stylegan(path: Path) -> None:
    """Write a StyleGAN2 with its source text, which nothing here runs."""
    generator = nvlabs.random_everything(nvlabs.Generator(64, 0, 64, [32, 32, 24, 16, 16]), seed=3)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    with torch.no_grad():
        for name, value in generator.named_buffers():
            if name.endswith("resample_filter"):
                value.copy_(torch.outer(taps, taps) / 64)
        for name, value in generator.named_parameters():
            if name.endswith("noise_strength"):
                value.mul_(0.1)
            if "torgb.weight" in name:  # the coarse layers give most of the image
                value.mul_(0.25 if name.split(".")[1] in ("b4", "b8", "b16") else 0.1)
    containers.nvlabs_pickle(path, G=generator, D=torch.nn.Linear(1, 1), G_ema=generator)


def cyclegan(path: Path) -> None:
    """Write a generator with the keys of `latest_net_G.pth`; its weights are random, but keep the edges of an image."""
    model = images_in.randomized(images_in.JunyanzResnet(16, 9, "instance"), seed=1)
    *_, last = convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    bell = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / 4)
    with torch.no_grad():
        for conv in convolutions[3:-1]:  # the residual blocks: only the middle of each 3x3 kernel
            conv.weight.mul_(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))
        last.weight.copy_(last.weight[:, :, 3:4, 3:4] * 9 * torch.outer(bell, bell) / bell.sum() ** 2)
        last.bias[:] = 0
    torch.save(model.state_dict(), path)


def real_esrgan(path: Path) -> None:
    """Write a small Real-ESRGAN under the key `params`."""
    torch.save({"params": images_in.randomized(images_in.Srvgg(16, 8), seed=1).state_dict()}, path)


def photo(path: Path) -> None:
    """Write hills before a sun: edges, gradients and texture, from a fixed seed."""
    height, width = 96, 128
    y, x = np.mgrid[:height, :width] / height
    rng = np.random.default_rng(5)
    image = np.stack([0.95 - 0.25 * y, 0.6 + 0.25 * y, 0.45 + 0.4 * y], -1)
    image[(x - 0.95) ** 2 + (y - 0.32) ** 2 < 0.025] = (1.0, 0.93, 0.7)
    for depth, color in enumerate(((0.42, 0.47, 0.62), (0.25, 0.42, 0.42), (0.13, 0.27, 0.2))):
        waves = sum(rng.normal() * np.sin(x * 2**k * 3 + rng.uniform(0, 6)) / 2**k for k in range(1, 6))
        hill = y > 0.5 + 0.15 * depth + 0.09 * waves
        image[hill] = np.array(color) * (1 + 0.12 * rng.normal(size=(int(hill.sum()), 1)))
    Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(path)


FILES: dict[str, Callable[[Path], None]] = {
    "network.pkl": stylegan,
    "latest_net_G.pth": cyclegan,
    "realesr-general-x4v3.pth": real_esrgan,
    "photo.png": photo,
}


def main(names: list[str]) -> None:
    """Write the named files."""
    if not names or set(names) - set(FILES):
        sys.exit(__doc__)
    for name in names:
        FILES[name](Path(name))
        print(f"wrote {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
