"""Keeps what a run gave: train/records/RECIPE/ with its log, last grid, the judge's words, checkpoint hash, machine.

python train/record.py RUN runs/judge.pth DATA_ROOT
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import judge

from gan_export.files import sha256_file
from gan_export.training import folder, state

RECORDS = Path(__file__).resolve().parent / "records"


def main(run: Path, judge_file: Path, root: str) -> None:
    recipe = folder.recipe(run)
    snapshot = state.read(folder.snapshots(run)[-1])
    checkpoint = max(run.glob("generator_*.pth"), key=lambda p: int(p.stem.rpartition("_")[2]))
    epoch = int(checkpoint.stem.rpartition("_")[2])
    record = RECORDS / recipe.name
    record.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / folder.RECIPE, record / folder.RECIPE)
    shutil.copyfile(run / folder.LOG, record / folder.LOG)
    shutil.copyfile(folder.preview(run, epoch, "grid"), record / "grid.png")
    told = {
        "recipe": recipe.name,
        "epochs": epoch,
        "steps": snapshot["step"],
        "seconds_of_training": round(snapshot["seconds"]),
        "machine": snapshot["machine"],
        "generator_sha256": sha256_file(checkpoint),
        "generator_bytes": checkpoint.stat().st_size,
        "judge": judge.ask(judge_file, root, checkpoint, 10_000),
    }
    (record / "record.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
