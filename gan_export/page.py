"""A run as one HTML file that needs nothing beside it: curves, the previews over time, a latent walk, settings.

It reads the run's folder alone and can be made while the run goes on.  `page.html` is the template; the data goes
into it as JSON that `escape` makes, so that no text of a recipe or a warning can be taken for markup.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.escape import Html, html_script, resource
from gan_export.files import atomic_file, write_text
from gan_export.training import folder

_STOPS, _WALKS = 6, 9  # of the walk on the page: some hundred kilobytes
_PREVIEWS = 60  # shown at most, spread over the run
_POINTS = 1500  # of a curve; more is thinned
_FIGURES = ("frechet", "sure_share", "precision", "recall", "coverage", "label_agreement")


def write(run: Path, target: Path) -> None:
    """The page of the run in `run`.  Raises GanExportError where there is none, or nothing is logged yet."""
    recipe = folder.recipe(run)
    lines = _log(run)
    data = {
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
    template = resource(Html, "gan_export", "page.html")
    with atomic_file(target) as temporary:
        write_text(temporary, template.replace("{{DATA}}", html_script(data)))


def _log(run: Path) -> list[dict[str, Any]]:
    file = run / folder.LOG
    lines: list[dict[str, Any]] = []
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break  # the last line of a run that goes on, or was killed
    if not lines:
        raise GanExportError(f"{printable(str(run))} has logged nothing yet; `gan-train resume` goes on with it")
    return lines


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
    files = sorted((run / folder.PREVIEWS).glob("*_grid.png"))
    every = max(1, -(-len(files) // _PREVIEWS))
    chosen = sorted({*files[::every], *files[-1:]})
    return [{"epoch": int(f.name.partition("_")[0]), "image": _inline(f.read_bytes(), "png")} for f in chosen]


def _walk(run: Path) -> str | None:
    """An animated picture of the newest checkpoint's latents; None before the first checkpoint."""
    kept = sorted(run.glob("generator_*.pth"), key=lambda p: int(p.stem.rpartition("_")[2]))
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
