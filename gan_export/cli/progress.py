"""A progress bar for long runs."""

from __future__ import annotations

import sys


class Progress:
    """A progress bar for a long run on a terminal; otherwise nothing, and rich is not imported."""

    def __init__(self, total: int, least: int = 1001) -> None:
        self._total = total
        self._bar = None
        if total >= least and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, n: int) -> None:
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            self._bar.update(self._task, advance=n, rate=f"{speed:,.0f} img/s" if speed else "")
