"""Volumes and signals are written as arrays, meshes, sounds, previews and shards; the rest is refused in a line."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gan_export
from gan_export import images, volumes
from gan_export.cli import sample
from gan_export.errors import GanExportError
from gan_export.sampling import meshes
from gan_export.training.solids import CLASSES, Solids, draw
from tests.originals.volumes import ROWS

BY_NAME = {o.name: o for o in ROWS}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("volumes")
    chosen = {"volume": "volume-enlarged", "signal": "signal-flat"}
    return {k: BY_NAME[n].save(BY_NAME[n].model(), folder / f"{k}.pth") for k, n in chosen.items()}


def run(*arguments: object) -> int:
    """Run gan-sample in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["gan-sample", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            sample.main()
    return int(end.value.code or 0)


def test_bytes_and_values_are_the_same_volumes(files: dict[str, Path]) -> None:
    with gan_export.open(files["volume"]) as g:
        levels, values = g.sample(3, seed=7), g.values(3, seed=7)
        assert levels.shape == (3, 16, 16, 16, 1)
        assert values.shape == (3, 1, 16, 16, 16)
        assert 0 <= values.min() < values.max() <= 1
        assert np.array_equal(levels, np.moveaxis(images.levels(values, (0.0, 1.0)), 1, -1))
        assert np.abs(g.values(indices=[2], seed=7) - values[2:]).max() < 1e-5
        z = g.latents(7, range(3))
        assert np.abs(g.generate(z) - values).max() < 1e-5
        with pytest.raises(GanExportError, match="volumes of 1 x 16 x 16 x 16, and not images"):
            assert g.image


def test_signals_keep_their_order(files: dict[str, Path]) -> None:
    with gan_export.open(files["signal"]) as g:
        assert g.sample(2).shape == (2, 16, 1)
        assert g.values(2).shape == (2, 1, 16)


def test_arrays_and_a_preview(files: dict[str, Path], tmp_path: Path) -> None:
    assert run(files["volume"], "-n", 3, "-o", tmp_path / "v.npz") == 0
    assert run(files["volume"], "-n", 2, "--level", 0.4, "-o", tmp_path / "v.png") == 0
    with gan_export.open(files["volume"]) as g, np.load(tmp_path / "v.npz") as stored:
        assert np.array_equal(stored["volumes"], g.sample(3))
    with Image.open(tmp_path / "v.png") as sheet:
        assert sheet.size == (4 * 128 + 4, 2 * 130 + 2)


def test_sounds(files: dict[str, Path], tmp_path: Path) -> None:
    assert run(files["signal"], "--sample-rate", 8000, "-o", tmp_path / "one.wav") == 0
    assert run(files["signal"], "-n", 2, "--start", 5, "-o", tmp_path / "several") == 0
    assert sorted(p.name for p in (tmp_path / "several").iterdir()) == ["00000005.wav", "00000006.wav"]
    with wave.open(str(tmp_path / "one.wav")) as f, gan_export.open(files["signal"]) as g:
        assert (f.getnchannels(), f.getsampwidth(), f.getframerate(), f.getnframes()) == (1, 2, 8000, 16)
        heard = np.frombuffer(f.readframes(16), "<i2") / 32767
        assert np.abs(heard - g.values(1)[0, 0]).max() <= 0.5 / 32767 + 1e-7


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("volume", ("-o", "v.jpg"), "v.jpg: volumes are written as .npy, .npz, .png, .ply, or into a folder's name"),
        ("volume", ("-n", 2, "-o", "v.ply"), "a .ply file has one of the 2 volumes; name a folder, or -n 1"),
        ("volume", ("--level", 1.5, "-o", "v.ply"), "must be between 0 and 1"),
        ("volume", ("--level", 0.5, "-o", "v.npz"), "only a mesh (.ply) and a preview (.png) of volumes have one"),
        ("volume", ("--sample-rate", 5, "-o", "v.ply"), "only sounds (.wav) of a generator of signals have one"),
        ("volume", ("-n", 300, "-o", "v.png"), "a preview of 300 volumes is too large; it has at most 256"),
        ("signal", ("-o", "v.png"), "v.png: signals are written as .npy, .npz, .wav, or into a folder's name"),
        ("signal", ("--sample-rate", 0, "-o", "v.wav"), "sample rate 0: must be 1 to 1,000,000"),
    ],
)
def test_what_can_not_be_written_is_refused(
    kind: str, arguments: tuple[object, ...], message: str, files: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(files[kind], *arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_dataset_of_volumes(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "dataset"
    shape = ("--format", "npy", "--shard-size", 3, "--workers", 1)
    assert run("dataset", files["volume"], "-n", 5, *shape, "-o", out) == 0
    assert run("check", out, "--generator", files["volume"], "-n", 2) == 0
    shards = [np.load(out / f"volumes-{k:05d}.npy") for k in (0, 1)]
    with gan_export.open(files["volume"]) as g:
        assert np.array_equal(np.concatenate(shards), g.sample(5))
    assert json.loads((out / "MANIFEST.json").read_text())
    capsys.readouterr()
    assert run("dataset", files["volume"], "-n", 5, "--format", "png", "-o", tmp_path / "no") == 2
    assert "volumes of 1 x 16 x 16 x 16, and not images" in capsys.readouterr().err


def test_a_mesh_is_closed_and_faces_outward(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    ball = draw(0, 16).astype(np.float32)
    corners, normals, faces = meshes.mesh(ball, (0.0, 255.0), 0.5)
    from_center = corners - corners.mean(0)
    assert (np.sum(from_center * normals, 1) > 0).all()
    a, b, c = (corners[faces[:, i]] for i in range(3))
    assert (np.sum(np.cross(b - a, c - a) * from_center[faces[:, 0]], 1) > 0).all()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    meshes.write(tmp_path / "ball.ply", (corners, normals, faces))
    head, _, rest = (tmp_path / "ball.ply").read_bytes().partition(b"end_header\n")
    assert f"element vertex {len(corners)}\n".encode() in head
    assert len(rest) == 24 * len(corners) + 13 * len(faces)
    with pytest.raises(GanExportError, match="volume 3 has no surface at level"):
        meshes.require_surface(meshes.mesh(0 * ball, (0.0, 255.0), 0.5), 0.5, 3)


def test_the_view_shows_the_surface_from_the_camera() -> None:
    """A box that is low in D is drawn low, and its top is lighter than its sides."""
    volume = np.zeros((16, 16, 16), np.float32)
    volume[1:6, 4:12, 4:12] = 1
    view = volumes.shaded(volume, 0.5, 48)
    rows = np.flatnonzero(view.any(1))
    assert 24 < rows.mean() < 44
    top, bottom = view[rows[3]], view[rows[-4]]
    assert top[top > 0].mean() > bottom[bottom > 0].mean() + 20


def test_solids_are_a_function_of_their_index() -> None:
    source = Solids(16)
    read = source.read(np.array([7, 2]))
    assert read.shape == (2, 1, 16, 16, 16)
    assert np.array_equal(read[0, 0], draw(7, 16))
    assert source.labels is not None
    assert [CLASSES[i] for i in source.labels[[7, 2]]] == ["torus", "torus"]
    assert np.array_equal(draw(7, 16), draw(7, 16))
    assert not np.array_equal(draw(7, 16), draw(12, 16))
    kept = Solids(16, memory=1.0)
    for _ in range(2):  # the second time from memory
        assert np.array_equal(kept.read(np.array([7, 2])), read)
    assert 0.01 < (read > 127).mean() < 0.4
