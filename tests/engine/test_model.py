"""The engine as a `Model`: what a call takes, gives and refuses; the file it reads."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.exporters.native import encode
from gan_export.runtimes.native import Model
from gan_export.runtimes.native_library import library_path
from tests.conftest import Command, latent_image, refused

from .conftest import Write, random_weights, transposed

SPEC = transposed((24, 16), 3, 13)


@pytest.fixture
def path(write: Write) -> Path:
    return write(SPEC, random_weights(SPEC))


def test_latents_are_the_law_s(path: Path, write: Write) -> None:
    other = transposed((8,), 1, 21, "uniform")
    for file, spec in ((path, SPEC), (write(other, random_weights(other)), other)):
        with Model(file) as model:
            for seed, start in ((0, 0), (7, 5), (2**64 - 1, 2**64 - 4), (81985529216486895, 2**40)):
                want = latents.draw(seed, start, 4, latent_image(spec).nz, latent_image(spec).prior)
                np.testing.assert_array_equal(model.latents(seed, start, 4).view(np.uint32), want.view(np.uint32))


def test_a_picture_depends_on_its_index_alone(path: Path) -> None:
    with Model(path) as model:
        all_ = model.generate(7, 70)
        assert (all_.shape, all_.dtype) == ((70, 16, 16, 3), np.uint8)
        for start, count in ((0, 1), (69, 1), (31, 8), (5, 33)):
            part = model.generate(7, count, start=start, threads=1)
            assert np.abs(part.astype(int) - all_[start : start + count]).max() <= 1
        far = model.generate(7, 2, start=2**40)
        np.testing.assert_array_equal(far, model.generate(latents=latents.draw(7, 2**40, 2, 13)))


def test_out_is_filled(path: Path) -> None:
    with Model(path) as model:
        out = np.zeros((3, 16, 16, 3), np.uint8)
        assert model.generate(1, 3, out=out) is out
        np.testing.assert_array_equal(out, model.generate(1, 3))
        for wrong in (out[:2], out.astype(np.float32), np.zeros((3, 16, 32, 3), np.uint8)[:, :, ::2]):
            with pytest.raises(GanExportError, match="out is"):
                model.generate(1, 3, out=wrong)


def test_counts_and_numbers_outside_the_law(path: Path) -> None:
    with Model(path) as model:
        assert model.generate(0, 0).shape == (0, 16, 16, 3)
        for seed, start, count in ((-1, 0, 1), (2**64, 0, 1), (0, -1, 1), (0, 2**64 - 1, 2), (0, 2**64, 0), (0, 0, -1)):
            with pytest.raises(GanExportError, match=r"2\^64-1|negative"):
                model.generate(seed, count, start=start)
        with pytest.raises(GanExportError, match="memory"):
            model.generate(0, 2**60)
        with pytest.raises(GanExportError, match="threads"):
            model.generate(0, 1, threads=0)
        with pytest.raises(GanExportError, match="latents"):
            model.generate(latents=np.zeros((2, 12)))
    with pytest.raises(GanExportError, match="closed"):
        model.generate()


def test_threads_share_a_model(path: Path) -> None:
    with Model(path) as model:
        want = model.generate(3, 40)
        wrong: list[int] = []

        def draw(count: int) -> None:
            for _ in range(5):
                if np.abs(model.generate(3, count, threads=2).astype(int) - want[:count]).max() > 1:
                    wrong.append(count)

        workers = [threading.Thread(target=draw, args=(n,)) for n in (1, 7, 40, 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong


def test_half_precision_weights(write: Write) -> None:
    weights = random_weights(SPEC)
    with Model(write(SPEC, weights)) as model:
        want = model.generate_floats(2, 4)
    rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in weights.items()}
    with Model(write(SPEC, rounded)) as model:
        exact = model.generate_floats(2, 4)
    with Model(write(SPEC, weights, "fp16")) as model:
        np.testing.assert_array_equal(model.generate_floats(2, 4), exact)
        assert model.weight_bytes == 2 * sum(v.size for v in weights.values())
    with Model(write(SPEC, weights, "bf16")) as model:
        assert 1e-5 < np.abs(model.generate_floats(2, 4) - want).max() < 0.1
    with pytest.raises(GanExportError, match="fp16"):
        encode(SPEC, {k: v * 1e6 for k, v in weights.items()}, precision="fp16")


def test_damaged_files(path: Path) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(0)

    def refused(data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(GanExportError) as caught:
            Model(path)
        assert "\n" not in str(caught.value)

    for size in (0, 1, 7, 8, 100, 127, 128, 500, len(whole) // 2, len(whole) - 1):
        refused(whole[:size])
    refused(whole + b"\0")
    for position in [*range(128), *rng.integers(128, len(whole), 200)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        refused(bytes(damaged))
    half = len(whole) // 2 // 8 * 8
    refused(whole[:half] + whole[half + 8 : half + 16] + whole[half : half + 8] + whole[half + 16 :])
    path.write_bytes(whole)
    with Model(path) as model:
        assert model.manifest == '{"of": "a test"}'


def test_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    for stranger in (tmp_path / "missing.gan", tmp_path):
        with pytest.raises(GanExportError, match="can't be read"):
            Model(stranger)
    (tmp_path / "text.gan").write_text("a text " * 100)
    with pytest.raises(GanExportError, match=r"not a \.gan file"):
        Model(tmp_path / "text.gan")
    monkeypatch.setenv("GAN_CPU", "z80")
    with pytest.raises(GanExportError, match="GAN_CPU"):
        Model(path)


def test_another_programs_manifest_is_refused_by_name(path: Path, command: Command, tmp_path: Path) -> None:
    result = command("gan-sample", path, "-o", tmp_path / "grid.png")
    assert f"{path.name}: its manifest lacks 'version'" in refused(result)
    assert not (tmp_path / "grid.png").exists()


def test_drawing_imports_no_torch(path: Path) -> None:
    use = f"from gan_export.runtimes.native import Model; Model({str(path)!r}).generate(1, 2)"
    code = f"import sys; {use}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_library_exports_its_interface_alone() -> None:
    assert library_path().stat().st_size <= 720 * 1024
    header = (Path(__file__).parents[2] / "engine/include/gan.h").read_text()
    declared = set(re.findall(r"GAN_API [^;]*?\b(gan_\w+)\(", header))
    try:
        nm = ["nm", "-D", "--defined-only", library_path()]
        listing = subprocess.run(nm, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no nm")
    assert {line.split()[-1] for line in listing.stdout.splitlines()} == declared
