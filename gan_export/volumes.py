"""Show volumes as images: middle slices, and a shaded view of the surface, by NumPy alone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

AZIMUTH, ELEVATION = 35.0, 25.0  # degrees; the camera of `shaded`
_LIGHT = (-0.45, 0.65, 0.62)  # to the right, up and toward the camera
_AMBIENT = 0.25
_SHOWN = 0.7  # half the width of the view, in longest sides; the corners of a cube are up to 0.87 away
_STEP = 0.75  # voxels along a ray; thinner parts may be missed
_NEAR = 1.25  # voxels on each side over which the normal is measured
_CHUNK = 1 << 20  # points that are interpolated at once, about 60 MB


def shaded(volume: Floats, level: float, side: int, azimuth: float = AZIMUTH) -> Bytes:
    """Return a view of the surface at which `volume` crosses `level`: uint8 (side, side), 0 outside of the surface.

    volume:  (D, H, W), inside if it is above `level`; D is drawn upward
    azimuth: of the camera, in degrees around D
    Rays are parallel; each stops at the first crossing, and is shaded by the surface's normal there (Lambert).
    """
    right, up, toward = _camera(azimuth)
    longest = max(volume.shape)
    reach = longest * math.sqrt(3) / 2
    at = ((np.arange(side) + 0.5) / side * 2 - 1) * _SHOWN * longest
    center = (np.array(volume.shape) - 1) / 2
    across, upward = np.meshgrid(at, -at)
    # the start of each ray, in front of the volume: (side, side, 3), in the order D, H, W
    start = center + across[..., None] * right + upward[..., None] * up + toward * reach
    steps = np.arange(0, 2 * reach, _STEP)
    depth = np.full((side, side), np.nan)
    rows = max(1, _CHUNK // (side * len(steps)))
    for first in range(0, side, rows):
        rays = start[first : first + rows, :, None] - steps[:, None] * toward
        depth[first : first + rows] = _first_crossing(_at(volume, rays), steps, level)
    seen = ~np.isnan(depth)
    points = start[seen] - depth[seen][:, None] * toward
    normal = -np.stack([_at(volume, points + h) - _at(volume, points - h) for h in _NEAR * np.eye(3)], -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal /= np.maximum(length, 1e-9)
    light = np.array(_LIGHT) / np.linalg.norm(_LIGHT)
    to_light = light[0] * right + light[1] * up + light[2] * toward
    image = np.zeros((side, side), np.float64)
    image[seen] = 40 + 215 * (_AMBIENT + (1 - _AMBIENT) * np.maximum(normal @ to_light, 0))
    return image.astype(np.uint8)


def slices(volume: Bytes) -> tuple[Bytes, Bytes, Bytes]:
    """Return the middle slices of uint8 (D, H, W) across D, H and W, each a 2-D array."""
    d, h, w = (n // 2 for n in volume.shape)
    return volume[d], volume[:, h], volume[:, :, w]


def preview(volumes: Floats, span: tuple[float, float], level: float = 0.5, side: int = 128) -> Bytes:
    """Return one row per volume, uint8 (N, side, 4 x side, 1): its surface and its three middle slices.

    volumes: float32 (N, C, D, H, W); only the first channel is shown
    level:   of the surface, as a share of the range `span`
    """
    low, high = span
    shares = np.clip((volumes[:, 0] - np.float32(low)) / np.float32(high - low), 0, 1)
    shown = []
    for one in shares:
        cuts = [enlarged(cut, side) for cut in slices((one * 255).astype(np.uint8))]
        shown.append(np.concatenate([shaded(one, level, side), *cuts], 1)[..., None])
    return np.stack(shown)


def surfaces(volumes: Floats, span: tuple[float, float], level: float = 0.5, side: int = 64) -> Bytes:
    """Return the surface of each of float32 (N, C, D, H, W), as `preview` has it: uint8 (N, side, side, 1)."""
    low, high = span
    return np.stack([shaded((v - low) / (high - low), level, side)[..., None] for v in volumes[:, 0]])


def check_level(level: float) -> None:
    """Raise GanExportError unless `level` is a share between the ends of a range."""
    if not 0 < level < 1:
        raise GanExportError(f"level={level:g}: must be between 0 and 1, a share of the volume's range")


def enlarged(image: Bytes, side: int) -> Bytes:
    """Return a 2-D image with nearest pixels at `side` x `side`, black around the shorter axis."""
    longest = max(image.shape)
    at = np.arange(side) * longest // side
    sheet = np.zeros((longest, longest), np.uint8)
    top, left = (longest - image.shape[0]) // 2, (longest - image.shape[1]) // 2
    sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    picked: Bytes = sheet[np.ix_(at, at)]
    return picked


def _camera(azimuth: float) -> tuple[npt.NDArray[np.float64], ...]:
    """Return unit vectors to the right, up and toward the camera, in the order D, H, W."""
    a, e = math.radians(azimuth), math.radians(ELEVATION)
    toward = np.array([math.sin(e), math.cos(e) * math.sin(a), math.cos(e) * math.cos(a)])
    right = np.array([0.0, -math.cos(a), math.sin(a)])
    return right, np.cross(toward, right), toward


def _first_crossing(
    values: npt.NDArray[np.float64], steps: npt.NDArray[np.float64], level: float
) -> npt.NDArray[np.float64]:
    """Return how far each ray (..., T) goes before it is above `level`; NaN if it never is."""
    inside = values > level
    hit = inside.argmax(-1)
    none = ~inside.any(-1)
    before = np.maximum(hit - 1, 0)
    one, other = (np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (before, hit))
    share = np.where(hit > 0, (level - one) / np.maximum(other - one, 1e-9), 0.0)
    depth: npt.NDArray[np.float64] = steps[before] + share * (steps[hit] - steps[before])
    return np.where(none, np.nan, depth)


def _at(volume: Floats, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interpolate a volume linearly at points (..., 3); outside it is 0."""
    padded = np.pad(volume, 1)
    shape = np.array(padded.shape)
    inside = np.clip(points + 1, 0, shape - 1.001)
    low = inside.astype(np.int64)
    share = inside - low
    flat, (_, h, w) = padded.ravel(), padded.shape
    corner = (low[..., 0] * h + low[..., 1]) * w + low[..., 2]
    total = np.zeros(points.shape[:-1])
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                weight: npt.NDArray[np.float64] = np.ones(points.shape[:-1])
                for axis, up in enumerate((i, j, k)):
                    weight = weight * (share[..., axis] if up else 1 - share[..., axis])
                total += weight * flat[corner + (i * h + j) * w + k]
    return total
