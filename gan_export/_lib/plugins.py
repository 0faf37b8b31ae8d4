"""Load packages that extend gan-export.

Each entry point of the group `gan_export.plugins` names a function that is called once, without arguments.  It
registers its package's entries by `gan_export.register_architecture`, `register_format`, `register_runtime` and
`register_evaluator`.
"""

from __future__ import annotations

import threading
from importlib.metadata import entry_points

from gan_export.errors import Topic, UnavailableError, first_line, printable

GROUP = "gan_export.plugins"

_lock = threading.RLock()
_loaded = False


def load() -> None:
    """Call every installed plugin, the first time that this is called.

    Raises UnavailableError, naming the package, if one of them fails: a plugin that is installed and silently missing
    would show as a file that is not recognized.
    """
    global _loaded  # noqa: PLW0603
    if _loaded:
        return
    with _lock:
        if _loaded:
            return
        _loaded = True  # before the calls: plugins register with the registries that called this
        for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
            try:
                point.load()()
            except Exception as e:
                package = printable(point.dist.name if point.dist else point.value)
                raise UnavailableError(
                    f"the plugin {printable(point.name)} of the package {package} can't be loaded: {first_line(e)}; "
                    f"update it, or remove it with pip uninstall {package}",
                    topic=Topic.PLUGINS,
                ) from e
