"""Each recipe that ships takes a few steps, with its own losses and augmentation, narrower and on a few pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export import checkpoint
from gan_export.recognize.options import ReadOptions
from gan_export.training import events, recipe, trainer
from gan_export.training.solids import Solids
from tests.conftest import latent_image
from tests.training.common import ROOT, gan_train

NARROWER = 16


@pytest.fixture(scope="module")
def dealt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 noisy colour pictures in eight folders: the fewest classes of a recipe with labels."""
    folder = tmp_path_factory.mktemp("dealt")
    random = np.random.default_rng(0)
    for i in range(20):
        (folder / str(i % 8)).mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / str(i % 8) / f"{i}.png")
    return folder


@pytest.mark.parametrize("name", recipe.known())
def test_every_recipe_takes_steps_and_gives_a_generator_that_is_read(name: str, tmp_path: Path, dealt: Path) -> None:
    ours = recipe.load(name)
    narrow = [
        f"{net}.widths={[max(2, w // NARROWER) for w in getattr(ours, net).widths]}"
        for net in ("generator", "discriminator")
    ]
    source, data = "folder", dealt
    if ours.data.dims == 3:
        source, data = "npz", tmp_path / "solids.npz"
        solids = np.concatenate(Solids(ours.data.size).read(np.arange(20)))
        np.savez(data, volumes=solids, labels=np.arange(20) % ours.generator.classes)
    read = recipe.load(
        name,
        [*narrow, f"data.source={source}", f"data.path={data.as_posix()}", "train.batch=8", "train.epochs=1",
         "ema.recalibrate=64", "output.metrics_every=0", "compute.device=cpu", "compute.autocast=off",
         "compute.tf32=false", "compute.threads=1"],
    )  # fmt: skip
    observed: list[events.Event] = []
    trainer.train(read, tmp_path / "run", trainer.Options(observe=observed.append))
    measured = [e for e in observed if isinstance(e, events.Measured)]
    assert measured[-1].step == (2 if ours.data.drop_last else 3)
    spec = checkpoint.read(tmp_path / "run" / "generator_1.pth", ReadOptions()).spec
    assert latent_image(spec).image == (ours.data.channels, *(ours.data.size,) * ours.data.dims)
    assert latent_image(spec).classes == ours.generator.classes


def test_the_list_says_which_recipes_have_a_record() -> None:
    lines = gan_train("list").stdout.splitlines()
    before, last = (next(one for one in lines if one.startswith(start)) for start in ("with a record", "without a"))
    have = {p.parent.name for p in (ROOT / "train" / "records").glob("*/record.json")}
    for name in recipe.known():
        assert (name in before.split(": ")[1].split(", ")) == (name in have)
        assert (name in last.split(": ")[1].split(", ")) == (name not in have)
