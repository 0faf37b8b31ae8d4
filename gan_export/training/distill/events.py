"""Events of a run in which a student learns; files, warnings and the end are those of `training.events`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_export.training.distill.recipe import Distilling
from gan_export.training.events import Ended, Warned, Wrote


@dataclass(frozen=True, slots=True)
class Began:
    """A run starts, or continues at `step` > 0.  Parameters and operations are of one image of each generator."""

    recipe: Distilling
    folder: Path
    device: str
    step: int
    steps: int
    teacher_parameters: int
    student_parameters: int
    teacher_operations: int
    student_operations: int
    features: tuple[str, ...]  # the teacher's values that the student learns
    discriminator: str  # "the teacher's", "new" or "none"


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step is done (on a GPU: queued)."""

    step: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over the steps since the last event of this type; see `step.READINGS`."""

    step: int
    loss: float
    pixel: float
    features: float
    adversarial: float
    loss_d: float
    images_per_second: float
    seconds: float  # of training so far, including before a resume


@dataclass(frozen=True, slots=True)
class Scored:
    """A measurement of the student that would be saved now, beside its teacher's: `Meter.figures`."""

    step: int
    seconds: float
    teacher: Mapping[str, Any]
    student: Mapping[str, Any]


Event = Began | Stepped | Measured | Scored | Warned | Wrote | Ended
Observer = Callable[[Event], None]
