"""Store the results of a run of `gan-train distill`: train/records/NAME/ with log, images, student, speeds, hashes.

    python tools/record_student.py RUN [--name NAME] [--folder train/records]

--name is the name of the record's folder; default: the name of the run's recipe.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from gan_export._lib.fs import sha256_file
from gan_export.bench import pair
from gan_export.errors import GanExportError
from gan_export.training import run_dir, snapshot
from gan_export.training.distill import recipe as distilling
from gan_export.training.distill import trainer

RECORDS = Path(__file__).resolve().parent.parent / "train" / "records"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--folder", type=Path, default=RECORDS)
    given = parser.parse_args()
    try:
        kept = keep(given.run, given.folder, given.name)
    except (OSError, ValueError, KeyError, TypeError, GanExportError) as error:
        print(f"record_student.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(kept, indent=2))


def keep(run: Path, records: Path, name: str | None) -> dict[str, object]:
    """Write the record of a run, and return its record.json; raise ValueError unless the run has ended."""
    recipe = distilling.read(run)
    student = run / f"student_{recipe.train.steps}.safetensors"
    if not student.is_file() or not (run / trainer.FIGURES).is_file():
        raise ValueError(f"{run} has not ended; record it afterwards")
    figures = json.loads((run / trainer.FIGURES).read_text(encoding="utf-8"))
    record = records / (name or recipe.name)
    record.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / distilling.RECIPE, record / distilling.RECIPE)
    shutil.copyfile(run / run_dir.LOG, record / run_dir.LOG)
    shutil.copyfile(run / run_dir.PREVIEWS / f"{recipe.train.steps:07d}_beside-teacher.png", record / "grid.png")
    shutil.copyfile(student, record / "student.safetensors")
    speeds = pair.compare(run / trainer.TEACHER, student, pair.available(("native", "onnxruntime")), threads=1)
    seconds = [e["seconds"] for e in run_dir.log(run) if e["event"] == "ended"]
    kept: dict[str, object] = {
        "recipe": recipe.name,
        "steps": recipe.train.steps,
        "seconds_of_training": round(seconds[-1]),
        "machine": snapshot.read(run_dir.snapshots(run)[-1])["machine"],
        "teacher_sha256": recipe.teacher_sha256,
        "student_sha256": sha256_file(student),
        "student_bytes": student.stat().st_size,
        "images_per_second_of_one_thread": {
            s.runtime: {"teacher": s.first, "student": s.second, "batch": pair.BATCH} for s in speeds
        },
        "figures": figures,
    }
    (record / "record.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return kept


if __name__ == "__main__":
    main()
