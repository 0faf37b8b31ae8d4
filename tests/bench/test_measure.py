"""Test real runs, correct ones and ones with a planted fault that must be found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_export import checkpoint, exporters
from gan_export.bench import compare, measure, record, report, summary
from gan_export.bench.plan import Plan
from gan_export.bench.record import Run
from gan_export.bench.roofline import Peak
from gan_export.bench.target import Source
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options, unavailable_reason
from gan_export.formats import manifest
from tests.bench.conftest import BRIEF, Command

pytestmark = pytest.mark.timeout(900)  # the first test measures for all others: slow on a busy machine


def test_a_run_holds_every_row_with_its_samples_and_its_proof(measured: Run) -> None:
    rows = {(r.contender, r.batch, r.quantity): r for r in measured.rows}
    contenders, batches, quantities = ("eager", "onnxruntime"), (1, 3), ("model", "end_to_end")
    assert set(rows) == {(c, b, q) for c in contenders for b in batches for q in quantities}
    for row in rows.values():
        assert len(row.blocks) == len(row.process) == len(row.foreign) == len(row.stolen) == 3
        assert all(sum(block) >= 0.01e9 and min(block) > 0 for block in row.blocks)
        assert row.parity is not None
        assert row.parity.passed
        assert row.parity.images == row.batch
        assert 0 <= max(row.foreign) <= 1
    assert rows["eager", 3, "model"].parity.max_abs < 1e-5  # type: ignore[union-attr]


def test_a_run_says_what_it_ran_on(measured: Run, files: dict[str, Path]) -> None:
    assert measured.model.image == (1, 32, 32)
    assert measured.model.flops is not None
    assert measured.peak is not None
    assert measured.peak.flops["fp32"] > 1e9
    assert measured.machine.cores >= 1
    assert "torch" in measured.versions
    entries = {e.contender: e for e in measured.entries}
    assert entries["onnxruntime"].provider == "CPUExecutionProvider"
    assert entries["onnxruntime"].size == files["onnx"].stat().st_size
    assert entries["onnxruntime"].folded
    assert not entries["eager"].folded
    for entry in entries.values():
        assert entry.threads == 1
        assert 0 < entry.loads[0] < entry.starts[0]
        assert entry.peak_memory is not None
    assert [a.contender for a in measured.absent] == ["eager-fp16"]


def test_the_size_of_a_pair_is_that_of_both_files(files: dict[str, Path]) -> None:
    plan = dataclasses.replace(BRIEF, runtimes=("openvino-ir",), rounds=2, block_seconds=0.01)
    run = measure.run(plan, Source(None, {"openvino": files["openvino"]}), lambda _: None)
    both = (files["openvino"], files["openvino"].with_suffix(".bin"))
    assert [e.size for e in run.entries] == [sum(file.stat().st_size for file in both)]


@pytest.fixture(scope="module")
def narrow(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return exports of the small generator that are narrower than float32, by kind."""
    folder = tmp_path_factory.mktemp("narrow")
    read = checkpoint.read(files["checkpoint"])
    for name, precision in (("onnx", "int8"), ("native", "fp16"), ("openvino", "fp16")):
        exporter = exporters.find(name)
        if not unavailable_reason(exporter):
            exporter.write(read, folder / f"g{exporter.suffix}", Options(precision=precision))
    return {
        manifest.detect_format(path): path for path in folder.iterdir() if manifest.detect_format(path) != "checkpoint"
    }


@pytest.mark.long
def test_a_narrower_file_bears_its_precision_and_is_held_to_it(
    files: dict[str, Path], narrow: dict[str, Path], tmp_path: Path
) -> None:
    own = {"onnx": "onnxruntime", "gan": "native", "openvino": "openvino-ir"}
    names = tuple(own[kind] for kind in narrow)
    plan = dataclasses.replace(BRIEF, runtimes=names, rounds=2, block_seconds=0.02)
    run = measure.run(plan, Source(files["checkpoint"], narrow), lambda _: None)
    precisions = {"onnxruntime": "int8", "native": "fp16", "openvino-ir": "fp16"}
    assert {e.contender: e.precision for e in run.entries} == {name: precisions[name] for name in names}
    for line in summary.lines(run):
        assert not line.excluded, (line.entry.contender, line.parity)
        assert precisions[line.entry.contender] in summary.title(line.entry)
    header, *rows = (row.split(",") for row in str(summary.to_csv(run)).splitlines())
    assert {row[0]: row[header.index("precision")] for row in rows} == {name: precisions[name] for name in names}
    assert "ONNX Runtime int8 CPU" in str(report.markdown({"run.json": run}))
    full = measure.run(plan, Source(files["checkpoint"], {"onnx": files["onnx"]}), lambda _: None)
    assert not any(line.excluded for line in summary.lines(full))
    with pytest.raises(GanExportError, match="onnxruntime's precision: fp32 and int8"):
        compare.compare(full, run)


def test_every_row_has_its_interval_and_its_share_of_the_peak(measured: Run) -> None:
    for line in summary.lines(measured):
        assert line.rate is not None
        assert 0 < line.rate.low <= line.rate.value <= line.rate.high
        assert line.of_peak is not None
        assert line.of_peak > 0


def test_a_peak_that_is_beaten_is_doubted(measured: Run) -> None:
    low = Peak({"fp32": 1e6}, 1e9)
    assert any("measured too low" in doubt for doubt in summary.doubts(dataclasses.replace(measured, peak=low)))


@pytest.mark.long
@pytest.mark.alone
def test_a_planted_slow_down_is_found_and_noise_is_not(
    planted: Callable[..., Run], gan_bench: Command, tmp_path: Path
) -> None:
    plan = dataclasses.replace(BRIEF, block_seconds=0.5, rounds=10)
    for name, fault in (("a", "steady"), ("b", "steady"), ("slow", "slow")):
        record.write(planted(fault, plan), tmp_path / f"{name}.json")
    same = gan_bench("compare", tmp_path / "a.json", tmp_path / "b.json", "--fail-below", 0.95)
    assert same.returncode == 0, same.stdout + same.stderr
    slower = gan_bench("compare", tmp_path / "a.json", tmp_path / "slow.json", "--fail-below", 0.95)
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert "slower" in slower.stdout
    assert "below 0.95: onnxruntime at 4, model" in slower.stderr
    faster = gan_bench("compare", tmp_path / "slow.json", tmp_path / "a.json", "--fail-below", 0.95)
    assert faster.returncode == 0
    assert "faster" in faster.stdout


@pytest.mark.parametrize("fault", ["wrong", "late"])
def test_wrong_images_have_no_speed(fault: str, planted: Callable[..., Run]) -> None:
    run = planted(fault)
    (line,) = summary.lines(run)
    assert line.excluded
    assert line.parity is not None
    assert not line.parity.passed
    assert (line.rate, line.call, line.of_peak) == (None, None, None)
    table = str(report.markdown({"run.json": run}))
    assert "wrong images" in table
    assert 'class="wrong"' in str(report.page({"run.json": run}))
    if fault == "wrong":
        assert run.rows[0].blocks == ()  # known before it was timed
        assert line.parity.max_abs == pytest.approx(0.01, rel=0.01)


def test_wrong_images_in_one_process_of_three_are_not_forgotten(
    planted: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runtimes.planted.wavering import NUMBERS

    monkeypatch.setenv(NUMBERS, str(tmp_path))
    (line,) = summary.lines(planted("astray", dataclasses.replace(BRIEF, processes=3, rounds=2)))
    assert len(list(tmp_path.iterdir())) == 3
    assert line.excluded


def test_a_runtime_that_dies_is_named_and_the_others_go_on(planted: Callable[..., Run]) -> None:
    pytest.importorskip("openvino")
    plan = dataclasses.replace(BRIEF, runtimes=("onnxruntime", "openvino"), rounds=2)
    run = planted("dying_late", plan)
    absent = {a.contender: a for a in run.absent}
    assert absent["onnxruntime"].failed
    assert "killed by SIGABRT" in absent["onnxruntime"].reason
    assert [r.contender for r in run.rows] == ["openvino"]


@pytest.mark.parametrize("fault", [pytest.param("dying_timed", marks=pytest.mark.long), "dying_judged"])
def test_who_dies_after_it_was_timed_has_no_speed(fault: str, planted: Callable[..., Run], tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    run = planted(fault, dataclasses.replace(BRIEF, runtimes=("onnxruntime", "openvino")))
    died, lived = summary.lines(run)
    assert len(run.rows[0].blocks) >= 2  # its samples are kept
    assert (died.entry.contender, died.verdict, died.rate) == ("onnxruntime", "failed", None)
    assert (lived.entry.contender, lived.verdict) == ("openvino", "")
    assert record.parse(str(record.to_text(run)), "run.json") == run
    whole = planted("steady")
    (pair,) = compare.compare(whole, run).pairs
    assert pair.broken
    page = str(report.page({"run.json": run}))
    assert "SIGABRT" in page
    assert len(re.findall('class="wrong"', page)) == 1


def test_who_is_interrupted_keeps_the_speed_of_what_was_judged(planted: Callable[..., Run]) -> None:
    rounds = 0

    def interrupt(progress: measure.Progress) -> None:
        nonlocal rounds
        rounds += progress.what.startswith("batch 4: round")
        if rounds == 6:
            raise KeyboardInterrupt

    run = planted("steady", dataclasses.replace(BRIEF, processes=2, rounds=3), interrupt)
    (row,), (line,) = run.rows, summary.lines(run)
    # verified before the run ended, because it was not in its turn
    assert (row.process, row.unproven) == ((0, 0, 0, 1, 1), ())
    assert (line.verdict, line.rate is None) == ("", False)
    unjudged = dataclasses.replace(run, rows=(dataclasses.replace(row, unproven=(1,)),))
    (line,) = summary.lines(unjudged)
    assert line.call is not None
    assert line.call[0] * 1e9 == pytest.approx(np.median(np.concatenate(row.blocks[:3])))
    (line,) = summary.lines(dataclasses.replace(run, rows=(dataclasses.replace(row, unproven=(0, 1)),)))
    assert (line.verdict, line.rate) == ("not verified after timing", None)


@pytest.mark.long
def test_a_runtime_that_no_longer_loads_has_no_speed(files: dict[str, Path], tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(files["onnx"].read_bytes())
    native = exporters.find("native")
    native.write(checkpoint.read(files["checkpoint"]), tmp_path / "own.gan", Options())

    def remove(progress: measure.Progress) -> None:
        if progress.what == "batch 4: done":
            own.unlink(missing_ok=True)

    plan = dataclasses.replace(BRIEF, processes=2, rounds=2, block_seconds=0.02, runtimes=("onnxruntime", "native"))
    run = measure.run(plan, Source(files["checkpoint"], {"onnx": own, "gan": tmp_path / "own.gan"}), remove)
    verdicts = {line.entry.contender: line.verdict for line in summary.lines(run)}
    assert verdicts == {"onnxruntime": "failed", "native": ""}
    assert [a.failed for a in run.absent] == [True]


def test_a_converter_that_raises_what_it_likes_is_a_failed_row(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ImportError("cannot import name 'x' from 'torch'\nmore of it")

    monkeypatch.setattr(type(exporters.find("torchscript")), "write", broken)
    plan = dataclasses.replace(BRIEF, rounds=2, block_seconds=0.02, runtimes=("torchscript", "onnxruntime"))
    run = measure.run(plan, Source(files["checkpoint"], {"onnx": files["onnx"]}), lambda _: None)
    (absent,) = run.absent
    assert absent.failed
    assert absent.reason == "ImportError: cannot import name 'x' from 'torch'"
    assert [row.contender for row in run.rows] == ["onnxruntime"]


def test_what_a_converter_left_half_written_is_no_other_ones_file(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")

    def half(_: object, __: object, target: Path, ___: object) -> None:
        target.write_bytes(files["onnx"].read_bytes())  # it can be loaded
        raise GanExportError("the disk is full")

    monkeypatch.setattr(type(exporters.find("onnx")), "write", half)
    plan = dataclasses.replace(BRIEF, rounds=2, block_seconds=0.02, runtimes=("onnxruntime", "openvino", "native"))
    run = measure.run(plan, Source(files["checkpoint"], {}), lambda _: None)
    assert {a.contender: a.reason for a in run.absent} == dict.fromkeys(plan.runtimes[:2], "the disk is full")
    assert [row.contender for row in run.rows] == ["native"]


def test_an_interruption_keeps_what_is_measured(planted: Callable[..., Run]) -> None:
    def interrupt(progress: measure.Progress) -> None:
        if progress.what == "batch 4: round 3":
            raise KeyboardInterrupt

    for fault, verdict in (("steady", ""), ("dying_judged", "not verified after timing"), ("late", "wrong images")):
        run = planted(fault, report=interrupt)
        assert run.partial
        assert len(run.rows[0].blocks) == 2
        assert [line.verdict for line in summary.lines(run)] == [verdict]


def test_nothing_to_measure_is_an_error(planted: Callable[..., Run]) -> None:
    plan = dataclasses.replace(BRIEF, runtimes=("eager",))
    with pytest.raises(GanExportError, match="nothing could be measured: eager: needs the checkpoint"):
        planted("steady", plan)


def test_fresh_processes_add_blocks(planted: Callable[..., Run]) -> None:
    run = planted("steady", dataclasses.replace(BRIEF, processes=2, rounds=2))
    assert run.rows[0].process == (0, 0, 1, 1)
    assert len(run.entries[0].starts) == 2


@pytest.mark.long
@pytest.mark.alone
def test_a_sweep_doubles_until_it_no_longer_pays(planted: Callable[..., Run]) -> None:
    """At first, the planted pause makes every call take the same time, so doubling pays until the work takes longer."""
    run = planted("brief", dataclasses.replace(BRIEF, sweep=True, rounds=2))
    batches = [r.batch for r in run.rows]
    assert batches == [1 << i for i in range(len(batches))]
    assert len(batches) > 3


def test_progress_goes_up_to_the_end(planted: Callable[..., Run]) -> None:
    seen: list[measure.Progress] = []
    planted("steady", dataclasses.replace(BRIEF, batches=(1, 2), rounds=2), seen.append)
    shares = [p.done for p in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.long
@pytest.mark.alone
def test_agrees_with_a_loop_written_by_hand(planted: Callable[..., Run], files: dict[str, Path]) -> None:
    """The planted pause dominates, so both get the same time per call, whatever other work the machine does."""
    import time

    from tests.runtimes.planted import steady

    session = steady.find("onnxruntime").load(files["onnx"], threads=1)
    bound = session.bind({"z": np.zeros((4, 10), np.float32)})
    times = []
    for _ in range(20):
        before = time.perf_counter()
        bound()
        times.append(time.perf_counter() - before)
    (line,) = summary.lines(planted("steady"))
    assert line.rate is not None
    assert 4 / line.rate.value == pytest.approx(np.median(times), rel=0.05)


@pytest.mark.long
@pytest.mark.alone
def test_against_itself_the_interval_covers_one(
    planted: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare a backend with itself 20 times, with planted differences of processes and calls, equal in every test run.

    benchmarks/self_check.py does the same with the machine's own noise, which needs a quiet machine.
    """
    from tests.runtimes.planted.wavering import NUMBERS

    monkeypatch.setenv(NUMBERS, str(tmp_path))
    plan = dataclasses.replace(BRIEF, processes=3, rounds=3, block_seconds=0.1, warm_seconds=0.1)
    covered = 0
    for _ in range(20):
        (pair,) = compare.compare(planted("wavering", plan), planted("wavering", plan)).pairs
        assert pair.ratio is not None
        covered += pair.ratio.low <= 1 <= pair.ratio.high
        assert pair.ratio.half_width > 0.02
    assert covered >= 18


def test_an_artifact_of_another_checkpoint_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    from gan_export.bench.models import write_checkpoint
    from tests.runtimes.small import SMALL

    other = tmp_path / "other.pth"
    write_checkpoint(SMALL, other, seed=9)
    with pytest.raises(GanExportError, match=r"made from another checkpoint than other\.pth"):
        measure.run(Plan(), Source(other, {"onnx": files["onnx"]}), lambda _: None)
