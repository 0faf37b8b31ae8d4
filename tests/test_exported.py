"""The generators that ship: small, equal in every format, and as good as their READMEs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_export.formats import manifest
from gan_export.metrics import evaluators, reference
from gan_export.pipeline import compare, evaluate
from gan_export.sampling.opening import open_generator
from tests.conftest import Command

FOLDERS = sorted(p.parent for p in (Path(__file__).parents[1] / "exported").glob("*/generator.pth"))
DIGITS = [folder for folder in FOLDERS if folder.name.startswith("mnist")]
EMOJI = next(folder for folder in FOLDERS if folder.name == "emoji64")
MOST, MOST_CHECKPOINT = 16e6, 5e6  # bytes of a folder, and of what is in it alone to be exported
COUNT = 2000  # pictures measured: their sure share strays from that of all by under 1.5 points, their digits by 2


def test_there_are_some() -> None:
    assert FOLDERS


@pytest.mark.parametrize(
    "folder",
    [pytest.param(f, marks=() if f.name in ("mnist32", "voxel32") else pytest.mark.long) for f in FOLDERS],
    ids=lambda f: f.name,
)
def test_a_folder_is_small_and_its_exports_are_its_checkpoint_s(folder: Path, command: Command) -> None:
    assert sum(f.stat().st_size for f in folder.iterdir()) <= MOST
    assert (folder / "generator.pth").stat().st_size <= MOST_CHECKPOINT
    assert {"generator.onnx", "generator.pt"} <= {f.name for f in folder.iterdir()}
    for name in ("generator.onnx", "generator.pt", "generator.gan"):
        if not (folder / name).is_file():
            continue
        result = command("gan-export", "verify", folder / name, folder / "generator.pth")
        assert result.code == 0, result
        assert manifest.report_path(folder / name).is_file()


@pytest.mark.parametrize("folder", DIGITS, ids=lambda f: f.name)
def test_its_pictures_are_what_the_readme_says(folder: Path) -> None:
    judged = json.loads((folder / "judged.json").read_text(encoding="utf-8"))
    with open_generator(folder / "generator.onnx") as generator:
        seen = evaluate.evaluate(generator, COUNT, evaluate.SEED + 1)
    assert abs(seen.sure_share - judged["sure_share"]) < 0.03
    assert seen.sure_share > seen.sure_share_real_test - 0.035
    assert judged["sure_share"] > judged["sure_share_real_test"] - 0.02
    assert judged["coverage"] > 0.84
    assert all(0.08 <= share <= 0.12 for share in judged["digits"])
    if seen.agreement is not None:
        assert min(seen.agreement, judged["label_agreement"]) >= 0.98
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{judged['sure_share']:.2%}" in readme


def test_its_emoji_are_as_near_to_the_font_s_as_its_readme_says() -> None:
    judged = json.loads((EMOJI / "judged.json").read_text(encoding="utf-8"))
    record = EMOJI.parents[1] / "train" / "records" / EMOJI.name
    evaluator = evaluators.find(str(record / "features.onnx"))
    with open_generator(EMOJI / "generator.gan") as generator:
        real = reference.load(record / "reference.npz")
        seen = compare.compare(generator, evaluator, real, count=1024, seed=evaluate.SEED + 1)
    assert abs(seen.frechet / judged["frechet"] - 1) < 0.15
    readme = (EMOJI / "README.md").read_text(encoding="utf-8")
    assert f"| Frechet distance | {judged['frechet']:.3g} |" in readme
    assert "SIL Open Font License" in readme
