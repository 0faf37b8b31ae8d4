"""Write an animation between images of a seed: a walk through a generator's latents that ends at its start.

A walk visits `stops` images in the order of their index, then the first again, so that the animation repeats without
a jump.  Between two stops, latents follow the great circle (Shoemake 1985), because a straight line leads through
latents that a normal prior almost never gives.  Latents of a uniform prior, and w, follow the straight line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gan_export import images, latents
from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.graph.ports import Uniform
from gan_export.graph.views import latent_port
from gan_export.sampling.generator import Generator, Label, choose_labels
from gan_export.sampling.styles import Styling, starts_from_ws

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

Space = Literal["z", "w"]

FRAMES = 16  # from one stop to the next
RATE = 25  # frames a second
SUFFIXES = (".gif", ".webp", ".mp4")
_SIDE = 256  # pixels that a frame has at least, by whole enlargement: a 32-pixel film is a stamp
_LIMIT = 1 << 31  # bytes of a film's frames


def write(
    generator: Generator,
    target: Path,
    *,
    seed: int,
    stops: int,
    count: int = 1,
    start: int = 0,
    label: Label = "all",
    space: Space = "z",
) -> int:
    """Write `count` walks side by side, each over `stops` stops, to .gif, .webp or .mp4; return the number of frames.

    Walk j visits images start + j, start + j + count, ...  A conditional generator keeps each walk's label:
    `all` gives walk j the label j mod K.

    space: "z", or "w" of a style-based generator
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise GanExportError(f"{printable(target.name)}: a walk is written as {', '.join(SUFFIXES)}")
    if stops < 2:
        raise GanExportError(f"keypoints={stops}: must be at least 2")
    channels, height, width = generator.image
    if count < 1:
        raise GanExportError(f"count={count}: must be at least 1")
    tall, wide = images.grid_size(count, height, width, pad=_pad(count))
    if stops * FRAMES * tall * wide * channels * _times(tall, wide) ** 2 > _LIMIT:
        raise GanExportError(
            f"a walk of {count} animations through {stops} images is too large; lower count= or keypoints="
        )
    latents.check(seed, start, stops * count)
    if suffix == ".mp4":
        _require_av()
    film = frames(generator, seed=seed, stops=stops, count=count, start=start, label=label, space=space)
    sheets = [_enlarge(s) for s in film]
    with atomic_file(target) as temporary:
        if suffix == ".mp4":
            _write_mp4(temporary, sheets)
        else:
            _write_animation(temporary, sheets, suffix)
    return len(sheets)


def frames(
    generator: Generator,
    *,
    seed: int,
    stops: int,
    count: int = 1,
    start: int = 0,
    label: Label = "all",
    space: Space = "z",
) -> Iterator[Bytes]:
    """Yield the stops x FRAMES frames of the walk: grids of `count` images, uint8 (H, W, C)."""
    if space == "w" or starts_from_ws(generator.signature):
        yield from _frames_of_ws(generator, seed, stops, count, start, label=label, space=space)
        return
    z = generator.latents(seed, range(start, start + stops * count))
    anchors = z.reshape(stops, count, z.shape[1])
    straight = isinstance(latent_port(generator.signature, "a walk").prior, Uniform)
    images_of_walks = range(start, start + count)
    labels = choose_labels(generator.signature, label if generator.classes else "random", seed, images_of_walks)
    for stop in range(stops):
        a, b = anchors[stop], anchors[(stop + 1) % stops]
        for i in range(FRAMES):
            z = slerp(a, b, i / FRAMES, straight=straight)
            shrunk = z if generator.latent_scale == 1.0 else z * np.float32(generator.latent_scale)
            pictures = generator.bytes(shrunk, labels, seed=seed, indices=images_of_walks)
            yield images.grid(pictures, pad=_pad(count))


def _frames_of_ws(
    generator: Generator, seed: int, stops: int, count: int, start: int, *, label: Label, space: Space
) -> Iterator[Bytes]:
    """Yield the frames of a style-based generator in two parts: w on a straight line, or z on the great circle."""
    parts = generator.parts()
    z = parts.mapping.latents(seed, range(start, start + stops * count)) * np.float32(generator.latent_scale)
    walks = range(start, start + count)
    signature = parts.mapping.signature
    labels = choose_labels(signature, label if parts.mapping.classes else "random", seed, walks)
    around = z.reshape(stops, count, z.shape[1])
    ws = [parts.ws(stop, labels, Styling()) for stop in around]
    for stop in range(stops):
        after = (stop + 1) % stops
        for i in range(FRAMES):
            if space == "w":
                here = ws[stop] + np.float32(i / FRAMES) * (ws[after] - ws[stop])
            else:
                here = parts.ws(slerp(around[stop], around[after], i / FRAMES), labels, Styling())
            pictures = parts.synthesis.sample(indices=walks, seed=seed, ws=here)
            yield images.grid(pictures, pad=_pad(count))


def slerp(a: Floats, b: Floats, at: float, *, straight: bool = False) -> Floats:
    """Latents (N, nz) the share `at` of the way from a to b, by the great circle; straight, if a prior is uniform."""
    if straight:
        return (a + np.float32(at) * (b - a)).astype(np.float32)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(wide_a, axis=1, keepdims=True) * np.linalg.norm(wide_b, axis=1, keepdims=True)
    cosine = np.clip((wide_a * wide_b).sum(1, keepdims=True) / lengths, -1.0, 1.0)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    mixed = (np.sin((1 - at) * angle) * wide_a + np.sin(at * angle) * wide_b) / np.maximum(sine, 1e-6)
    # equal latents lie on no one circle, opposite ones (as of nz = 1) on many
    mixed = np.where(sine < 1e-6, (1 - at) * wide_a + at * wide_b, mixed)
    return np.ascontiguousarray(mixed, np.float32)


def _pad(count: int) -> int:
    return 0 if count == 1 else 2


def _times(height: int, width: int) -> int:
    """Return the factor by which a frame is enlarged."""
    return max(1, -(-_SIDE // max(height, width)))


def _enlarge(sheet: Bytes) -> Bytes:
    """The sheet as a film shows it: of a film's size, without alpha."""
    times = _times(*sheet.shape[:2])
    sheet = sheet[:, :, : 3 if sheet.shape[2] > 2 else 1]
    return sheet.repeat(times, 0).repeat(times, 1)


def _write_animation(path: Path, sheets: list[Bytes], suffix: str) -> None:
    """pillow's, looping for ever; WebP without loss, GIF with a palette of each frame's own."""
    from PIL import Image

    pictures = [Image.fromarray(s[:, :, 0] if s.shape[2] == 1 else s) for s in sheets]
    if suffix == ".webp":
        pictures = [p.convert("RGB") for p in pictures]
    more = {"lossless": True, "method": 0, "quality": 20} if suffix == ".webp" else {"disposal": 1}  # quick to write
    first, *others = pictures
    first.save(path, format=suffix[1:], save_all=True, append_images=others, duration=1000 // RATE, loop=0, **more)


def _require_av() -> None:
    """Raise UnavailableError if PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise UnavailableError("an .mp4 needs PyAV; `pip install av`, or write .gif or .webp") from None


def _write_mp4(path: Path, sheets: list[Bytes]) -> None:
    """H.264 in 4:2:0, which every browser plays; an odd side loses its last row or column."""
    import av

    height, width = (side - side % 2 for side in sheets[0].shape[:2])
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for sheet in sheets:
            color = np.ascontiguousarray(np.broadcast_to(sheet[:height, :width], (height, width, 3)))
            for packet in stream.encode(av.VideoFrame.from_ndarray(color, format="rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
