"""Hooks of mkdocs: pages that are generated from the code, and links to files that are outside docs/.

mkdocs.yml names this module; `make docs` runs it.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent))

import site_pages  # noqa: E402 - beside this file, which mkdocs loads by its path

# pages of the site that are files of the repository: the name in docs/ and the file
COPIED = {"changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security-policy.md": "SECURITY.md"}
# images of the repository outside docs/ that pages show: the name in docs/ and the file
IMAGES = {
    "images/curves.svg": "train/experiments/curves.svg",
    "images/mnist32.png": "exported/mnist32/preview.png",
    "images/mnist32-conditional.png": "exported/mnist32-conditional/preview.png",
    "images/voxel32.png": "exported/voxel32/preview.png",
    "images/emoji64.png": "exported/emoji64/preview.png",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(?ms)^(```|~~~).*?^\1")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the files of the site."""
    from mkdocs.structure.files import File

    made = {name: page() for name, page in site_pages.PAGES.items()}
    made |= {name: (ROOT / source).read_text(encoding="utf-8") for name, source in COPIED.items()}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for name, source in IMAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return a page whose links to files of the repository outside docs/ are the paths of these files, as code."""
    source = page.file.src_uri
    folder = posixpath.dirname(f"docs/{source}") if source not in COPIED else ""
    here = posixpath.dirname(source)
    copied = {repository: name for name, repository in (COPIED | IMAGES).items()}

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        path = path.replace(".in.md", ".md")  # the page is generated from that file
        inside = copied.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is not None and files.get_file_from_path(inside) is not None:
            return f"{image}[{text}]({posixpath.relpath(inside, here or '.')}{anchor})"
        if image or not (ROOT / path).exists():
            return match[0]  # mkdocs reports it
        return text if path in text.replace("`", "") else f"{text} (`{path}`)"

    def rest(text: str) -> str:
        """Return text outside blocks of code with its links; `[a][b]` is an array here, and no reference."""
        linked = _LINK.sub(link, text)
        return re.sub(r"(`+)(?:.(?!\1))*.\1|\]\[", lambda m: "]\\[" if m[0] == "][" else m[0], linked)

    parts, last = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [rest(markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, rest(markdown[last:])])
