"""Scale an image whose rows come from the top down, without ever having the whole of it."""

from __future__ import annotations

import math

import numpy as np

from gan_export.sampling.image_files import Window, reach_of_scaling, resized_rows
from gan_export.sampling.tiles import Pixels, Take

_AT_ONCE = 1 << 24  # values of the scaled rows that are made together


class ScaledRows:
    """Give `take` the rows of an image scaled to `size`, as `image_files.resized_rows` does."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], take: Take, *, lanczos: bool) -> None:
        """source, size: (height, width) before and after."""
        self._source, self._size, self._take, self._lanczos = source, size, take, lanczos
        self._step = source[0] / size[0]
        self._reach = reach_of_scaling(self._step, lanczos=lanczos)
        self._held: Pixels | None = None
        self._first = 0  # the row of the source that `_held` begins with
        self._done = 0

    def take(self, rows: Pixels) -> None:
        """Take the next rows of the source."""
        if self._source == self._size:
            self._take(rows)
            return
        self._held = rows if self._held is None else np.concatenate([self._held, rows])
        last = self._first + len(self._held)
        at_once = max(1, _AT_ONCE // (self._size[1] * rows.shape[2]))
        while self._done < self._size[0]:
            ready = self._ready(last)
            if ready <= self._done:
                break
            end = min(ready, self._done + at_once)
            window = Window(self._held, self._first, self._source[0])
            self._take(resized_rows(window, self._size, (self._done, end), lanczos=self._lanczos))
            self._done = end
        drop = max(0, math.floor(self._done * self._step - self._reach)) - self._first
        if drop > 0:
            self._held, self._first = self._held[drop:].copy(), self._first + drop

    def _ready(self, last: int) -> int:
        """The rows of the result that need no more than the source's rows before `last`."""
        if last == self._source[0]:
            return self._size[0]
        return min(self._size[0], math.floor((last - self._reach - 1) / self._step))
