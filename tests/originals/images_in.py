"""Generators that take images, restated: pix2pix and CycleGAN, CUT, ESRGAN and Real-ESRGAN, SRVGGNetCompact, SRGAN.

Written from what the public code does (keys, shapes, order of operations), apart from `gan_export.recognize`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.common import bare

# tracked: InstanceNorm with statistics, as files before 2018 have it
Norm = Literal["batch", "instance", "tracked", "none"]


class Residual(nn.Module):
    """x + f(x), f under the name that the original has it under."""

    def __init__(self, name: str, body: nn.Module) -> None:
        super().__init__()
        self.attribute = name
        self.add_module(name, body)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + getattr(self, self.attribute)(x)
        return out


def norm_of(kind: Norm, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "none":
        return nn.Identity()
    return nn.InstanceNorm2d(channels, affine=False, track_running_stats=kind == "tracked")


def binomial(taps: int) -> Tensor:
    """The normalised filter [1, 2, 1] x [1, 2, 1] or [1, 3, 3, 1] x [1, 3, 3, 1]."""
    row = torch.tensor({3: [1.0, 2.0, 1.0], 4: [1.0, 3.0, 3.0, 1.0]}[taps])
    both = row[:, None] * row[None, :]
    return both / both.sum()


class BlurDown(nn.Module):
    """CUT's: reflected by 1, [1, 2, 1], every other pixel; one filter per channel in the file."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", binomial(3).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class BlurUp(nn.Module):
    """CUT's: the edge repeated by 1, [1, 3, 3, 1] x 4 transposed, the outermost rows and columns cut off."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", (binomial(4) * 4).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]


class JunyanzResnet(nn.Module):
    """`resnet_9blocks`, `resnet_6blocks`, and CUT's with blur; dropout shifts the second convolution by one index."""

    def __init__(
        self,
        width: int,
        blocks: int = 9,
        norm: Norm = "batch",
        *,
        dropout: bool = False,
        blur_down: bool = False,
        blur_up: bool = False,
        channels: tuple[int, int] = (3, 3),
    ) -> None:
        super().__init__()
        bias = norm in ("instance", "tracked")
        body: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels[0], width, 7, bias=bias)]
        body += [norm_of(norm, width), nn.ReLU()]
        for a in (width, 2 * width):
            body += [nn.Conv2d(a, 2 * a, 3, 1 if blur_down else 2, 1, bias=bias), norm_of(norm, 2 * a), nn.ReLU()]
            body += [BlurDown(2 * a)] if blur_down else []
        for _ in range(blocks):
            block: list[nn.Module] = []
            for first in (True, False):
                block += [nn.ReflectionPad2d(1), nn.Conv2d(4 * width, 4 * width, 3, bias=bias)]
                block += [norm_of(norm, 4 * width)]
                block += [nn.ReLU(), *([nn.Dropout(0.5)] if dropout else [])] if first else []
            body.append(Residual("conv_block", nn.Sequential(*block)))
        for a in (4 * width, 2 * width):
            if blur_up:
                body += [BlurUp(a), nn.Conv2d(a, a // 2, 3, 1, 1, bias=bias)]
            else:
                body += [nn.ConvTranspose2d(a, a // 2, 3, 2, 1, output_padding=1, bias=bias)]
            body += [norm_of(norm, a // 2), nn.ReLU()]
        body += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels[1], 7), nn.Tanh()]
        self.model = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class Level(nn.Module):
    """One level of the U-Net: what goes down, the level below, what comes up; the input is joined before it."""

    def __init__(self, layers: list[nn.Module], *, joined: bool = True) -> None:
        super().__init__()
        self.joined = joined
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.model(x)
        return torch.cat((x, made), 1) if self.joined else made


class JunyanzUnet(nn.Module):
    """`unet_256` (8 levels), `unet_128` (7); dropout in the levels - 5 of the widest that have one below."""

    def __init__(
        self,
        width: int,
        downs: int = 8,
        norm: Norm = "batch",
        *,
        dropout: bool = True,
        channels: tuple[int, int] = (3, 3),
    ) -> None:
        super().__init__()
        bias = norm in ("instance", "tracked")
        widths = [width * min(2**i, 8) for i in range(downs)]  # what each level's first convolution gives

        def down(a: int, b: int, *, bias: bool = bias) -> nn.Module:
            return nn.Conv2d(a, b, 4, 2, 1, bias=bias)

        def up(a: int, b: int, *, bias: bool = bias) -> nn.Module:
            return nn.ConvTranspose2d(a, b, 4, 2, 1, bias=bias)

        level = Level(
            [
                nn.LeakyReLU(0.2), down(widths[-2], widths[-1]), nn.ReLU(),
                up(widths[-1], widths[-2]), norm_of(norm, widths[-2]),
            ]
        )  # fmt: skip
        for i in range(downs - 2, 0, -1):
            a, b = widths[i - 1], widths[i]
            layers = [nn.LeakyReLU(0.2), down(a, b), norm_of(norm, b), level, nn.ReLU(), up(2 * b, a), norm_of(norm, a)]
            layers += [nn.Dropout(0.5)] if dropout and downs - 1 > i >= 4 else []
            level = Level(layers)
        ends = [down(channels[0], width), level, nn.ReLU(), up(2 * width, channels[1], bias=True), nn.Tanh()]
        self.model = Level(ends, joined=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


@dataclass(frozen=True)
class RrdbNames:
    """How one of the three styles of keys calls the parts of an RRDBNet."""

    first: str
    body: str
    dense: str  # of a dense block in its RRDB; {} is its number
    conv: str
    trunk: str  # {} is the number of blocks
    ups: tuple[str, str]
    hr: str
    last: str


REALESRGAN = RrdbNames(
    "conv_first", "body.{}", "rdb{}", "conv{}", "conv_body", ("conv_up1", "conv_up2"), "conv_hr", "conv_last"
)
BSRGAN = RrdbNames(
    "conv_first", "RRDB_trunk.{}", "RDB{}", "conv{}", "trunk_conv", ("upconv1", "upconv2"), "HRconv", "conv_last"
)
OLD_ESRGAN = RrdbNames(
    "model.0", "model.1.sub.{}", "RDB{}", "conv{}.0", "model.1.sub.{}", ("model.3", "model.6"), "model.8", "model.10"
)


def put(root: nn.Module, path: str, module: nn.Module) -> None:
    """Register `module` below `root` under a dotted path."""
    *parents, name = path.split(".")
    for part in parents:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    root.add_module(name, module)


class Rrdb(nn.Module):
    """RRDBNet: `unshuffle` 2 for scale 2, 4 for scale 1; `ups` 1 is BSRGAN's own scale 2."""

    def __init__(
        self,
        width: int,
        blocks: int = 23,
        growth: int = 32,
        names: RrdbNames = REALESRGAN,
        *,
        unshuffle: int = 1,
        ups: int = 2,
        channels: tuple[int, int] = (3, 3),
    ) -> None:
        super().__init__()
        self.names, self.blocks, self.unshuffle, self.ups = names, blocks, unshuffle, ups

        def conv(path: str, a: int, b: int) -> None:
            put(self, path, nn.Conv2d(a, b, 3, 1, 1))

        conv(names.first, channels[0] * unshuffle**2, width)
        for block in range(blocks):
            for dense in (1, 2, 3):
                for i in range(1, 6):
                    conv(self.of(block, dense, i), width + (i - 1) * growth, growth if i < 5 else width)
        conv(names.trunk.format(blocks), width, width)
        for path in (*names.ups[:ups], names.hr):
            conv(path, width, width)
        conv(names.last, width, channels[1])

    def of(self, block: int, dense: int, i: int) -> str:
        return f"{self.names.body.format(block)}.{self.names.dense.format(dense)}.{self.names.conv.format(i)}"

    def at(self, path: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(path)(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        n = self.names
        start = self.at(n.first, F.pixel_unshuffle(x, self.unshuffle))
        trunk = start
        for block in range(self.blocks):
            inside = trunk
            for dense in (1, 2, 3):
                parts = [inside]
                for i in range(1, 5):
                    parts.append(F.leaky_relu(self.at(self.of(block, dense, i), torch.cat(parts, 1)), 0.2))
                inside = inside + 0.2 * self.at(self.of(block, dense, 5), torch.cat(parts, 1))
            trunk = trunk + 0.2 * inside
        x = start + self.at(n.trunk.format(self.blocks), trunk)
        for path in n.ups[: self.ups]:
            x = F.leaky_relu(self.at(path, x.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
        return self.at(n.last, F.leaky_relu(self.at(n.hr, x), 0.2))


class Srvgg(nn.Module):
    """SRVGGNetCompact: convolutions and activations, the pixels shuffled out at the end, the input enlarged added."""

    def __init__(
        self,
        width: int,
        convs: int = 16,
        scale: int = 4,
        channels: int = 3,
        activation: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale
        body: list[nn.Module] = []
        for i in range(convs + 1):
            body += [
                nn.Conv2d(width if i else channels, width, 3, 1, 1),
                activation() if activation else nn.PReLU(width),
            ]
        self.body = nn.ModuleList([*body, nn.Conv2d(width, channels * scale**2, 3, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for layer in self.body:
            made = layer(made)
        larger = x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return F.pixel_shuffle(made, self.scale) + larger


class Shuffled(nn.Module):
    """leftthomas's step of enlarging."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * width, 3, 1, 1)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.prelu(F.pixel_shuffle(self.conv(x), 2))
        return out


class LeftBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.prelu = nn.PReLU()
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))
        return out


class LeftThomas(nn.Module):
    """leftthomas/SRGAN: `block1` to `block8`, five blocks, (tanh + 1) / 2."""

    def __init__(self, width: int, steps: int = 2) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, width, 9, 1, 4), nn.PReLU())
        for i in range(2, 7):
            self.add_module(f"block{i}", LeftBlock(width))
        self.block7 = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))
        self.block8 = nn.Sequential(*[Shuffled(width) for _ in range(steps)], nn.Conv2d(width, 3, 9, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        start = x = self.block1(x)
        for i in range(2, 8):
            x = self._modules[f"block{i}"](x)  # type: ignore[misc]
        out: Tensor = torch.tanh(self.block8(start + x)) * 0.5 + 0.5
        return out


class Lornatang(nn.Module):
    """Lornatang/SRGAN-PyTorch: `conv1`, `trunk`, `conv2`, `upsampling`, `conv3`, clamped to [0, 1]."""

    def __init__(self, width: int, blocks: int = 16, steps: int = 2) -> None:
        super().__init__()

        def conv(a: int, b: int, *, bias: bool = False) -> nn.Module:
            return nn.Conv2d(a, b, 3, 1, 1, bias=bias)

        def block() -> nn.Module:
            layers = [conv(width, width), nn.BatchNorm2d(width), nn.PReLU(), conv(width, width), nn.BatchNorm2d(width)]
            return Residual("rcb", nn.Sequential(*layers))

        def larger() -> nn.Module:
            m = nn.Module()
            m.upsample_block = nn.Sequential(conv(width, 4 * width, bias=True), nn.PixelShuffle(2), nn.PReLU())
            return m

        self.conv1 = nn.Sequential(nn.Conv2d(3, width, 9, 1, 4), nn.PReLU())
        self.trunk = nn.Sequential(*[block() for _ in range(blocks)])
        self.conv2 = nn.Sequential(conv(width, width), nn.BatchNorm2d(width))
        self.upsampling = nn.ModuleList([larger() for _ in range(steps)])
        self.conv3 = nn.Conv2d(width, 3, 9, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        start = self.conv1(x)
        x = self.conv2(self.trunk(start)) + start
        for step in self.upsampling:
            x = step.upsample_block(x)  # type: ignore[operator]
        return torch.clamp(self.conv3(x), 0.0, 1.0)


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and every buffer random, so that signals neither die nor grow; evaluation mode.

    The last convolution of a family without a bounded end is kept small, so that values lie about its range.
    """
    draw = torch.Generator().manual_seed(seed)

    def uniform(t: Tensor, low: float, high: float) -> None:
        t.copy_(torch.rand(t.shape, generator=draw) * (high - low) + low)

    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
                transposed = isinstance(m, nn.ConvTranspose2d)
                fan = m.weight[:, 0].numel() / 4 if transposed else m.weight[0].numel()
                m.weight.copy_(torch.randn(m.weight.shape, generator=draw) * (2.0 / fan) ** 0.5)
                if m.bias is not None:
                    uniform(m.bias, -0.2, 0.2)
            elif isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d):
                if m.affine:
                    uniform(m.weight, 0.5, 1.5)
                    uniform(m.bias, -0.3, 0.3)
                if m.running_mean is not None and m.running_var is not None and m.num_batches_tracked is not None:
                    uniform(m.running_mean, -0.4, 0.4)
                    uniform(m.running_var, 0.4, 1.6)
                    m.num_batches_tracked.fill_(1000)
            elif isinstance(m, nn.PReLU):
                uniform(m.weight, 0.05, 0.4)
            elif isinstance(m, BlurDown | BlurUp):  # as training leaves them: no file has others
                pass
        if isinstance(model, Rrdb | Srvgg | LeftThomas | Lornatang):
            *_, last = (m for m in model.modules() if isinstance(m, nn.Conv2d))
            last.weight.mul_(0.1)
            if isinstance(model, Rrdb | Lornatang) and last.bias is not None:
                last.bias.add_(0.5)
    return model.eval()


def image_reading(model: nn.Module, x: Tensor) -> Tensor:
    """What a script gives that never calls eval() and takes one image at a time, its dropout aside."""
    twin = copy.deepcopy(model).train()
    for m in twin.modules():
        if isinstance(m, nn.Dropout):
            m.eval()
    with torch.no_grad():
        return torch.cat([twin(image[None]) for image in x])


def stored_reading(model: nn.Module, x: Tensor) -> Tensor:
    """What a script gives that calls eval()."""
    with torch.no_grad():
        out: Tensor = model.eval()(x)
    return out


def realesrgan_container(model: nn.Module) -> Any:
    """The averaged weights beside others, as its training code saves them."""
    other = {k: v * 0.5 for k, v in model.state_dict().items()}
    return {"params": other, "params_ema": model.state_dict()}


def lornatang_container(model: nn.Module) -> Any:
    return {"epoch": 7, "best_psnr": 28.5, "best_ssim": 0.8, "state_dict": model.state_dict(), "optimizer": {}}


@dataclass(frozen=True)
class ImageOriginal:
    """One row of public code that takes images.

    arch:    the family's name in the registry
    build(width): the generator as its script makes it, at a usual `width` and at `small`, where tests are quick
    multiple, least: of its height and width
    scale:   output height per input height
    reading: "image" if its script takes the statistics of the one image, else "stored"
    """

    name: str
    arch: str
    build: Callable[[int], nn.Module]
    small: int
    multiple: int = 1
    least: int = 1
    scale: int = 1
    channels: tuple[int, int] = (3, 3)
    range: tuple[float, float] = (0.0, 1.0)
    reading: Literal["image", "stored"] = "stored"
    container: Callable[[nn.Module], Any] = bare

    def model(self, width: int | None = None, seed: int = 0) -> nn.Module:
        """Return it with random weights and buffers, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            return randomized(self.build(width or self.small), seed)

    def images(self, count: int, height: int, width: int, seed: int = 0) -> Tensor:
        """Return smooth random images (count, C, height, width) in the family's range."""
        draw = torch.Generator().manual_seed(seed)
        coarse = torch.rand(count, self.channels[0], 5, 6, generator=draw)
        fine = torch.rand(count, self.channels[0], height, width, generator=draw)
        both = 0.7 * F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False) + 0.3 * fine
        low, high = self.range
        return both * (high - low) + low

    def expected(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the images that the row's own script gives, its dropout off."""
        return image_reading(model, x) if self.reading == "image" else stored_reading(model, x)


SIGNED = (-1.0, 1.0)


def _resnet(name: str, small: int = 8, **settings: Any) -> ImageOriginal:
    reading: Literal["image", "stored"] = "stored" if settings.get("norm") in ("instance", "none") else "image"
    return ImageOriginal(
        name, "junyanz_resnet", lambda w: JunyanzResnet(w, **settings), small, 4, 16, range=SIGNED,
        channels=settings.get("channels", (3, 3)), reading=reading,
    )  # fmt: skip


def _unet(name: str, small: int = 4, downs: int = 7, **settings: Any) -> ImageOriginal:
    reading: Literal["image", "stored"] = "stored" if settings.get("norm") in ("instance", "none") else "image"
    return ImageOriginal(
        name, "junyanz_unet", lambda w: JunyanzUnet(w, downs, **settings), small, 2**downs, 2**downs, range=SIGNED,
        channels=settings.get("channels", (3, 3)), reading=reading,
    )  # fmt: skip


def _rrdb(name: str, names: RrdbNames = REALESRGAN, **settings: Any) -> ImageOriginal:
    unshuffle, ups = settings.get("unshuffle", 1), settings.get("ups", 2)
    container = realesrgan_container if names is REALESRGAN else bare
    return ImageOriginal(
        name, "rrdb", lambda w: Rrdb(w, names=names, growth=w // 2, **settings), 16, unshuffle, unshuffle,
        2**ups // unshuffle, channels=settings.get("channels", (3, 3)), container=container,
    )  # fmt: skip


IMAGE_ORIGINALS: tuple[ImageOriginal, ...] = (
    _resnet("resnet_9blocks instance", norm="instance"),
    _resnet("resnet_6blocks instance", norm="instance", blocks=6),
    _resnet("resnet_9blocks batch dropout", dropout=True),
    _resnet("resnet_6blocks batch", blocks=6),
    _resnet("resnet_9blocks tracked", norm="tracked"),
    _resnet("resnet_6blocks none", norm="none", blocks=6),
    _resnet("resnet 6 to 1 channels", norm="instance", blocks=6, channels=(6, 1)),
    _resnet("CUT", norm="instance", blur_down=True, blur_up=True),
    _resnet("CUT no_antialias_up", norm="instance", blur_down=True),
    _resnet("CUT no_antialias", norm="instance", blur_up=True, dropout=True),
    _unet("unet_128 batch", dropout=True),
    _unet("unet_256 batch", downs=8),
    _unet("unet_128 instance", norm="instance", dropout=False),
    _unet("unet_128 none", norm="none", dropout=False),
    _unet("unet_128 1 to 4 channels", channels=(1, 4)),
    _rrdb("Real-ESRGAN x4", blocks=2),
    _rrdb("Real-ESRGAN x2", blocks=2, unshuffle=2),
    _rrdb("Real-ESRGAN x1", blocks=2, unshuffle=4),
    _rrdb("BSRGAN", BSRGAN, blocks=2),
    _rrdb("BSRGAN x2", BSRGAN, blocks=2, ups=1),
    _rrdb("old ESRGAN", OLD_ESRGAN, blocks=2),
    ImageOriginal("SRVGGNetCompact x4", "srvgg", lambda w: Srvgg(w, 4), 16, scale=4, container=realesrgan_container),
    ImageOriginal("SRVGGNetCompact x2", "srvgg", lambda w: Srvgg(w, 3, 2), 16, scale=2),
    ImageOriginal("leftthomas", "srresnet", LeftThomas, 16, scale=4),
    ImageOriginal("Lornatang", "srresnet", lambda w: Lornatang(w, 3), 16, scale=4, container=lornatang_container),
)
ORIGINALS_BY_NAME: Mapping[str, ImageOriginal] = {o.name: o for o in IMAGE_ORIGINALS}
