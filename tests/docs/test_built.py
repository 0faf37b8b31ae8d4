"""The built site: no warning, nothing loaded from the web; each page in Chromium at a phone's and a desk's width."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.web.test_page import FLAGS, chromium, needs_chromium, served

SIZES = ((400, 900), (1280, 900))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "excluded from the built site" not in done.stderr, done.stderr
    return folder


@pytest.mark.long
def test_nothing_is_loaded_from_the_web(site: Path) -> None:
    tag = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not tag.findall(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.long
@needs_chromium
def test_each_page_fits_and_search_works_without_the_web(site: Path, tmp_path: Path) -> None:
    """Screenshots are kept in the folder that SITE_SCREENS names, to look at."""
    shots = Path(os.environ.get("SITE_SCREENS", tmp_path / "screens"))
    shots.mkdir(parents=True, exist_ok=True)
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) >= 40
    with served(site) as address, chromium(*FLAGS) as driver:
        for width, height in SIZES:
            driver.set_window_size(width, height)
            for page in pages:
                driver.get(address + page)
                wide = driver.execute_script("return document.documentElement.scrollWidth")
                assert wide <= max(width, driver.execute_script("return window.innerWidth")), f"{page} at {width}"
                broken = driver.execute_script(
                    "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
                )
                assert broken == [], page
                asked = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
                assert all(name.startswith((address, "data:", "blob:")) for name in asked), (page, asked)
                driver.save_screenshot(str(shots / f"{page.replace('/', '-')}-{width}.png"))
        driver.execute_script("document.querySelectorAll('[data-md-color-scheme]')[0].dataset.mdColorScheme = 'slate'")
        driver.save_screenshot(str(shots / "dark.png"))
    with chromium(*FLAGS) as driver:  # from a folder, as a file: search needs neither a server nor the web
        driver.set_window_size(1280, 900)
        driver.get((site / "index.html").as_uri())
        found = driver.execute_async_script(SEARCH)
        assert any("truncation" in text.lower() or "stylegan" in text.lower() for text in found), found


SEARCH = """
const done = arguments[0], field = document.querySelector('.md-search__input');
field.focus(); field.value = 'truncation'; field.dispatchEvent(new Event('keyup', {bubbles: true}));
field.dispatchEvent(new Event('input', {bubbles: true}));
const look = () => {
  const items = [...document.querySelectorAll('.md-search-result__item')].map(i => i.innerText);
  items.length ? done(items) : setTimeout(look, 200);
};
look();
"""
