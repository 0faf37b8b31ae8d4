"""Store the results of a run: train/records/RECIPE/ with log, last grid, measurements, hash, machine.

    python train/experiments/record.py RUN [--name NAME] [--folder train/records]
    python train/experiments/record.py RUN --features NET.onnx --reference NPZ

--name is the name of the record's folder, for a second run of one recipe; default: the recipe's name.  The measurement
is that of the digit classifier, or with --features a comparison with the images of --reference.
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

SEED, COUNT = 1, 10_000  # of the images that are measured
RECORDS = Path(__file__).resolve().parent.parent / "records"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--folder", type=Path, default=RECORDS)
    parser.add_argument("--features", help="as of gan-sample evaluate; with --reference")
    parser.add_argument("--reference", type=Path, help="statistics of real images (.npz), by gan-sample evaluate")
    given = parser.parse_args()
    if (given.features is None) != (given.reference is None):
        parser.error("--features and --reference go together")
    try:
        against = (given.features, given.reference) if given.features else None
        record_of = keep(given.run, given.folder, given.name, against)
    except (OSError, ValueError, KeyError, TypeError, gan_export.GanExportError) as error:
        print(f"record.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(record_of, indent=2))


def keep(run: Path, records: Path, name: str | None, against: tuple[str, Path] | None = None) -> dict[str, object]:
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
    measured = {}
    if against is not None:
        measured = {"compared": {"seed": SEED, **compared(checkpoint, *against)}}
    elif recipe["data"].get("dims", 2) == 2:  # nothing measures volumes
        measured = {"judge": {"seed": SEED, **gan_export.evaluate(checkpoint, COUNT, seed=SEED).to_json()}}
    record_of: dict[str, object] = {
        "recipe": recipe["name"],
        "epochs": epoch,
        "steps": step,
        "seconds_of_training": round(seconds[-1]),
        "machine": torch.load(snapshots[-1], weights_only=True)["machine"],
        "generator_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "generator_bytes": checkpoint.stat().st_size,
        **measured,
    }
    (record / "record.json").write_text(json.dumps(record_of, indent=2) + "\n", encoding="utf-8")
    return record_of


def compared(checkpoint: Path, features: str, against: Path) -> dict[str, object]:
    """Return the distances of a generator's images from those whose statistics a file has."""
    return gan_export.evaluate(checkpoint, COUNT, features=features, reference=against, seed=SEED).to_json()


if __name__ == "__main__":
    main()
