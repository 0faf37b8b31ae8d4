"""Keeps what a run gave: train/records/RECIPE/ with log, last grid, what is measured of it, hash, machine.

python train/record.py RUN
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from gan_export import evaluate, sampling
from gan_export.files import sha256_file
from gan_export.training import folder, state

RECORDS = Path(__file__).resolve().parent / "records"


def main(run: Path) -> None:
    recipe = folder.recipe(run)
    snapshot = state.read(folder.snapshots(run)[-1])
    checkpoint = max(run.glob("generator_*.pth"), key=lambda p: int(p.stem.rpartition("_")[2]))
    epoch = int(checkpoint.stem.rpartition("_")[2])
    record = RECORDS / recipe.name
    record.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / folder.RECIPE, record / folder.RECIPE)
    shutil.copyfile(run / folder.LOG, record / folder.LOG)
    shutil.copyfile(folder.preview(run, epoch, "grid"), record / "grid.png")
    with sampling.open_generator(checkpoint) as generator:
        measured = evaluate.evaluate(generator)
    told = {
        "recipe": recipe.name,
        "epochs": epoch,
        "steps": snapshot["step"],
        "seconds_of_training": round(snapshot["seconds"]),
        "machine": snapshot["machine"],
        "generator_sha256": sha256_file(checkpoint),
        "generator_bytes": checkpoint.stat().st_size,
        "judge": {"seed": evaluate.SEED, **measured.to_json()},
    }
    (record / "record.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
