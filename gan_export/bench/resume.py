"""The kept runs that a resumed suite need not repeat."""

from __future__ import annotations

from pathlib import Path

from gan_export.bench import environment, record
from gan_export.bench.plan import Plan
from gan_export.bench.record import Run
from gan_export.errors import GanExportError


def kept(folder: Path, plan: Plan, model: str) -> Path | None:
    """Return the file in `folder` of a whole run of this suite and built-in generator at this commit; None if none is.

    It is also of this machine, and of the plan's threads, clock and device.
    """
    machine, commit = environment.describe(), environment.commit()

    def is_it(run: Run) -> bool:
        settings = (run.settings.device, run.settings.threads, run.settings.clock)
        wanted = (plan.resolved_device(), plan.resolved_threads(), plan.clock)
        same = (run.suite, run.model.name, run.commit, settings) == (plan.suite, model, commit, wanted)
        return same and not run.partial and not run.machine.differences(machine)

    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            if record.is_run(path) and is_it(record.read(path)):
                return path
        except GanExportError:
            continue  # a run of another version of the schema
    return None
