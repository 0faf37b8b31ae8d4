"""Measure backends that take turns in blocks, each in a process of its own.

A run has `processes` generations.  In each, every backend gets a fresh process.  For each batch size, all of them bind
the same latents, warm up until stable, and take turns for `rounds` rounds, in an order that rotates, so that drift of
the machine affects all alike.  A process sleeps on its pipe while it isn't its turn.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gan_export.bench import environment, stats
from gan_export.bench.backends import Backend
from gan_export.bench.plan import LARGEST_BATCH, Plan, check_memory
from gan_export.bench.record import SCHEMA, Quantity, Run, Settings
from gan_export.bench.results import Results
from gan_export.bench.roofline import Peak, measure_peak
from gan_export.bench.target import (
    SEED,
    AccuracyCheck,
    BenchTarget,
    Source,
    built_in,
    from_files,
    idle,
    precision,
    rule,
    runner,
)
from gan_export.errors import GanExportError, first_line
from gan_export.formats.tolerance import Rule
from gan_export.runtimes import subprocess_session
from gan_export.runtimes.subprocess_session import REGISTRY, RemoteSession

# a sweep goes on while the throughput of any backend grows by this factor from one batch size to the next
MIN_SPEEDUP = 1.05


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    done: share of the work, 0 to 1; seconds_left: None if unknown
    """

    done: float
    what: str
    seconds_left: float | None


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry of the workers' runtimes: a module with `find`, importable also from the folders in `search`."""

    module: str = REGISTRY
    search: tuple[str, ...] = ()


@dataclass(slots=True)
class _Entrant:
    """A backend with a running worker.

    rule: the tolerances of its images
    pace: seconds per call by quantity, for the current batch size
    """

    contender: Backend
    session: RemoteSession
    rule: Rule
    pace: dict[Quantity, float] = field(default_factory=dict)


def run(
    plan: Plan,
    source: Source | str,
    report: Report,
    *,
    command: str = "",
    registry: Registry = Registry(),
) -> Run:
    """Measure `source`: the user's files, or the name of a built-in generator.

    An interruption (KeyboardInterrupt) keeps the samples measured so far and marks the run partial.
    Raises GanExportError if nothing can be measured.
    """
    with tempfile.TemporaryDirectory(prefix="gan-bench-") as folder:
        report(Progress(0.0, "reading the generator", None))
        own = Source(None, {}) if isinstance(source, str) else source
        subject = built_in(source, Path(folder)) if isinstance(source, str) else from_files(source, Path(folder))
        taking = plan.entrants(plan.resolved_device())
        if not plan.runtimes:
            taking += tuple(runner(kind, path) for kind, path in idle(own, taking).items())
        return _Bench(plan, subject, taking, report, registry).run(command)


class _Bench:
    """The state of one run."""

    def __init__(
        self, plan: Plan, subject: BenchTarget, taking: tuple[Backend, ...], report: Report, registry: Registry
    ) -> None:
        self.plan = plan
        self.subject = subject
        self.registry = registry
        self.device = plan.resolved_device()
        self.threads = plan.resolved_threads()
        self.pin = self.threads < environment.usable_processors()
        self.contenders = taking
        self.referee = AccuracyCheck(subject, self.threads)
        self.ledger = Results()
        self.report = report
        self.started = time.monotonic()
        self.share = 0.0  # share of the work that is done

    def run(self, command: str) -> Run:
        for batch in () if self.plan.sweep else self.plan.batches:
            self._check_memory(batch)
        before = environment.load()
        peak, partial = None, False
        try:
            if self.plan.roofline:
                self._say(0.0, "measuring the machine's peak")
                peak = _peak(self.device, self.threads)
            for generation in range(self.plan.processes):
                self._generation(generation)
            if peak is not None:
                peak = _higher(peak, _peak(self.device, self.threads))
        except KeyboardInterrupt:
            partial = True
        finally:
            self.referee.close()
        ledger, rows = self.ledger, self.ledger.rows()
        if not rows and not partial:
            reasons = "; ".join(f"{a.contender}: {a.reason}" for a in ledger.absent.values())
            raise GanExportError(f"nothing could be measured: {reasons}")
        return Run(
            schema=SCHEMA,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            command=command,
            suite=self.plan.suite,
            partial=partial,
            machine=environment.describe(),
            versions=environment.versions(),
            commit=environment.commit(),
            model=self.subject.model,
            settings=Settings(
                device=self.device,
                threads=self.threads,
                pin=self.pin,
                seed=self.plan.seed,
                rounds=self.plan.rounds,
                block_seconds=self.plan.block_seconds,
                warm_seconds=self.plan.warm_seconds,
                processes=self.plan.processes,
                clock=self.plan.clock,
            ),
            peak=peak,
            load=(before.average, environment.load().average),
            gpu_states=tuple(ledger.gpu_states),
            entries=tuple(ledger.entries.values()),
            rows=rows,
            absent=tuple(ledger.absent.values()),
        )

    def _generation(self, generation: int) -> None:
        """Measure all batch sizes once, in fresh processes."""
        with contextlib.ExitStack() as stack:
            entrants: list[_Entrant] = []
            for contender in self.contenders:
                if contender.name in self.ledger.absent:
                    continue
                self._say(self.share, f"starting {contender.title}")
                if (entrant := self._start(contender, generation)) is not None:
                    stack.callback(entrant.session.kill)
                    entrants.append(entrant)
            done = generation / self.plan.processes
            for batch, share in self._batches():
                after = (generation + share) / self.plan.processes
                self._batch(entrants, batch, generation, (done, after))
                done = after
            for entrant in entrants:
                self.ledger.weigh(entrant.contender, entrant.session)

    def _batches(self) -> Iterator[tuple[int, float]]:
        """Yield each batch size with the share of a generation that is done after it."""
        if not self.plan.sweep:
            for i, batch in enumerate(self.plan.batches):
                yield batch, (i + 1) / len(self.plan.batches)
            return
        for power in itertools.count():
            batch = 1 << power
            try:
                self._check_memory(batch)
            except GanExportError:
                return
            if batch > LARGEST_BATCH or (power > 1 and not self._still_gains(batch // 2)):
                return
            yield batch, 1.0 - 0.5 ** (power + 1)

    def _still_gains(self, batch: int) -> bool:
        """Return whether the images per second of any backend grew from half of `batch` to `batch`."""
        for series in self.ledger.all_series.values():
            smaller = self.ledger.all_series.get((series.contender.name, series.batch // 2, series.quantity))
            if series.batch == batch and smaller is not None and series.blocks and smaller.blocks:
                ahead = 2 * stats.median_seconds(smaller.blocks).value / stats.median_seconds(series.blocks).value
                if ahead > MIN_SPEEDUP:
                    return True
        return False

    def _start(self, contender: Backend, generation: int) -> _Entrant | None:
        """Return a fresh process that has generated an image with the backend's file; None if it fails.

        The results then contain the reason.
        """
        if self.device not in contender.devices:
            self.ledger.give_up(contender, f"has no {self.device} here", failed=False)
            return None
        session: RemoteSession | None = None
        try:
            path = self.subject.file_for(contender, self.device)
            before = time.perf_counter()
            session = subprocess_session.open_remote(
                contender.runtime,
                path,
                self.device,
                self.threads,
                pin=self.pin,
                registry=self.registry.module,
                search=self.registry.search,
                signature=self.subject.signature,
            )
            self.subject.first(session)
            seconds = time.perf_counter() - before
            drawn_with, held_to = precision(path, session.info), rule(path, session.info)
        except GanExportError as e:
            if session is not None:
                session.kill()
            self.ledger.doubt(contender, generation)
            self.ledger.give_up(contender, _reason(e, contender), failed=generation > 0)
            return None
        except Exception as e:  # a converter may raise anything with a version of a library that it wasn't written for
            if session is not None:
                session.kill()
            self.ledger.doubt(contender, generation)
            self.ledger.give_up(contender, f"{type(e).__name__}: {first_line(e)}", failed=True)
            return None
        except BaseException:
            if session is not None:
                session.kill()
            raise
        self.ledger.enter(contender, session, path, drawn_with, seconds)
        return _Entrant(contender, session, held_to)

    def _batch(self, entrants: Sequence[_Entrant], batch: int, generation: int, span: tuple[float, float]) -> None:
        """Measure one batch size: bind, verify, warm up, take turns, verify again.

        span: the shares of the work that are done before and after
        """
        begin, width = span[0], span[1] - span[0]
        for i, entrant in enumerate(entrants):
            self._say(begin + width * 0.3 * i / len(entrants), f"batch {batch}: warming up {entrant.contender.title}")
            self._attempt(self._prepare, entrant, batch, generation)
        fit = [e for e in entrants if e.contender.name not in self.ledger.absent and e.pace]
        try:
            for number in range(self.plan.rounds):
                self._say(begin + width * (0.3 + 0.7 * number / self.plan.rounds), f"batch {batch}: round {number + 1}")
                turn = number % max(1, len(fit))
                for entrant in [*fit[turn:], *fit[:turn]]:
                    self._attempt(self._turn, entrant, batch, generation)
        except KeyboardInterrupt:
            for entrant in fit:
                # a process that was interrupted in its turn is gone; its rows stay unverified
                with contextlib.suppress(GanExportError):
                    self._judge_again(entrant, batch, generation)
            raise
        for entrant in fit:
            self._attempt(self._judge_again, entrant, batch, generation)
        if self.device == "cuda":
            self.ledger.gpu_states.append({"batch": float(batch), **environment.gpu_state()})
        self._say(span[1], f"batch {batch}: done")

    def _prepare(self, entrant: _Entrant, batch: int, _: int) -> None:
        """Bind the inputs and verify the images; each quantity that passes is warmed up, and gets its pace."""
        entrant.pace.clear()
        bound = self.subject.bind(entrant.session, batch)
        right = []
        for quantity in self.plan.quantities:
            series = self.ledger.series(entrant.contender, batch, quantity)
            series.prepare = max(series.prepare, bound.seconds)
            if self._judge(entrant, batch, quantity):
                right.append(quantity)
        if not right:
            entrant.session.unbind()
        for quantity in right:
            entrant.pace[quantity] = self._warm_up(entrant, batch, quantity)

    def _turn(self, entrant: _Entrant, batch: int, generation: int) -> None:
        for quantity in entrant.pace:
            self._block(entrant, batch, quantity, generation)

    def _judge_again(self, entrant: _Entrant, batch: int, generation: int) -> None:
        for quantity in entrant.pace:
            self._judge(entrant, batch, quantity)
            self.ledger.series(entrant.contender, batch, quantity).unproven.discard(generation)
        entrant.session.unbind()

    def _judge(self, entrant: _Entrant, batch: int, quantity: Quantity) -> bool:
        """Verify the images of one quantity.

        For the model, the images of its last call; end to end, those of a similar call for the first images, because
        each timed call generates others, for which there is no reference.
        """
        if quantity == "model":
            outputs = entrant.session.outputs()
        else:
            outputs = entrant.session.draw(seed=SEED, start=0, count=batch, signature=self.subject.signature)
        parity = self.referee.judge(outputs, entrant.rule)
        self.ledger.series(entrant.contender, batch, quantity).judge(parity)
        return parity.passed

    def _warm_up(self, entrant: _Entrant, batch: int, quantity: Quantity) -> float:
        """Run uncounted blocks until their times are stable or the time is up; return seconds per call."""
        end = time.monotonic() + self.plan.warm_seconds
        medians: list[float] = []
        while not stats.is_warm(medians) and (time.monotonic() < end or not medians):
            samples = self._timed(entrant, batch, quantity, min(self.plan.block_seconds, 0.2), 0)
            medians.append(float(np.median(samples)) * 1e-9)
        return medians[-1]

    def _block(self, entrant: _Entrant, batch: int, quantity: Quantity, generation: int) -> None:
        settle = stats.settle_calls(entrant.pace[quantity])
        before, ours = environment.load(), environment.cpu_seconds([entrant.session.pid])
        samples = self._timed(entrant, batch, quantity, self.plan.block_seconds, settle)
        after = environment.load()
        ours = environment.cpu_seconds([entrant.session.pid]) - ours
        foreign, stolen = environment.shares(before, after, ours)
        series = self.ledger.series(entrant.contender, batch, quantity)
        series.unproven.add(generation)  # until its images are verified again
        series.blocks.append(tuple(samples))
        series.process.append(generation)
        series.foreign.append(round(foreign, 4))
        series.stolen.append(round(stolen, 4))

    def _timed(self, entrant: _Entrant, batch: int, quantity: Quantity, seconds: float, settle: int) -> list[int]:
        session = entrant.session
        if quantity == "model":
            return session.time_model(seconds, settle=settle, clock=self.plan.clock)
        return session.time_end_to_end(
            seed=self.plan.seed,
            count=batch,
            signature=self.subject.signature,
            min_seconds=seconds,
            settle=settle,
            clock=self.plan.clock,
        )

    def _attempt(
        self, action: Callable[[_Entrant, int, int], None], entrant: _Entrant, batch: int, generation: int
    ) -> None:
        """Run an action of one backend; if it fails, store the reason and go on without that backend."""
        if entrant.contender.name in self.ledger.absent:
            return
        try:
            action(entrant, batch, generation)
        except GanExportError as e:
            self.ledger.doubt(entrant.contender, generation, batch)
            self.ledger.give_up(entrant.contender, f"at batch {batch}: {_reason(e, entrant.contender)}", failed=True)
            entrant.session.kill()

    def _check_memory(self, batch: int) -> None:
        picture = self.subject.image_bytes
        check_memory(batch, self.subject.at_work, picture, len(self.contenders), self.device)

    def _say(self, share: float, what: str) -> None:
        self.share = share
        spent = time.monotonic() - self.started
        left = spent * (1 - share) / share if share > 0.05 else None
        self.report(Progress(share, what, left))


def _peak(device: str, threads: int) -> Peak | None:
    try:
        return measure_peak(device, threads)
    except GanExportError:
        return None  # without torch there is no roofline, and the rows get no share of the peak


def _higher(before: Peak, after: Peak | None) -> Peak:
    """Return the higher of two measured peaks, of before and after the run: other load only lowers a peak."""
    if after is None:
        return before
    return Peak({k: max(v, after.flops[k]) for k, v in before.flops.items()}, max(before.bytes, after.bytes))


def _reason(error: GanExportError, contender: Backend) -> str:
    return str(error).removeprefix(f"{contender.runtime}: ")
