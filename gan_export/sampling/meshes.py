"""Volumes as meshes: the surface at a level, by marching cubes, in a binary PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export._lib import extras
from gan_export._lib.fs import atomic_file
from gan_export.errors import GanExportError

Floats = npt.NDArray[np.float32]
Mesh = tuple[Floats, Floats, npt.NDArray[np.int32]]  # corners (V, 3), normals (V, 3), triangles (F, 3)
_CORNER = np.dtype([("at", "<f4", 3), ("normal", "<f4", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def mesh(volume: Floats, span: tuple[float, float], level: float) -> Mesh:
    """Return the surface of a volume (D, H, W), closed at the edges of the cube, and empty if no value crosses `level`.

    level: as a share of the range `span`
    Corners are x, y, z = W, H, D in voxels from the first voxel's center; normals point outward.
    Raises UnavailableError without scikit-image.
    """
    with extras.explained("a mesh (.ply)"):
        from skimage.measure import marching_cubes

    low, high = span
    shares = np.pad((volume - np.float32(low)) / np.float32(high - low), 1)
    if not shares.max() > level:
        empty = np.zeros((0, 3), np.float32)
        return empty, empty, np.zeros((0, 3), np.int32)
    corners, faces, normals, _ = marching_cubes(shares, level, gradient_direction="ascent")
    # the axes are reversed to x, y, z, which turns the triangles around
    return (
        (corners - 1)[:, ::-1].astype(np.float32),
        normals[:, ::-1].astype(np.float32),
        faces[:, ::-1].astype(np.int32),
    )


def write(path: Path, surface: Mesh) -> None:
    """Write a mesh as binary PLY, completely or not at all."""
    corners, normals, faces = surface
    head = "\n".join([
        "ply", "format binary_little_endian 1.0", f"element vertex {len(corners)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", "",
    ])  # fmt: skip
    rows = np.empty(len(corners), _CORNER)
    rows["at"], rows["normal"] = corners, normals
    triangles = np.empty(len(faces), _FACE)
    triangles["count"], triangles["corners"] = 3, faces
    with atomic_file(path) as temporary:
        temporary.write_bytes(head.encode() + rows.tobytes() + triangles.tobytes())


def require_surface(surface: Mesh, level: float, index: int) -> None:
    """Raise GanExportError for an empty mesh."""
    if not len(surface[2]):
        raise GanExportError(f"volume {index} has no surface at level {level:g}; choose a lower one with level=")
