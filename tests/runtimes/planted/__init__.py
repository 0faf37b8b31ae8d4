"""Registries with a planted fault, one module each, which workers use instead of the real one.

Each wraps ONNX Runtime, so that images and files are real, and misbehaves in one way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_export.graph.signature import Feeds
from gan_export.runtimes import find as find_real
from gan_export.runtimes.base import Availability, Outputs, Pictures, PreparedInputs, Session, SessionInfo

CALL = 0.1  # minimum duration of a call in seconds: long compared with the delays of a busy machine


@dataclass(frozen=True)
class PlantedBound:
    inner: PreparedInputs
    before: Callable[[], None]
    change: Callable[[Pictures], Pictures]

    def __call__(self) -> None:
        self.before()
        self.inner()

    def outputs(self) -> Outputs:
        return {name: self.change(array) for name, array in self.inner.outputs().items()}


@dataclass(frozen=True)
class PlantedSession:
    inner: Session
    before: Callable[[], None]
    change: Callable[[Pictures], Pictures]

    @property
    def info(self) -> SessionInfo:
        return self.inner.info

    def run(self, feeds: Feeds) -> Outputs:
        self.before()
        return {name: self.change(array) for name, array in self.inner.run(feeds).items()}

    def bind(self, feeds: Feeds) -> PlantedBound:
        return PlantedBound(self.inner.bind(feeds), self.before, self.change)

    def close(self) -> None:
        self.inner.close()


@dataclass(frozen=True)
class Planted:
    before: Callable[[], None]
    change: Callable[[Pictures], Pictures]

    def availability(self, device: str = "cpu") -> Availability:
        return find_real("onnxruntime").availability(device)

    def load(self, path: Path, **settings: Any) -> PlantedSession:
        return PlantedSession(find_real("onnxruntime").load(path, **settings), self.before, self.change)


def in_place_of_onnxruntime(before: Callable[[], None], change: Callable[[Pictures], Pictures]) -> Callable[[str], Any]:
    """Return a registry's `find` in which ONNX Runtime misbehaves and every other runtime is real."""
    return lambda name: Planted(before, change) if name == "onnxruntime" else find_real(name)


def pausing(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def nothing() -> None:
    pass


def same(pictures: Pictures) -> Pictures:
    return pictures
