"""Store the results of a run: train/records/RECIPE/ with log, last grid, measurements, hash, machine.

    python train/experiments/record.py RUN [--name NAME] [--folder train/records]

--name is the name of the record's folder, for a second run of one recipe; default: the recipe's name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch

import gan_export

SEED = 1  # of the images that are measured
RECORDS = Path(__file__).resolve().parent.parent / "records"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--folder", type=Path, default=RECORDS)
    given = parser.parse_args()
    try:
        record_of = keep(given.run, given.folder, given.name)
    except (OSError, ValueError, KeyError, TypeError, gan_export.GanExportError) as error:
        print(f"record.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(record_of, indent=2))


def keep(run: Path, records: Path, name: str | None) -> dict[str, object]:
    """Write the record of a run, and return the content of its record.json; raise ValueError without a checkpoint."""
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    checkpoints = sorted(run.glob("generator_*.pth"), key=lambda p: int(p.stem.rpartition("_")[2]))
    snapshots = sorted((run / "snapshots").glob("[0-9]*.pt"))
    if not checkpoints or not snapshots:
        raise ValueError(f"{run} contains no checkpoint and snapshot yet; record it after its first ones")
    checkpoint = checkpoints[-1]
    events = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [e["step"] for e in events if e.get("path") == checkpoint.name]
    seconds = [e["seconds"] for e in events if e["event"] == "measured" and steps and e["step"] <= steps[-1]]
    if not seconds:
        raise ValueError(f"the log of {run} has no entry for {checkpoint.name}")
    step = steps[-1]
    epoch = int(checkpoint.stem.rpartition("_")[2])
    record = records / (name or recipe["name"])
    record.mkdir(parents=True, exist_ok=True)
    for file in ("recipe.json", "log.jsonl"):
        shutil.copyfile(run / file, record / file)
    shutil.copyfile(run / "previews" / f"{epoch:04d}_grid.png", record / "grid.png")
    judge = {}
    if recipe["data"].get("dims", 2) == 2:  # nothing measures volumes
        judge = {"judge": {"seed": SEED, **gan_export.evaluate(checkpoint, seed=SEED).to_json()}}
    record_of: dict[str, object] = {
        "recipe": recipe["name"],
        "epochs": epoch,
        "steps": step,
        "seconds_of_training": round(seconds[-1]),
        "machine": torch.load(snapshots[-1], weights_only=True)["machine"],
        "generator_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "generator_bytes": checkpoint.stat().st_size,
        **judge,
    }
    (record / "record.json").write_text(json.dumps(record_of, indent=2) + "\n", encoding="utf-8")
    return record_of


if __name__ == "__main__":
    main()
