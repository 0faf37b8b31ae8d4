"""Plot the Frechet distance of runs against their training time.

    python train/experiments/curves.py RUN RUN ... [-o train/experiments/curves.svg]

Each RUN is a run's folder or a record of one; only its recipe.json and log.jsonl are read.  Prints the distance of each
when the shortest one ended, and the time that each took to the first one's final distance.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
STYLE = {
    "svg.hashsalt": "curves", "svg.fonttype": "none", "font.family": "sans-serif", "axes.grid": True,
    "grid.color": "#dddddd", "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Curve:
    """A run's measurements: (seconds of training, Frechet distance), in the order of time."""

    name: str
    points: tuple[tuple[float, float], ...]

    def at(self, seconds: float) -> float:
        """Return the last measurement until then; infinity before the first."""
        return ([float("inf")] + [d for s, d in self.points if s <= seconds])[-1]

    def reaches(self, distance: float) -> float | None:
        """Return the seconds until the first measurement that is no larger."""
        return next((s for s, d in self.points if d <= distance), None)


def read(run: Path) -> Curve:
    """Read a run; raise ValueError for a folder without a log, or with a log without measurements."""
    try:
        name = json.loads((run / "recipe.json").read_bytes())["name"]
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        points = tuple((e["seconds"], e["figures"]["frechet"]) for e in lines if e["event"] == "scored")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run} is not the folder of a run: {error}") from error
    if not points:
        raise ValueError(f"{run} has no measurements; set output.metrics_every, the number of steps between two")
    return Curve(name, points)


def table(curves: list[Curve]) -> str:
    """Return the table, in Markdown."""
    end = min(c.points[-1][0] for c in curves)
    first = curves[0]
    goal = first.points[-1][1]
    lines = [f"| | after {end / 60:.1f} minutes | to {goal:.1f}, where {first.name} ended |", "|---|---|---|"]
    for curve in curves:
        reached = curve.reaches(goal)
        lines.append(f"| {curve.name} | {curve.at(end):.1f} | {f'{reached:.0f} s' if reached else 'not reached'} |")
    return "\n".join(lines)


def picture(curves: list[Curve]) -> str:
    """Return the plot as SVG, the same bytes for the same curves."""
    import matplotlib
    from matplotlib.figure import Figure

    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot(xscale="log", yscale="log", xlabel="minutes of training", ylabel="Frechet distance")
        for curve in curves:
            axes.plot([s / 60 for s, _ in curve.points], [d for _, d in curve.points], marker=".", label=curve.name)
        axes.legend(frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "curves.svg")
    given = parser.parse_args()
    try:
        curves = [read(run) for run in given.runs]
        if len({c.name for c in curves}) < len(curves):  # variants of one recipe
            curves = [replace(c, name=run.resolve().name) for c, run in zip(curves, given.runs, strict=True)]
        given.out.write_text(picture(curves), encoding="utf-8")
    except (OSError, ValueError, ImportError) as error:
        print(f"curves.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(table(curves))


if __name__ == "__main__":
    main()
