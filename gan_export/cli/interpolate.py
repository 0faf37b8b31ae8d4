"""gan-sample interpolate: an animation that moves from image to image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_export.cli.loading import Loading, opened
from gan_export.cli.options import GeneratorFile, Label, LatentScale, Seed, Start, parse_label
from gan_export.cli.say import say, suggest
from gan_export.errors import GanExportError

if TYPE_CHECKING:
    from gan_export.sampling.interpolate import Space


def interpolate(
    file: GeneratorFile,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .gif, .webp or .mp4 file.")] = Path("interpolation.gif"),
    keypoints: Annotated[int, typer.Option("--keypoints", help="Number of images that the animation visits.")] = 12,
    count: Annotated[int, typer.Option("-n", "--count", help="Number of animations side by side.")] = 1,
    seed: Seed = 0,
    start: Start = 0,
    label: Label = None,
    latent_scale: LatentScale = 1.0,
    space: Annotated[
        str, typer.Option("--space", help="What moves: z, or w of a style-based generator, which changes evenly.")
    ] = "z",
    loading: Loading,
) -> None:
    """Write a looping animation through images of FILE: latents move from one image's to the next one's."""
    from gan_export.sampling import interpolate as interpolation

    if space not in ("z", "w"):
        raise GanExportError(f"--space {space}: must be z or w")
    moving: Space = "w" if space == "w" else "z"
    chosen = "all" if label is None else parse_label(label)
    with opened(file, loading, latent_scale) as generator:
        frames = interpolation.write(
            generator, out, seed=seed, stops=keypoints, count=count, start=start, label=chosen, space=moving
        )
        say(f"wrote {out}: {frames} frames through {keypoints} images, looping")
        if generator.reading is not None or file.suffix == ".gan":
            suggest("gan-export", "web", file, "-o", "site")
        else:
            suggest("gan-sample", "dataset", file, "-n", 10000, "--format", "webdataset", "-o", "images")
