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
from gan_export.training.distill import recipe as distilling
from gan_export.training.distill.recipe import Distilling
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
_STUDENT_TRAINING = {
    "distance from the teacher": {"pixel": "pixels", "features": "features"},
    "loss of the discriminator": {"loss_d": "discriminator"},
    "images per second": {"images_per_second": "images per second"},
}


def write(run: Path, target: Path) -> None:
    """Write the page of the run in `run`, of a generator or of a student.

    Raises GanExportError if there is no run or nothing is logged yet, UnavailableError without matplotlib.
    """
    charts.require()
    is_student = (run / distilling.RECIPE).is_file()
    recipe = distilling.read(run) if is_student else run_dir.recipe(run)
    lines = run_dir.log(run)
    try:
        if isinstance(recipe, Distilling):
            data = _student_data(run, recipe, lines)
            scores, training = _student_scores(lines), _training_charts(lines, _STUDENT_TRAINING)
        else:
            data = _data(run, recipe, lines)
            scores, training = _score_charts(lines), _training_charts(lines, _TRAINING)
    except (LookupError, TypeError, AttributeError, ValueError) as e:
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
    began, newest = _last(lines, "began"), _last(lines, "measured")
    state = [f"{began['pictures']:,} images on {began['device']}"] if began and "pictures" in began else []
    if began and newest:
        state.append(f"step {newest['step']:,} of {began['steps']:,}, epoch {newest['epoch']:,}")
    parts = {
        "name": recipe.name,
        "about": recipe.about,
        "settings": _flat(recipe.to_json()),
        "state": [*state, *_progress(lines)],
        "warnings": _warnings(lines),
        "figures": [],
    }
    return {**_cut(parts), "previews": _previews(run, "grid", "epoch"), "walk": _walk(run)}


def _student_data(run: Path, recipe: Distilling, lines: list[dict[str, Any]]) -> dict[str, Any]:
    began, newest = _last(lines, "began"), _last(lines, "measured")
    state, figures = [], []
    if began:
        less = began["teacher_operations"] / began["student_operations"]
        state = [f"1/{less:.1f} of the operations of {began['recipe']['teacher']}, on {began['device']}"]
        figures = [["parameters", f"{began['teacher_parameters']:,}", f"{began['student_parameters']:,}"]]
    if began and newest:
        state.append(f"step {newest['step']:,} of {began['steps']:,}")
    if scored := _last(lines, "scored"):
        ours, theirs = (_numbers(scored[side]) for side in ("student", "teacher"))
        shown = {"psnr": "PSNR to the teacher, dB", "frechet_to_teacher": "Fréchet distance to the teacher"}
        shown |= {key: title for key, (title, _) in _SCORES.items()}
        figures += [[title, _figure(theirs, key), _figure(ours, key)] for key, title in shown.items() if key in ours]
    parts = {
        "name": recipe.name,
        "about": f"A student of {recipe.teacher}. Images: the student's on the left, its teacher's on the right.",
        "settings": _flat(recipe.to_json()),
        "state": [*state, *_progress(lines)],
        "warnings": _warnings(lines),
        "figures": [["", "teacher", "student"], *figures] if figures else [],
    }
    return {**_cut(parts), "previews": _previews(run, "beside-teacher", "step"), "walk": None}


def _last(lines: list[dict[str, Any]], event: str) -> dict[str, Any] | None:
    return next((e for e in reversed(lines) if e["event"] == event), None)


def _progress(lines: list[dict[str, Any]]) -> list[str]:
    """Return the minutes of training so far, and whether the run has ended."""
    newest, ended = _last(lines, "measured"), _last(lines, "ended")
    minutes = [f"{newest['seconds'] / 60:.1f} minutes of training"] if newest else []
    return [*minutes, ("stopped" if ended["interrupted"] else "done") if ended else "not ended"]


def _warnings(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"step": e["step"], "text": e["text"]} for e in lines if e["event"] == "warned"]


def _figure(figures: dict[str, float], key: str) -> str:
    return f"{figures[key]:.4g}" if key in figures else ""


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


def _student_scores(lines: list[dict[str, Any]]) -> Text[Html]:
    """Return a chart per score of the student, with its teacher's as its reference."""
    scored = [e for e in lines if e["event"] == "scored"]
    titles = {"psnr": "PSNR to the teacher, dB", "frechet_to_teacher": "Fréchet distance to the teacher"}
    titles |= {key: title for key, (title, _) in _SCORES.items()}
    found = []
    for key, title in titles.items():
        ours, theirs = (
            _points([{"step": e["step"], **e[side]} for e in scored], key) for side in ("student", "teacher")
        )
        if len(ours) > 1:
            found.append(
                charts.lines([Series("student", ours), Series("teacher", theirs, reference=True)], "step", title)
            )
    return _figures(found)


def _training_charts(lines: list[dict[str, Any]], named_by_title: dict[str, dict[str, str]]) -> Text[Html]:
    """Return a chart per entry, of the series that it names, over the run's steps."""
    measured = _thinned([e for e in lines if e["event"] == "measured"])
    found = []
    for title, named in named_by_title.items():
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


def _previews(run: Path, name: str, unit: str) -> list[dict[str, Any]]:
    """Return the previews of a name over the run, with what their number counts."""
    found = (run / run_dir.PREVIEWS).glob(f"*_{name}.png")
    files = sorted(p for p in found if re.fullmatch(f"[0-9]{{4,9}}_{name}", p.stem))
    every = max(1, -(-len(files) // _PREVIEWS))
    chosen = sorted({*files[::every], *files[-1:]})
    return [
        {"at": f"{unit} {int(f.name.partition('_')[0]):,}", "image": _inline(f.read_bytes(), "png")} for f in chosen
    ]


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
