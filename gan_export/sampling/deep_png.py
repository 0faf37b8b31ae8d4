"""PNG files of 16 bits per channel: Pillow reads and writes the gray ones, imagecodecs (libpng) the others.

Pillow has no image type of several channels of 16 bits.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export._lib.extras import explained
from gan_export.errors import GanExportError, first_line
from gan_export.sampling.png_rows import MAGIC, chunk, profile_chunk

Words = npt.NDArray[np.uint16]
_HEADER = len(MAGIC) + 8 + 13  # up to the end of IHDR's data: width, height, depth, color type, ...
_TURNS = {2: (False, 0, -1), 3: (False, -1, -1), 4: (False, -1, 0), 5: (True, 0, 0), 6: (True, 0, -1),
          7: (True, -1, -1), 8: (True, -1, 0)}  # fmt: skip


def is_deep(path: Path) -> bool:
    """Return whether the file is a PNG of 16 bits per channel."""
    with open(path, "rb") as f:
        head = f.read(_HEADER)
    return len(head) == _HEADER and head.startswith(MAGIC) and head[24] == 16


def read(path: Path, orientation: int) -> Words:
    """Return (H, W, C), C 1 to 4 with alpha last if it is even, turned as EXIF's `orientation` 1 to 8 says.

    The caller has checked the size.  Raises GanExportError for a damaged file, UnavailableError without imagecodecs.
    """
    from PIL import Image

    content = path.read_bytes()
    if content[25] == 0:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image).astype(np.uint16)
    else:
        with explained("an RGB image of 16 bits (--bits 8 rounds it to 8)"):
            import imagecodecs
        try:
            pixels = np.asarray(imagecodecs.png_decode(content), np.uint16)
        except (imagecodecs.PngError, ValueError) as e:
            raise GanExportError(f"its 16-bit PNG is damaged: {first_line(e, 120)}") from None
    laid = pixels[:, :, None] if pixels.ndim == 2 else pixels
    swap, rows, columns = _TURNS.get(orientation, (False, 0, 0))
    laid = laid.swapaxes(0, 1) if swap else laid
    return np.ascontiguousarray(laid[:: rows or 1, :: columns or 1])


def encode(pixels: Words, profile: bytes) -> bytes:
    """Return the PNG file of (H, W, C), C 1 to 4.  Raises UnavailableError without imagecodecs unless C is 1."""
    from PIL import Image

    if pixels.shape[2] == 1:
        buffer = io.BytesIO()
        Image.fromarray(pixels[:, :, 0]).save(buffer, format="PNG", **({"icc_profile": profile} if profile else {}))
        return buffer.getvalue()
    with explained("an RGB image of 16 bits (--bits 8 writes 8)"):
        import imagecodecs
    content = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6))
    if not profile:
        return content
    return content[: _HEADER + 4] + chunk(*profile_chunk(profile)) + content[_HEADER + 4 :]
