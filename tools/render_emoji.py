"""Write the emoji that the recipe emoji64 trains on as a folder of PNG files, one folder per group.

    python tools/render_emoji.py DIR [--font FONT] [--size 64]

Each emoji comes with its mirror image, DIR/GROUP/CODE.png and CODE-mirrored.png, on white.  Without --font, it is the
installed font of Debian's package fonts-noto-color-emoji (SIL Open Font License 1.1).  The folder is what
`gan-sample evaluate --reference DIR` compares a generator with, and what any trainer of folders reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gan_export import images
from gan_export.errors import GanExportError
from gan_export.training import emoji


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--font", default="")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels; at least 8")
    given = parser.parse_args()
    try:
        if not 8 <= given.size <= 1024:
            raise GanExportError(f"--size {given.size}: must be 8 to 1024")
        count = write(given.folder, given.font, given.size)
    except (OSError, GanExportError) as error:
        print(f"render_emoji.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"wrote {count} images to {given.folder}")


def write(folder: Path, font: str, size: int) -> int:
    """Write the images; return their number."""
    got = emoji.render(font, (3, size, size))
    names = [name.replace(" ", "-").replace(",", "").replace("'", "") for name in emoji.groups()]
    for suffix, pictures in (("", got.images), ("-mirrored", got.mirrored())):
        for character, picture, group in zip(got.characters, pictures, got.classes, strict=True):
            target = folder / names[group] / f"{ord(character):05X}{suffix}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            images.write_png(target, picture.transpose(1, 2, 0))
    return 2 * len(got.characters)


if __name__ == "__main__":
    main()
