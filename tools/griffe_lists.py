"""Show the parameters in a docstring as a list: an extension of griffe, which mkdocs.yml names.

Docstrings here have a line `name: what it is` per parameter, and sentences that begin with "Raises" or "Returns".
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_PARAMETER = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): +(?=\S)")


class ParameterLists(griffe.Extension):
    """An extension that rewrites each docstring."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = listed(obj.docstring.value)


def listed(docstring: str) -> str:
    """Return a docstring in Markdown: a list of parameters, and paragraphs for what is raised."""
    lines: list[str] = []
    for line in docstring.split("\n"):
        if found := _PARAMETER.match(line):
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            before = [] if lines and lines[-1].startswith(("- ", "    ")) else [""]
            lines += [*before, f"- {names}: {line[found.end() :]}"]
        elif line.startswith(("Raises ", "Returns ")):
            lines += ["", line]
        elif lines and lines[-1].startswith(("- ", "    ")) and line.startswith("  "):
            lines.append("    " + line.strip())
        else:
            lines.append(line)
    return "\n".join(lines)
