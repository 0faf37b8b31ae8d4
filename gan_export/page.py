"""A run as one HTML file that needs nothing beside it: curves, the previews over time, a latent walk, settings.

It reads the run's folder alone and can be made while the run goes on.  `page.html` is the template; the data goes
into it as JSON that `escape` makes, so that no text of a recipe or a warning can be taken for markup.
"""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path
from typing import Any

from gan_export.errors import GanExportError, first_line, printable
from gan_export.escape import Html, html_script, resource
from gan_export.files import atomic_file, write_text
from gan_export.training import folder
from gan_export.training.recipe import Recipe

_STOPS, _WALKS = 6, 9  # of the walk on the page: some hundred kilobytes
_PREVIEWS = 60  # shown at most, spread over the run
_POINTS = 1500  # of a curve; more is thinned
_FIGURES = ("frechet", "sure_share", "precision", "recall", "coverage", "label_agreement")


def write(run: Path, target: Path) -> None:
    """The page of the run in `run`.  Raises GanExportError where there is none, or nothing is logged yet."""
    recipe = folder.recipe(run)
    lines = folder.log(run)
    try:
        data = _data(run, recipe, lines)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise GanExportError(
            f"{printable(str(run / folder.LOG))} is no log of gan-train: {first_line(e, 100)}; "
            "start the run anew in another folder"
        ) from None
    template = resource(Html, "gan_export", "page.html")
    with atomic_file(target) as temporary:
        write_text(temporary, template.replace("{{DATA}}", html_script(data)))


def _data(run: Path, recipe: Recipe, lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "about": recipe.about,
        "settings": _flat(recipe.to_json()),
        "began": [e for e in lines if e["event"] == "began"][-1:],
        "ended": [e for e in lines if e["event"] == "ended"][-1:],
        "warnings": [{"step": e["step"], "text": e["text"]} for e in lines if e["event"] == "warned"],
        "measured": _thinned([_numbers(e) for e in lines if e["event"] == "measured"]),
        "scored": [_scores(e) for e in lines if e["event"] == "scored"],
        "previews": _previews(run),
        "walk": _walk(run),
    }


def _numbers(event: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in event.items() if isinstance(v, int | float)}


def _scores(event: dict[str, Any]) -> dict[str, Any]:
    figures = event["figures"]
    kept = {k: figures[k] for n in _FIGURES for k in (n, f"{n}_floor") if k in figures}
    kept["sure_share_floor"] = figures["sure_share_real_test"]
    return {"step": event["step"], "seconds": event["seconds"], "digits": figures["digits"], **kept}


def _thinned(points: list[dict[str, float]]) -> list[dict[str, float]]:
    return points[:: max(1, -(-len(points) // _POINTS))]


def _previews(run: Path) -> list[dict[str, Any]]:
    files = sorted(p for p in (run / folder.PREVIEWS).glob("*_grid.png") if re.fullmatch("[0-9]{4,9}_grid", p.stem))
    every = max(1, -(-len(files) // _PREVIEWS))
    chosen = sorted({*files[::every], *files[-1:]})
    return [{"epoch": int(f.name.partition("_")[0]), "image": _inline(f.read_bytes(), "png")} for f in chosen]


def _walk(run: Path) -> str | None:
    """An animated picture of the newest checkpoint's latents; None before the first checkpoint."""
    named = (p for p in run.glob("generator_*.pth") if re.fullmatch("generator_[0-9]{1,9}", p.stem))
    kept = sorted(named, key=lambda p: int(p.stem.rpartition("_")[2]))
    if not kept:
        return None
    from gan_export import sampling, walk

    with tempfile.TemporaryDirectory() as place, sampling.open_generator(kept[-1]) as generator:
        film = Path(place) / "walk.webp"
        walk.write(generator, film, seed=0, stops=_STOPS, count=_WALKS)
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
