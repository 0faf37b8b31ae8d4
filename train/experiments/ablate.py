"""Measure the effect of single recipe fields: settings trained for equal time or equal steps, one change at a time.

    python train/experiments/ablate.py run --data-root DIR [--minutes 5] [--seeds 0,1] [--at-once 1] [-o runs/ablations]
    python train/experiments/ablate.py run --epochs 4 [--seeds 0,1] [-o runs/ablations-short]
    python train/experiments/ablate.py table [-o runs/ablations ...]  # logs -> train/experiments/ablations.md

`run` trains every setting of SETTINGS with every seed and skips finished runs, so it can be stopped and started again.
With --minutes, each run ends after that time, long before the schedules of its recipe do: a learning rate that falls in
the second half has no effect.  With --epochs, each is a complete run on the 10,000 digits in the package; other work on
the machine then changes nothing but the time.  --at-once sets the number of parallel runs; each should have its own
processors (`--set compute.threads=1`).  The table has a section per folder, with the last measurement of each run
(`output.metrics_pictures` images of the generator that would be saved) and the number of its steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BASE = "mnist32-best"
TABLE = HERE / "ablations.md"


@dataclass(frozen=True, slots=True)
class Setting:
    """The base recipe with one thing changed."""

    name: str
    about: str
    changes: tuple[str, ...] = ()
    recipe: str = BASE


SETTINGS: tuple[Setting, ...] = (
    Setting("base", f"`{BASE}` as it is"),
    Setting("classic", "the classic recipe", recipe="mnist32-classic"),
    Setting("no-naming", "no auxiliary classifier", ("loss.naming=0", "discriminator.names=0")),
    Setting("cells", "the latent's cell as the auxiliary target", ("loss.cells=true",)),
    Setting("no-ema", "no moving average", ("ema.decay=0",)),
    Setting("two-calls", "generated and real images in two calls", ("loss.one_call=false",)),
    Setting("mixed", "generated and real images shuffled together", ("loss.mixed=true",)),
    Setting("non-saturating", "another loss", ("loss.kind=non-saturating",)),
    Setting("smooth", "non-saturating, target 0.9 for real images", ("loss.kind=non-saturating", "loss.smooth=0.1")),
    Setting("flip", "a twentieth of the labels flipped", ("loss.flip=0.05",)),
    Setting("noise", "instance noise from 0.2 to 0 in half the run", ("augment.noise=0.2", "augment.noise_until=0.5")),
    Setting(
        "r3gan", "relativistic with R1 and R2 instead of spectral norm",
        ("loss.kind=relativistic", "loss.r1=1", "loss.r2=1", "loss.penalty_every=4", "discriminator.spectral=false"),
    ),
    Setting(
        "wgan-gp", "Wasserstein with a gradient penalty instead of spectral norm, 2 critic steps",
        ("loss.kind=wasserstein", "loss.gradient_penalty=10", "discriminator.spectral=false", "train.critic_steps=2"),
    ),
    Setting("translate", "shifts by up to an eighth", ("augment.translate=0.125",)),
    Setting("weight-decay", "weight decay on the discriminator", ("optimizer.discriminator.weight_decay=0.01",)),
    Setting("two-rates", "a quarter of the learning rate for the generator", ("optimizer.generator.lr=1e-4",)),
    Setting("batch-norm", "BatchNorm instead of spectral norm",
            ("discriminator.norm=batch", "discriminator.spectral=false")),
    Setting("no-decay", "constant learning rates", ("optimizer.decay_from=1",)),
)  # fmt: skip


def run(given: argparse.Namespace, out: Path) -> None:
    names = [n for n in given.only.split(",") if n]
    if unknown := set(names) - {s.name for s in SETTINGS}:
        known = ", ".join(s.name for s in SETTINGS)
        raise _Refused(f"there is no setting {', '.join(sorted(unknown))}; there are {known}")
    todo = [
        (setting, seed, out / f"{setting.name}-{seed}")
        for seed in map(int, given.seeds.split(","))
        for setting in SETTINGS
        if (not names or setting.name in names) and ended(out / f"{setting.name}-{seed}") is None
    ]
    with ThreadPoolExecutor(given.at_once) as pool:
        try:
            for done in [pool.submit(_train, *what, given) for what in todo]:
                done.result()
        except BaseException:  # Ctrl-C, which also ends the runs, or a failed run: start no more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _train(setting: Setting, seed: int, folder: Path, given: argparse.Namespace) -> None:
    length = [f"train.minutes={given.minutes}"]
    if given.epochs:
        length = [f"train.epochs={given.epochs}", "data.source=mnist-10k"]
    settings = (*length, "output.preview_every=100", "output.save_every=100",
                "output.metrics_every=100000", *setting.changes, *given.settings)  # fmt: skip
    # a run that was started keeps its settings
    words = ["resume", str(folder)] if (folder / "recipe.json").exists() else [
        setting.recipe, "-o", str(folder), "--seed", str(seed), *(w for s in settings for w in ("--set", s))
    ]  # fmt: skip
    root = ["--data-root", given.data_root] if given.data_root else []
    print(f"{setting.name}, seed {seed}", flush=True)
    program = shutil.which("gan-train", path=Path(sys.executable).parent) or "gan-train"
    done = subprocess.run([program, *words, *root], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise _Refused(
            f"{setting.name}, seed {seed}: gan-train exited with {done.returncode}; run this again to continue"
        )


class _Refused(Exception):
    """An error that is printed as one line."""


def ended(folder: Path) -> dict[str, Any] | None:
    """Return the last figures of a run, or None if it hasn't ended."""
    log = folder / "log.jsonl"
    if not log.is_file():
        return None
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    except ValueError as e:
        raise _Refused(f"{log} is not the log of a run: {e}") from None
    scored = [line for line in lines if line["event"] == "scored"]
    if not scored or lines[-1]["event"] != "ended" or lines[-1]["interrupted"]:
        return None
    trained = {name: lines[0]["recipe"][name] for name in ("data", "train", "generator", "discriminator")}
    return {**scored[-1]["figures"], "step": lines[-1]["step"], "seconds": lines[-1]["seconds"], **trained}


def table(outs: list[Path]) -> str:
    """Return the tables in Markdown, one per folder, each best first, from the finished runs."""
    sections, seen = [], set()
    for out in outs:
        found = {s: [e for f in sorted(out.glob(f"{s.name}-[0-9]*")) if (e := ended(f)) is not None] for s in SETTINGS}
        found = {s: ends for s, ends in found.items() if ends}
        if not found:
            raise _Refused(f"{out} contains no finished run; `python train/experiments/ablate.py run` makes them")
        sections.append(_section(found))
        seen |= {s.name for s in found}
    missing = [s.name for s in SETTINGS if s.name not in seen]
    return "\n".join([
        "# Ablations",
        "",
        f"Each setting is `{BASE}` with the named changes (`classic` is another recipe); one value per seed. "
        "Generated from the logs of the runs by `python train/experiments/ablate.py table`. "
        "If coverage is 0, the generator has collapsed: it generates a few images again and again, and a sure share "
        "of 100 % means nothing.",
        "",
        *sections,
        *([f"Not run: {', '.join(missing)}.", ""] if missing else []),
    ])  # fmt: skip


def _section(found: dict[Setting, list[dict[str, Any]]]) -> str:
    order = sorted(found, key=lambda s: statistics.mean(e["frechet"] for e in found[s]))
    every = [e for ends in found.values() for e in ends]
    first = every[0]
    if first["train"]["minutes"]:
        lasted = [e["seconds"] / 60 for e in every]
        same = max(lasted) < 1.1 * min(lasted)
        length = f"{min(lasted):.1f}" + ("" if same else f" to {max(lasted):.1f}")
        title = f"{length} minutes"
        about = f"Each setting trains for {length} minutes, a small part of its recipe's epochs, so that schedules "
        about += "which follow the epochs have hardly begun."
    else:
        title = f"{first['train']['epochs']} epochs"
        widths = " and ".join(f"`{net}.widths={first[net]['widths']}`" for net in ("generator", "discriminator"))
        about = f"Each setting is a complete run of {title} on `{first['data']['source']}` with {widths}: learning "
        about += "rates and instance noise reach their final values."
    return "\n".join([
        f"## {title}",
        "",
        f"{about} Frechet distance of {first['pictures']:,} images to MNIST's test digits in the features of the "
        f"bundled classifier (real training digits: {first['frechet_floor']:.2f}).",
        "",
        "| setting | | steps | Frechet distance | sure share | coverage |",
        "|---|---|---|---|---|---|",
        *[_row(s, found[s]) for s in order],
        "",
    ])  # fmt: skip


def _row(setting: Setting, ends: list[dict[str, Any]]) -> str:
    def each(key: str, form: str) -> str:
        return ", ".join(format(e[key], form) for e in ends)

    changes = setting.about + (f" (`{'`, `'.join(setting.changes)}`)" if setting.changes else "")
    figures = [each("step", ","), each("frechet", ".1f"), each("sure_share", ".1%"), each("coverage", ".3f")]
    return f"| {setting.name} | {changes} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("-o", "--out", type=Path, action="append", help="default: runs/ablations")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--epochs", type=int, default=0, help="complete runs of the digits in the package instead")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--only", default="", help="names of settings, separated by commas")
    parser.add_argument("--at-once", type=int, default=1, help="number of parallel runs")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="override a field in every setting")
    given = parser.parse_args()
    outs = given.out or [Path("runs/ablations")]
    try:
        if given.command == "run":
            run(given, outs[-1])
            return
        TABLE.write_text(table(outs), encoding="utf-8")
    except _Refused as e:
        print(f"ablate.py: {e}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
