"""Pictures in PyTorch: the same that gan-sample writes, through workers, samplers and ranks, each once."""

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
from gan_export import images, latents
from gan_export.errors import GanExportError
from tests.conftest import ROOT
from tests.scale.conftest import COUNT, SEED, drawn


def test_items_are_the_pictures_of_the_seed(gan: Path, wanted: np.ndarray) -> None:
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
def test_a_shuffling_loader_gives_each_picture_with_its_label(labelled_gan: Path, workers: int) -> None:
    found = gan_export.dataset(labelled_gan, seed=SEED, length=COUNT)
    first = found[0]  # opened here, before the loader forks
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0)).tolist()
    loader = DataLoader(found, batch_size=16, sampler=order, num_workers=workers)
    batches = list(loader)
    pictures, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    step = np.abs(images.to_bytes(pictures.numpy()).astype(int) - drawn(labelled_gan)[order].astype(int))
    assert step.max() <= 1
    assert step.mean() < 1e-4
    assert labels.tolist() == latents.labels(SEED, 0, COUNT, 10)[order].tolist()
    assert isinstance(first, tuple)


def test_a_stream_is_cut_among_ranks_and_workers(gan: Path) -> None:
    """A mark that says which picture it is: its own bytes."""
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


def test_what_cannot_be_drawn_is_said_at_once(gan: Path) -> None:
    for bad in ({"seed": -1}, {"length": 0}, {"label": 3}, {"psi": 2.0}, {"start": (1 << 64) - 1}):
        with pytest.raises(GanExportError):
            gan_export.dataset(gan, **{"seed": 0, "length": 9, **bad})  # type: ignore[arg-type]
    with pytest.raises(GanExportError, match="no such file"):
        gan_export.dataset("nothing.gan", seed=0, length=9)


def test_a_classifier_learns_from_it(labelled_gan: Path) -> None:
    """The training loop of docs/scale.md: labels are learnt from pictures that lie nowhere."""
    torch.manual_seed(0)
    loader = DataLoader(gan_export.dataset(labelled_gan, seed=1, length=1280), batch_size=64)
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
    pictures, labels = default_collate([gan_export.dataset(labelled_gan, seed=2, length=200)[i] for i in range(200)])
    assert (model(pictures).argmax(1) == labels).float().mean() > 0.2


@pytest.mark.long
def test_the_example_trains_on_pictures_that_lie_nowhere(labelled_gan: Path) -> None:
    words = [labelled_gan, "--pictures", 4800, "--workers", 0]
    run = subprocess.run(
        [sys.executable, ROOT / "train" / "on_the_fly.py", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = re.search(r"([\d.]+)% of 2,000 pictures of another seed", run.stdout)
    assert found
    assert float(found[1]) > 30  # by chance: 10
