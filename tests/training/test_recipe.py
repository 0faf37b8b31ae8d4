from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from gan_export.errors import GanExportError
from gan_export.training import recipe
from tests.training.common import ROOT


def test_every_recipe_that_ships_reads_and_says_what_it_is_for() -> None:
    assert {"mnist32-classic", "mnist32-demo", "mnist32-small"} <= set(recipe.known())
    for name in recipe.known():
        read = recipe.load(name)
        assert read.name == name
        assert len(read.about) > 10
        assert recipe.from_data(read.to_json(), "again") == read


def test_the_classic_recipe_is_the_classic_setup() -> None:
    r = recipe.load("mnist32-classic")
    assert (r.generator.nz, r.generator.widths, r.discriminator.widths) == (100, (512, 256, 128), (128, 256, 512))
    assert (r.loss.kind, r.loss.one_call, r.ema.decay, r.train.batch, r.train.epochs) == ("bce", False, 0.0, 128, 20)
    for adam in (r.optimizer.generator, r.optimizer.discriminator):
        assert (adam.lr, adam.beta1, adam.beta2) == (2e-4, 0.5, 0.999)
    assert (r.optimizer.decay_from, r.output.save_every, r.discriminator.slope) == (1.0, 10, 0.2)
    assert (r.discriminator.norm, r.discriminator.spectral) == ("batch", False)


def test_settings_override_fields_of_every_type() -> None:
    r = recipe.load(
        "mnist32-classic",
        ["train.epochs=3", "optimizer.generator.lr=1e-3", "data.source=mnist-10k", "loss.one_call=true",
         "generator.widths=[8, 8, 8]", "optimizer.decay_from=0"],
    )  # fmt: skip
    assert (r.train.epochs, r.optimizer.generator.lr, r.data.source) == (3, 1e-3, "mnist-10k")
    assert r.loss.one_call
    assert r.generator.widths == (8, 8, 8)
    assert r.optimizer.decay_from == 0.0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.epoch=5", ("train.epoch", "train.epochs")),
        ("trian.epochs=5", ("trian", "train")),
        ("epochs=5", ("epochs", "train.epochs")),
        ("loss.label_smothing=0.1", ("unknown field loss.label_smothing",)),
        ("optimizer.generator.learning=1", ("unknown field optimizer.generator.learning",)),
        ("train.epochs=many", ("train.epochs", "whole number")),
        ("train.epochs=2.5", ("train.epochs", "whole number")),
        ("train.epochs=0", ("train.epochs", "1 or more")),
        ("train.batch=0", ("train.batch", "2 to 65536")),
        ("train.seed=-1", ("train.seed",)),
        ("optimizer.generator.lr=0", ("optimizer.generator.lr",)),
        ("optimizer.generator.lr=nan", ("optimizer.generator.lr",)),
        ("data.size=48", ("data.size", "8, 16, 32")),
        ("data.size=64", ("generator.widths", "4 numbers")),
        ("data.channels=2", ("data.channels", "1 or 3")),
        ("data.source=mnist10k", ("mnist10k", "mnist-10k")),
        ("data.source=folder", ("data.path",)),
        ("generator.widths=[512, 256]", ("generator.widths", "3 numbers")),
        ("generator.widths=512", ("generator.widths", "list of whole numbers")),
        ("loss.kind=wgan", ("loss.kind", "bce", "hinge")),
        ("loss.one_call=1", ("loss.one_call", "true or false")),
        ("loss=1", ("loss is 1", "named fields")),
        ("train.epochs.x=1", ("train.epochs", "whole number")),
        ("train.epochs", ("section.field=value",)),
    ],
)
def test_a_bad_setting_is_one_line_that_says_what_to_do(setting: str, words: tuple[str, ...]) -> None:
    with pytest.raises(GanExportError) as caught:
        recipe.load("mnist32-classic", [setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(GanExportError, match="mnist32-classic"):
        recipe.load("mnist32-clasic")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[train\nepochs=1", b"\x00" * 100])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(content)
    with pytest.raises(GanExportError, match="not a recipe in TOML"):
        recipe.load(str(file))


def test_a_recipe_from_a_file_takes_the_files_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nepochs = 3\n")
    read = recipe.load(str(file), ["train.batch=32"])
    assert (read.name, read.train.epochs, read.train.batch) == ("mine", 3, 32)


def test_a_resumed_run_may_go_on_longer_but_not_otherwise() -> None:
    r = recipe.load("mnist32-demo")
    longer = recipe.resumed(r, ["train.epochs=50", "output.keep=5"])
    assert (longer.train.epochs, longer.output.keep) == (50, 5)
    with pytest.raises(GanExportError, match=r"train\.batch"):
        recipe.resumed(r, ["train.batch=8"])


def test_the_docs_name_every_field() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for section, kind in typing.get_type_hints(recipe.Recipe).items():
        if not dataclasses.is_dataclass(kind) or section == "optimizer":
            continue
        for field in dataclasses.fields(kind):
            assert f"`{section}.{field.name}`" in page
    assert "`optimizer.{generator,discriminator}.{lr,beta1,beta2}`" in page
    assert "`optimizer.decay_from`" in page


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["ema.decay=0.9", "ema.recalibrate=0"], "ema.recalibrate is 0; it must be 1 or more"),
        (["loss.gradient_penalty=10"], "set discriminator.norm=none"),
        (["loss.kind=wasserstein"], "set loss.gradient_penalty=10"),
        (["data.path=2024-01-01"], "data.path is"),
    ],
)
def test_what_would_train_on_nonsense_is_refused(settings: list[str], words: str) -> None:
    with pytest.raises(GanExportError, match=words):
        recipe.load("mnist32-classic", settings)


def test_a_recipe_file_without_its_name_says_so(tmp_path: Path) -> None:
    data = recipe.load("mnist32-demo").to_json()
    del data["name"]
    with pytest.raises(GanExportError, match="name is missing"):
        recipe.from_data(data, "recipe.json")
