"""A run as one self-contained HTML file: curves, the previews over time, a latent walk, settings.

It reads only the run's folder and can be made while the run continues.  `report.html` is the template; charts are
inserted as SVG, everything else as JSON escaped by `escape`, so that no text of a recipe or a warning becomes markup.
"""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path
from typing import Any

from gan_export._lib import charts
from gan_export._lib.charts import Series
from gan_export._lib.escape import Html, Text, html, html_script, resource
from gan_export._lib.fs import atomic_file, write_text
from gan_export.errors import GanExportError, first_line, printable
from gan_export.training import run_dir
from gan_export.training.distill.recipe import RECIPE as DISTILLED
from gan_export.training.recipe import Recipe

_STOPS, _WALKS = 6, 9  # of the walk on the page: a few hundred kilobytes
_PREVIEWS = 60  # shown at most, spread over the run
_LONGEST = 2000  # characters of a text, because a log may contain any length
_POINTS = 1500  # points of a curve; more are thinned out
_SCORES = {  # name in a log's event: its title on the page, and the name of the score of real images
    "frechet": ("Fréchet distance", "frechet_floor"),
    "sure_share": ("share recognized with 90 % confidence", "sure_share_real_test"),
    "precision": ("precision", "precision_floor"),
    "recall": ("recall", "recall_floor"),
    "coverage": ("coverage", "coverage_floor"),
    "label_agreement": ("agreement with the label", "judge_test_accuracy"),
}
_TRAINING = {  # charts of the training: series by their name in a log's event
    "loss": {"loss_d": "discriminator", "loss_g": "generator"},
    "score": {"score_real": "real images", "score_generated": "generated images"},
    "images per second": {"images_per_second": "images per second"},
}


def write(run: Path, target: Path) -> None:
    """Write the page of the run in `run`.

    Raises GanExportError if there is no run or nothing is logged yet, UnavailableError without matplotlib.
    """
    if (run / DISTILLED).is_file():
        raise GanExportError(
            f"{printable(str(run))}: a student's run has no page; see its figures.json and its previews"
        )
    charts.require()
    recipe = run_dir.recipe(run)
    lines = run_dir.log(run)
    try:
        data = _data(run, recipe, lines)
        scores, training = _score_charts(lines), _training_charts(lines)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise GanExportError(
            f"{printable(str(run / run_dir.LOG))} is not a log of gan-train: {first_line(e, 100)}; "
            "start a new run in another folder"
        ) from None
    page = (
        resource(Html, "gan_export.training", "report.html")
        .replace("{{SCORES}}", scores)
        .replace("{{TRAINING}}", training)
    )
    with atomic_file(target) as temporary:
        write_text(temporary, page.replace("{{DATA}}", html_script(data)))  # last, because the data is not ours


def _data(run: Path, recipe: Recipe, lines: list[dict[str, Any]]) -> dict[str, Any]:
    parts = {
        "name": recipe.name,
        "about": recipe.about,
        "settings": _flat(recipe.to_json()),
        "began": [e for e in lines if e["event"] == "began"][-1:],
        "ended": [e for e in lines if e["event"] == "ended"][-1:],
        "warnings": [{"step": e["step"], "text": e["text"]} for e in lines if e["event"] == "warned"],
        "newest": [_numbers(e) for e in lines if e["event"] == "measured"][-1:],
    }
    return {**_cut(parts), "previews": _previews(run), "walk": _walk(run)}


def _cut(value: Any) -> Any:
    """Return the same data with each text truncated to the length that a page shows."""
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, dict):
        return {key[:_LONGEST]: _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, (list, tuple)) else value


def _numbers(event: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in event.items() if isinstance(v, int | float)}


def _score_charts(lines: list[dict[str, Any]]) -> Text[Html]:
    """Return a chart per score of the generated images, with that of real images as its reference."""
    scored = [e for e in lines if e["event"] == "scored"]
    found = []
    for key, (title, real) in _SCORES.items():
        ours, theirs = (_points([{"step": e["step"], **e["figures"]} for e in scored], k) for k in (key, real))
        if ours:
            series = [Series("generated images", ours), Series("real images", theirs, reference=True)]
            found.append(charts.lines(series, "step", title))
    return _figures(found)


def _training_charts(lines: list[dict[str, Any]]) -> Text[Html]:
    """Return a chart per entry of _TRAINING over the run's steps."""
    measured = _thinned([e for e in lines if e["event"] == "measured"])
    found = []
    for title, named in _TRAINING.items():
        series = [Series(name, _points(measured, key)) for key, name in named.items()]
        found.append(charts.lines(series, "step", title))
    return _figures(found)


def _points(events: list[dict[str, Any]], key: str) -> tuple[tuple[float, float], ...]:
    numbers = (_numbers(e) for e in events)
    return tuple((e["step"], e[key]) for e in numbers if key in e and "step" in e)


def _figures(svgs: list[Text[Html]]) -> Text[Html]:
    return html("").join(html("<figure>{svg}</figure>", svg=svg) for svg in svgs if svg)


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return points[:: max(1, -(-len(points) // _POINTS))]


def _previews(run: Path) -> list[dict[str, Any]]:
    files = sorted(p for p in (run / run_dir.PREVIEWS).glob("*_grid.png") if re.fullmatch("[0-9]{4,9}_grid", p.stem))
    every = max(1, -(-len(files) // _PREVIEWS))
    chosen = sorted({*files[::every], *files[-1:]})
    return [{"epoch": int(f.name.partition("_")[0]), "image": _inline(f.read_bytes(), "png")} for f in chosen]


def _walk(run: Path) -> str | None:
    """Return an animated image of a walk through the newest checkpoint's latents; None before the first checkpoint."""
    named = (p for p in run.glob("generator_*.pth") if re.fullmatch("generator_[0-9]{1,9}", p.stem))
    kept = sorted(named, key=lambda p: int(p.stem.rpartition("_")[2]))
    if not kept:
        return None
    from gan_export.sampling import interpolate
    from gan_export.sampling.opening import open_generator

    with tempfile.TemporaryDirectory() as place, open_generator(kept[-1]) as generator:
        film = Path(place) / "walk.webp"
        interpolate.write(generator, film, seed=0, stops=_STOPS, count=_WALKS)
        return _inline(film.read_bytes(), "webp")


def _inline(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
