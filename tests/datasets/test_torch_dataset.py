"""Test datasets in PyTorch: they have gan-sample's images, each once, with workers, samplers and ranks."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

import gan_export
from gan_export import checkpoint, exporters, images, latents
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from tests.conftest import ROOT
from tests.datasets.conftest import COUNT, SEED, drawn

ONNX = ROOT / "exported" / "mnist32" / "generator.onnx"


def test_items_are_the_images_of_the_seed(gan: Path, wanted: np.ndarray) -> None:
    found = gan_export.dataset(gan, seed=SEED, length=COUNT)
    assert len(found) == COUNT
    values = torch.stack(found.__getitems__(list(range(COUNT))))  # type: ignore[arg-type]
    assert values.shape == (COUNT, 1, 32, 32)
    assert np.array_equal(images.to_bytes(values.numpy()), wanted)
    torch.testing.assert_close(found[-1], values[-1], atol=0.01, rtol=0)
    with pytest.raises(IndexError):
        found[COUNT]
    later = gan_export.dataset(gan, seed=SEED, length=30, start=40)
    assert np.array_equal(images.to_bytes(torch.stack(later.__getitems__(list(range(30)))).numpy()), wanted[40:])  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffling_loader_gives_each_picture_with_its_label(labeled_gan: Path, workers: int) -> None:
    found = gan_export.dataset(labeled_gan, seed=SEED, length=COUNT)
    first = found[0]  # opened here, before the loader forks
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0)).tolist()
    loader = DataLoader(found, batch_size=16, sampler=order, num_workers=workers)
    batches = list(loader)
    pictures, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    step = np.abs(images.to_bytes(pictures.numpy()).astype(int) - drawn(labeled_gan)[order].astype(int))
    assert step.max() <= 1
    assert step.mean() < 1e-4
    assert labels.tolist() == latents.labels(SEED, 0, COUNT, 10)[order].tolist()
    assert isinstance(first, tuple)


def test_a_stream_is_cut_among_ranks_and_workers(gan: Path) -> None:
    """An image's own bytes identify it."""
    length = 300
    whole = [p.numpy().tobytes() for p in gan_export.stream(gan, seed=SEED, length=length)]
    assert len(set(whole)) == length
    parts = []
    for rank in range(2):
        part = gan_export.stream(gan, seed=SEED, length=length, rank=rank, world=2)
        parts += [p.numpy().tobytes() for batch in DataLoader(part, batch_size=50, num_workers=2) for p in batch]
    assert sorted(parts) == sorted(whole)


def test_a_dataset_is_pickled_and_transformed(gan: Path) -> None:
    found = gan_export.dataset(gan, seed=SEED, length=4, transform=torch.neg)
    plain = gan_export.dataset(gan, seed=SEED, length=4)
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again[2], -plain[2])


@pytest.mark.parametrize("threads", [None, 1])
def test_a_training_loop_keeps_its_threads(classic_pth: Path, threads: int | None) -> None:
    """PyTorch has one number of threads for the whole process."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for make in (gan_export.dataset, gan_export.stream):
            found = make(classic_pth, seed=SEED, length=COUNT, threads=threads)
            assert torch.get_num_threads() == 2
            next(iter(found))
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_workers_generate_after_an_item_was_read_before_the_fork() -> None:
    """ONNX Runtime's threads don't survive a fork: closing a session of the parent would wait for them."""
    found = gan_export.dataset(ONNX, seed=SEED, length=COUNT, threads=2)
    first = found[0]
    loader = DataLoader(found, batch_size=16, num_workers=2, timeout=60, multiprocessing_context="fork")
    pictures = images.to_bytes(torch.cat(list(loader)).numpy())
    step = np.abs(pictures.astype(int) - drawn(ONNX).astype(int))
    assert step.max() <= 1
    assert step.mean() < 1e-4
    assert torch.equal(found[0], first)  # type: ignore[arg-type]


LOADERS = """
import sys, threading, gan_export
from gan_export.runtimes.native import Model
from torch.utils.data import DataLoader
found = gan_export.dataset(sys.argv[1], seed=7, length=8, threads=2)
want = [found[i].numpy() for i in range(8)]  # opened in the parent, before any loader forks
model = Model(sys.argv[1])
ended = []

def generate():  # contexts for five batch sizes in turn, so that one is being made at almost any moment
    while not ended:
        for n in (1, 2, 4, 8, 16):
            model.generate(3, n, threads=2)

thread = threading.Thread(target=generate)
thread.start()
wrong = 0
for i in range(int(sys.argv[2]) // 4):
    loader = DataLoader(found, batch_size=2, num_workers=4, timeout=60, multiprocessing_context="fork")
    got = [image.numpy() for batch in loader for image in batch]
    wrong += any(abs(a - b).max() > 1e-4 for a, b in zip(got, want, strict=True))
ended.append(1)
thread.join()
print(wrong, len(want))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers by fork")
@pytest.mark.parametrize("workers", [4, pytest.param(200, marks=pytest.mark.long)])
def test_workers_fork_beside_a_generator_that_generates_in_the_parent(gan: Path, workers: int) -> None:
    """Each worker gives the parent's images; one that waited for a lock would end its loader after 60 seconds."""
    command = [sys.executable, "-c", LOADERS, str(gan), str(workers)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "8"], done.stdout + done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_workers_draw_on_cuda_and_a_training_loop_keeps_its_tf32(classic_pth: Path) -> None:
    """Run in a process of its own, which has not used the GPU before its loader forks."""
    program = (
        "import sys, torch, gan_export\n"
        "from torch.utils.data import DataLoader\n"
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True\n"
        "found = gan_export.dataset(sys.argv[1], seed=7, length=70, device='cuda')\n"
        "loader = DataLoader(found, batch_size=16, num_workers=2, timeout=100, multiprocessing_context='fork')\n"
        "drawn = sum(map(len, loader)) + len([found[0]])\n"
        "print(drawn, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(classic_pth)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["71", "True", "True"]


def test_a_file_that_draws_from_a_seed_by_itself_is_refused_at_once(classic_pth: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.sampler.onnx"
    exporters.find("onnx").write(checkpoint.read(classic_pth), path, Options(sampler=True))
    for make in (gan_export.dataset, gan_export.stream):
        with pytest.raises(GanExportError, match="without sampler=True"):
            make(path, seed=SEED, length=COUNT)


def test_invalid_arguments_are_refused_at_once(gan: Path) -> None:
    for bad in (
        {"seed": -1},
        {"length": 0},
        {"labels": 3},
        {"latent_scale": 2.0},
        {"start": (1 << 64) - 1},
        {"device": "cuda"},
    ):
        with pytest.raises(GanExportError):
            gan_export.dataset(gan, **{"seed": 0, "length": 9, **bad})  # type: ignore[arg-type]
    with pytest.raises(GanExportError, match="no such file"):
        gan_export.dataset("nothing.gan", seed=0, length=9)


def test_a_classifier_learns_from_it(labeled_gan: Path) -> None:
    """Run the training loop of docs/datasets.md: labels are learned from images that are never on disk."""
    torch.manual_seed(0)
    loader = DataLoader(gan_export.dataset(labeled_gan, seed=1, length=1280), batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for pictures, labels in loader:
        loss = nn.functional.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:2])
    pictures, labels = default_collate([gan_export.dataset(labeled_gan, seed=2, length=200)[i] for i in range(200)])
    assert (model(pictures).argmax(1) == labels).float().mean() > 0.2


@pytest.mark.long
def test_the_example_trains_on_pictures_that_lie_nowhere(labeled_gan: Path) -> None:
    words = [labeled_gan, "--images", 4800, "--workers", 0]
    run = subprocess.run(
        [sys.executable, ROOT / "train" / "on_the_fly.py", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = re.search(r"([\d.]+)% of 2,000 images of another seed", run.stdout)
    assert found
    assert float(found[1]) > 30  # by chance: 10
