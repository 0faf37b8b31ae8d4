"""Exceptions.  Every message has what is wrong, where, and what to do next, on one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum


class Topic(StrEnum):
    """The sections of the documentation that explain errors, as page and anchor.  Anchors and names don't change.

    `gan-export help WORD` prints the section, from the installed package.
    """

    APPLY = "docs/image-to-image.md#apply"
    BENCH_FILES = "docs/guides/bench.md#choose"
    BENCH_RESULTS = "docs/bench.md#results"
    CODE = "docs/security.md#programs"
    COST = "docs/security.md#cost"
    DATASET_CHECK = "docs/guides/datasets.md#check"
    DATASET_FILTERS = "docs/datasets.md#filters"
    DATASET_RAY = "docs/datasets.md#ray"
    DATASET_RUNS = "docs/datasets.md#runs"
    FEATURES = "docs/guides/evaluate.md#features"
    FLAGS = "docs/checkpoints.md#flags"
    FORMATS = "docs/export-formats.md#contents"
    LARGE_IMAGES = "docs/image-to-image.md#large-images"
    MISMATCH = "docs/guides/verify.md#mismatch"
    MISSING = "docs/reference/installing.md#missing"
    MODULES = "docs/signature.md#modules"
    NETWORKS = "docs/guides/recognize.md#networks"
    PLUGINS = "docs/guides/plugins.md#the-entry-point"
    RECIPES = "docs/training.md#recipes"
    REFUSED = "docs/checkpoints.md#refused"
    RUNS = "docs/training.md#runs"
    STYLES = "docs/stylegan.md#styles"
    SUITES = "docs/bench.md#suites"
    TRAINING_IMAGES = "docs/training.md#images"
    UNSETTLED = "docs/checkpoints.md#unsettled"
    VERIFICATION = "docs/security.md#verification"

    @property
    def word(self) -> str:
        """The topic's name in commands, such as bench-files."""
        return self.name.lower().replace("_", "-")

    @property
    def page(self) -> str:
        """The file in the source repository, such as docs/bench.md."""
        return self.partition("#")[0]

    @property
    def anchor(self) -> str:
        """The section within the page."""
        return self.partition("#")[2]


class GanExportError(Exception):
    """Bad input or an unusable environment; the commands print it on one line and exit with 2.

    topic: the section of the documentation that explains it, None if the message is enough
    """

    exit_code = 2
    topic: Topic | None = None

    def __init__(self, *message: object, topic: Topic | None = None) -> None:
        super().__init__(*message)
        if topic is not None:
            self.topic = topic


class HostileFileError(GanExportError):
    """A file that contains code, or names that no checkpoint needs."""

    topic = Topic.CODE


class NotRecognizedError(GanExportError):
    """A readable checkpoint that no architecture fits.  closest: names of the nearest architectures, nearest first."""

    topic = Topic.REFUSED

    def __init__(self, message: str, closest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.closest = closest


class UnusedOptionError(GanExportError):
    """An option that decides nothing in the generator that is read."""

    topic = Topic.FLAGS


class UnavailableError(GanExportError):
    """An optional package, device or compiler that is missing; the message has the install line."""

    topic = Topic.MISSING


class CheckFailedError(GanExportError):
    """A check ran and failed: parity, verification, a benchmark's bound.  The commands exit with 1."""

    exit_code = 1


@contextlib.contextmanager
def linked(topic: Topic) -> Iterator[None]:
    """Give `topic` to the errors that leave the block, or the function that this decorates, without a topic.

    An error of the operating system, such as a missing file, gets none: no page explains more than its message.
    """
    try:
        yield
    except GanExportError as e:
        if e.topic is None and not isinstance(e.__context__, OSError):
            e.topic = topic
        raise


def first_line(error: BaseException, limit: int = 300) -> str:
    """Return the first line of a library's error, safe to print, or its type if it has no message."""
    return _line(error, 0, limit)


def last_line(error: BaseException, limit: int = 300) -> str:
    """Return the last line of a library's error, for libraries that print a stack first."""
    return _line(error, -1, limit)


def _line(error: BaseException, number: int, limit: int) -> str:
    text = str(error)
    text = text[: 100 * limit] if number == 0 else text[-100 * limit :]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[number] if lines else type(error).__name__, limit)


def printable(text: str, limit: int = 200) -> str:
    """Return `text` safe to print: control characters escaped, at most `limit` characters.

    Key names and file names come from strangers, and a terminal escape in one must not reach a terminal.  The text is
    cut before it is escaped, so that a name of 100 MB costs as much as one of `limit` characters.
    """
    cut = text[: limit + 1]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
