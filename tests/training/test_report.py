"""gan-train report: one file that holds a run, and that no text of the run can break."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.training.common import gan_train, refused, tiny_recipe, train_here

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='taken'</script><b>&amp;"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run = folder / "run"
    train_here(tiny_recipe(folder, pictures), run)
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "about": EVIL}))
    figures = {
        "sure_share": 0.8, "sure_share_real_test": 0.99, "frechet": 20.0, "frechet_floor": 1.0, "precision": 0.5,
        "precision_floor": 0.7, "recall": 0.4, "recall_floor": 0.7, "coverage": 0.5, "coverage_floor": 0.9,
        "digits": [0.1] * 10,
    }  # fmt: skip
    with open(run / "log.jsonl", "a", encoding="utf-8") as log:
        for step in (7, 14):
            line = {"event": "scored", "step": step, "epoch": 1, "seconds": 1.0, "figures": figures}
            log.write(json.dumps(line) + "\n")
        log.write('{"event": "measured", "st')  # a run that is writing
    result = gan_train("report", run)
    assert result.returncode == 0, result.stderr
    return run / "page.html"


def _data(page: Path) -> dict[str, object]:
    found = re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_it_holds_the_run_and_needs_nothing_beside_it(page: Path) -> None:
    data = _data(page)
    assert "step 14 of 14, epoch 2" in data["state"]  # type: ignore[operator]
    charts = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(charts) == 5 + 3  # five scores beside those of real digits, three charts of training
    for chart, names in zip(
        charts[5:], (("discriminator", "generator"), ("real images",), ("images per second",)), strict=True
    ):
        assert all(f">{name}</text>" in chart for name in names)
    assert all(">real images</text>" in chart for chart in charts[:5])
    assert data["settings"]["train.batch"] == 16  # type: ignore[index]
    shown = [p["image"] for p in data["previews"]]  # type: ignore[attr-defined]
    kept = sorted((page.parent / "previews").glob("*_grid.png"))
    assert [base64.b64decode(i.partition(",")[2]) for i in shown] == [k.read_bytes() for k in kept]
    assert base64.b64decode(str(data["walk"]).partition(",")[2])[8:12] == b"WEBP"
    assert not re.search(
        r'(?:src|href)="(?!#)|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)', page.read_text("utf-8")
    )


def test_no_text_of_the_run_becomes_markup(page: Path) -> None:
    assert _data(page)["about"] == EVIL
    scripts: list[str] = []

    class Scripts(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag == "script":
                scripts.append(tag)

    Scripts().feed(page.read_text(encoding="utf-8"))
    assert len(scripts) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_draws_it(page: Path, tmp_path: Path) -> None:
    assert CHROMIUM
    result = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    dom = result.stdout
    assert "<title>tiny</title>" in dom, result.stderr
    assert dom.count("<svg") == 5 + 3
    assert 'id="preview" alt="images of the same latents over the run" src="data:image/png' in dom
    assert "epoch 2; the same latents at each" in dom
    assert "&lt;/script&gt;&lt;script&gt;" in dom


def test_where_there_is_no_run_it_says_so(tmp_path: Path) -> None:
    refused(gan_train("report", tmp_path), "contains no run")
    assert not list(tmp_path.iterdir())
