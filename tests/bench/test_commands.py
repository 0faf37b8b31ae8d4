"""Test gan-bench as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gan_export import exporters
from gan_export.bench import environment, record
from gan_export.bench.record import Run
from gan_export.checkpoint import ReadOptions, read
from gan_export.exporters.base import Options
from gan_export.pipeline import publish
from gan_export.runtimes.c_compiler import compiler
from tests.bench.conftest import REPOSITORY, Command
from tests.conftest import Command as InProcess
from tests.conftest import interruptible, refused

pytestmark = pytest.mark.timeout(900)  # the first test measures for all others: slow on a busy machine
BRIEF = ("--runtimes", "onnxruntime", "--batch", "2", "--rounds", "2", "--seconds", "0.02", "--threads", "1")

OF_THREE = ("--batch", 3, "--rounds", 2, "--seconds", 0.02, "--threads", 1, "--runtimes")


def test_help_is_quick_and_imports_no_runtime() -> None:
    code = (
        "import sys, time; before = time.perf_counter(); sys.argv = ['gan-bench', '--help']\n"
        "from gan_export.cli.bench import app\n"
        "app(standalone_mode=False)\n"
        "bad = [m for m in ('torch', 'torchvision', 'onnxruntime', 'openvino', 'numpy') if m in sys.modules]\n"
        "print(bad, time.perf_counter() - before, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert "gan-bench compare A.json B.json" in done.stdout
    assert done.stderr.startswith("[] ")


BAD = {
    "batch 0": (["--batch", "0"], "batch 0"),
    "a negative batch": (["--batch", "-3"], "batch -3"),
    "a batch that is no number": (["--batch", "many"], "whole numbers"),
    "an empty batch": (["--batch", ""], "whole numbers"),
    "an unknown runtime": (["--runtimes", "onnxruntim"], "did you mean onnxruntime"),
    "an unknown suite": (["--suite", "quik"], "did you mean quick"),
    "an unknown device": (["--device", "tpu"], "auto, cpu or cuda"),
    "an unknown quantity": (["--measure", "speed"], "model or end_to_end"),
    "an unknown generator": (["--model", "clasic"], "did you mean classic"),
    "no thread": (["--threads", "0"], "threads 0"),
    "one round": (["--rounds", "1"], "rounds 1"),
    "no seconds": (["--seconds", "0"], "block_seconds 0"),
    "no process": (["--processes", "0"], "processes 0"),
    "a file that is missing": (["gone.pth"], "gone.pth: no such file"),
    "a file and a built-in": (["empty.pth", "--model", "classic"], "name one of them"),
    "a file that is no generator": (["empty.pth"], "empty.pth"),
    "two of a kind": (["empty.pth", "text.pth"], "one generator at a time"),
    "a batch beyond memory": (["--batch", "1000000"], "GiB"),
    "two streams on stdout": (["--json", "-", "--csv", "-"], "both print"),
    "going on with nothing": (["--resume"], "add --suite NAME --save-dir DIR"),
    "batches of no model": (["--suite", "model.toml"], "model.toml: no built-in generator is called nobody"),
    "a clock that is none": (["--suite", "clock.toml"], "clock.toml: clock sun: must be wall or processor"),
    "batches that are no table": (["--suite", "table.toml"], "table.toml: batches_of: must be a list of each model"),
    "a run over a file": (["--json", "text.pth"], "never overwritten"),
    "a run into nowhere": (["--json", "nowhere/run.json"], "nowhere is not a folder"),
    "runs kept nowhere": (["--save-dir", "nowhere"], "nowhere is not a folder"),
    "a table over what is measured": (["g.pth", "--csv", "g.pth"], "g.pth is one of the files to measure"),
    "a table over what is measured, by another path": (["g.pth", "--csv", "../corner/g.pth"], "files to measure"),
    "a run into a folder": (["--json", "bare"], "bare is a folder"),
    "a table into a folder": (["--csv", "bare"], "bare is a folder"),
    "two results in one file": (["--json", "a.json", "--csv", "./a.json"], "name two files"),
    "what a flag says of no checkpoint": (["--output", "sigmoid"], "name its FILE"),
    "an activation that is none": (["g.pth", "--output", "sigmoyd"], "tanh, sigmoid"),
    "a state dict that is not there": (["g.pth", "--key", "ema"], "--key ema: no such state dict"),
    "a file that none of them runs": (["g.pth", "g.onnx", "--runtimes", "eager"], "g.onnx: none of --runtimes eager"),
    "what a flag says of an export": (["g.onnx", "--raw"], "g.onnx is an export"),
    "an unknown field": (["--suite", "field.toml"], "field.toml: there is no field batchs; did you mean batches?"),
    "a bad value in a suite": (["--suite", "value.toml"], "value.toml: batch 0"),
    "a suite of the wrong type": (["--suite", "type.toml"], "type.toml"),
    "a suite that is no TOML": (["--suite", "broken.toml"], "broken.toml"),
    "a suite that is missing": (["--suite", "gone.toml"], "gone.toml"),
    "comparing what is missing": (["compare", "gone.json", "gone.json"], "gone.json"),
    "comparing what is no run": (["compare", "text.pth", "text.pth"], "is not JSON"),
    "comparing another schema": (["compare", "other.json", "other.json"], "of schema somebody/else/1"),
    "a bound of nothing": (["compare", "other.json", "other.json", "--fail-below", "0"], "above 0"),
    "a report of nothing": (["report", "bare"], "contains no run"),
    "a report of no folder": (["report", "gone"], "is not a folder"),
}


@pytest.fixture(scope="module")
def corner(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of invalid inputs, with a generator and its export in folders of their own."""
    folder = tmp_path_factory.mktemp("corners") / "corner"
    folder.mkdir()
    for name, kind in (("g.pth", "checkpoint"), ("g.onnx", "onnx")):
        shutil.copyfile(files[kind], folder / name)
    (folder / "bare").mkdir()
    for name, text in {
        "empty.pth": "",
        "text.pth": "not a checkpoint",
        "field.toml": "batchs = [1]",
        "value.toml": "batches = [0]",
        "type.toml": 'rounds = "seven"',
        "broken.toml": "batches = [",
        "model.toml": "[batches_of]\nnobody = [1]",
        "table.toml": "batches_of = [1]",
        "clock.toml": 'clock = "sun"',
        "other.json": '{"schema": "somebody/else/1"}',
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_2(
    name: str, command: InProcess, corner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, message = BAD[name]
    before = sorted(p.name for p in corner.iterdir())
    monkeypatch.chdir(corner)
    done = command("gan-bench", *arguments)
    line = refused(done)
    assert line.startswith("gan-bench: ")
    assert message in line
    assert done.out == ""
    assert sorted(p.name for p in corner.iterdir()) == before


def test_an_export_alone_is_measured_and_kept(gan_bench: Command, files: dict[str, Path], tmp_path: Path) -> None:
    kept = tmp_path / "run.json"
    done = gan_bench(files["onnx"], *BRIEF, "--json", kept)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "ONNX Runtime CPU" in done.stdout
    assert "batch 2, model" in done.stdout
    run = record.read(kept)
    assert run.model.name == files["onnx"].name
    assert run.rows[0].parity is not None
    assert run.rows[0].parity.against == "the reference images in the file"
    assert "gan-bench small.onnx --runtimes onnxruntime" in run.command


def test_json_prints_nothing_else_and_csv_is_a_table(
    gan_bench: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    done = gan_bench(files["onnx"], *BRIEF, "--json", "-", "--csv", tmp_path / "run.csv")
    assert json.loads(done.stdout)["schema"] == record.SCHEMA
    header, row = (tmp_path / "run.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert cells["contender"] == "onnxruntime"
    assert cells["provider"] == "CPUExecutionProvider"
    assert float(cells["low"]) <= float(cells["images_per_second"]) <= float(cells["high"])


@pytest.mark.long
def test_every_run_of_a_suite_is_kept_and_reported(gan_bench: Command, files: dict[str, Path], tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(
        'description = "one"\nbatches = [2]\nruntimes = ["onnxruntime"]\nrounds = 2\nblock_seconds = 0.02\n'
    )
    runs = tmp_path / "runs"
    runs.mkdir()
    done = gan_bench(files["onnx"], "--suite", suite, "--save-dir", runs)
    assert done.returncode == 0, done.stderr
    (kept,) = runs.glob("*-tiny-small-cpu.json")
    assert record.read(kept).suite == "tiny"
    done = gan_bench("report", runs)
    assert done.returncode == 0, done.stderr
    for name in ("REPORT.md", "report.html"):
        assert kept.name in (tmp_path / name).read_text()


@pytest.mark.long
def test_a_suite_goes_on_where_it_was_interrupted(gan_bench: Command, tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(
        'models = ["classic"]\nbatches = [2]\nruntimes = ["native"]\nrounds = 2\nblock_seconds = 0.02\nthreads = 1\n'
        'roofline = false\nclock = "processor"\n[batches_of]\nclassic = [1]\n'
    )
    arguments = ("--suite", suite, "--save-dir", tmp_path, "--resume")
    done = gan_bench(*arguments)
    assert done.returncode == 0, done.stderr
    (kept,) = tmp_path.glob("*-tiny-classic-cpu.json")
    run = record.read(kept)
    assert (run.settings.clock, [row.batch for row in run.rows]) == ("processor", [1])
    done = gan_bench(*arguments)
    assert done.stdout == f"classic: already measured, {kept.name}\n"
    done = gan_bench(*arguments, "--threads", "2")
    assert "already measured" not in done.stdout
    assert len(list(tmp_path.glob("*-tiny-classic-cpu.json"))) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_ctrl_c_keeps_what_is_measured(files: dict[str, Path], tmp_path: Path) -> None:
    kept = tmp_path / "run.json"
    command = [sys.executable, "-m", "gan_export.cli.bench", str(files["onnx"]), "--runtimes", "onnxruntime"]
    command += ["--batch", "2,3", "--rounds", "1000", "--seconds", "0.05", "--threads", "1", "--json", str(kept)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, preexec_fn=interruptible
    )
    assert measuring(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    run = record.read(kept)
    assert run.partial
    assert "partial" in out


def measuring(pid: int) -> bool:
    """Wait, up to a minute, until a worker of `pid` has used a second of processor time, including loading."""
    for _ in range(240):
        time.sleep(0.25)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                is_worker = b"runtimes.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
                if is_worker and environment.cpu_seconds([int(child)]) > 1.0:
                    return True
    return False


def test_runs_that_differ_are_compared_only_with_anyway(gan_bench: Command, measured: Run, tmp_path: Path) -> None:
    import dataclasses

    here, there = tmp_path / "here.json", tmp_path / "there.json"
    record.write(measured, here)
    machine = dataclasses.replace(measured.machine, cpu="another processor")
    settings = dataclasses.replace(measured.settings, threads=8)
    record.write(dataclasses.replace(measured, machine=machine, settings=settings), there)
    done = gan_bench("compare", here, there)
    assert done.returncode == 2
    assert "another processor" in done.stderr
    assert "threads: 1 and 8" in done.stderr
    done = gan_bench("compare", here, there, "--force", "--fail-below", "0.95")
    assert done.returncode == 0
    assert "1.000" in done.stdout


@pytest.mark.long
def test_what_the_second_run_lost_is_a_regression(gan_bench: Command, measured: Run, tmp_path: Path) -> None:
    import dataclasses

    before, after = tmp_path / "before.json", tmp_path / "after.json"
    record.write(measured, before)
    first, *others = measured.rows
    assert first.parity is not None
    wrong = dataclasses.replace(first, parity=dataclasses.replace(first.parity, passed=False))
    short = dataclasses.replace(first, **{n: getattr(first, n)[:1] for n in ("blocks", "process", "foreign", "stolen")})
    for rows in ((wrong, *others), (short, *others), others):
        after.unlink(missing_ok=True)
        record.write(dataclasses.replace(measured, rows=tuple(rows)), after)
        assert gan_bench("compare", before, after).returncode == 0
        done = gan_bench("compare", before, after, "--fail-below", 0.5)
        assert done.returncode == 1, done.stdout
        assert f"no speed for {first.contender} {first.batch} {first.quantity}" in done.stderr
        assert gan_bench("compare", after, before, "--fail-below", 0.5).returncode == 0


@pytest.mark.long
def test_a_range_of_its_own_is_brought_to_bytes(gan_bench: Command, files: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = read(files["checkpoint"], ReadOptions(output="sigmoid", raw=True))
    publish.export(checkpoint, exporters.find("torchscript"), tmp_path / "raw.pt")
    brief = ("--batch", 3, "--rounds", 2, "--seconds", 0.02, "--threads", 1, "--runtimes", "torchscript")
    done = gan_bench(tmp_path / "raw.pt", *brief, "--measure", "model,end_to_end", "--csv", "-")
    assert done.returncode == 0, done.stderr
    assert "wrong images" not in done.stdout + done.stderr
    header, *rows = done.stdout.splitlines()  # the table and nothing else
    assert {"contender", "quantity"} <= set(header.split(","))
    assert {"model", "end_to_end"} <= set(",".join(rows).split(","))


@pytest.mark.long
def test_an_export_is_judged_by_what_the_flags_say_of_its_checkpoint(
    gan_bench: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    exported = tmp_path / "g.onnx"
    publish.export(read(files["checkpoint"], ReadOptions(output="sigmoid")), exporters.find("onnx"), exported)
    brief = (*OF_THREE, "eager,torchscript,onnxruntime")
    done = gan_bench(files["checkpoint"], exported, *brief, "--output", "sigmoid", "--json", tmp_path / "run.json")
    assert done.returncode == 0, done.stderr
    assert "wrong images" not in done.stdout
    assert {r.contender for r in record.read(tmp_path / "run.json").rows} == {"eager", "torchscript", "onnxruntime"}
    done = gan_bench(files["checkpoint"], exported, *brief, "--output", "tanh")
    assert "wrong images" in done.stdout


@pytest.mark.long
def test_recalibrated_exports_are_judged_by_their_own_statistics(
    gan_bench: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    for name, options in (("onnx", Options(recalibrate=64)), ("torchscript", Options())):
        exporter = exporters.find(name)
        publish.export(read(files["checkpoint"]), exporter, tmp_path / f"g{exporter.suffix}", options)
    brief = (*OF_THREE, "eager,onnxruntime,torchscript")
    kept = ("--csv", tmp_path / "g.csv")
    done = gan_bench(files["checkpoint"], tmp_path / "g.onnx", *brief, "--fail-on-unstable", *kept)
    assert "wrong images" not in done.stdout + done.stderr
    assert (tmp_path / "g.csv").read_text().count("True") == 3
    done = gan_bench(files["checkpoint"], tmp_path / "g.onnx", tmp_path / "g.pt", *brief)
    assert done.returncode == 2
    assert "different --recalibrate (g.onnx with 64, g.pt without)" in done.stderr


@pytest.mark.long
def test_a_checkpoint_is_read_as_its_exports_were_made(
    gan_bench: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    exporter = exporters.find("onnx")
    publish.export(read(files["checkpoint"], ReadOptions(bn_eps=0.5)), exporter, tmp_path / "g.onnx", Options())
    publish.export(read(files["checkpoint"]), exporters.find("torchscript"), tmp_path / "h.pt", Options())
    done = gan_bench(files["checkpoint"], tmp_path / "g.onnx", *OF_THREE, "eager,onnxruntime")
    assert done.returncode == 0, done.stderr
    assert "--bn-eps 0.5, the flags in the manifests of its exports" in done.stderr
    assert "wrong images" not in done.stdout + done.stderr
    mixed = gan_bench(
        files["checkpoint"], tmp_path / "g.onnx", tmp_path / "h.pt", *OF_THREE, "eager,onnxruntime,torchscript"
    )
    assert mixed.returncode == 2
    assert "different flags (g.onnx with --bn-eps 0.5, h.pt with none)" in mixed.stderr


@pytest.mark.skipif(not compiler(), reason="needs a C compiler")
@pytest.mark.long
def test_a_named_file_is_measured_by_the_runtime_of_its_format(
    gan_bench: Command, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_export.bench import backends, measure
    from gan_export.bench.plan import Plan
    from gan_export.bench.target import sort_files

    folder = tmp_path / "g-c"
    publish.export(read(files["checkpoint"]), exporters.find("c"), folder)
    eager = tuple(c for c in backends.BACKENDS if c.name == "eager")
    monkeypatch.setattr(backends, "default_backends", lambda _: eager)
    plan = Plan(batches=(2,), rounds=2, block_seconds=0.02, warm_seconds=0.3, roofline=False, device="cpu", threads=1)
    run = measure.run(plan, sort_files([files["checkpoint"], folder]), lambda _: None)
    assert {r.contender: r.parity is not None and r.parity.passed for r in run.rows} == {"eager": True, "c": True}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.long
def test_a_target_that_went_away_costs_no_result(files: dict[str, Path], tmp_path: Path) -> None:
    gone, kept, spare = tmp_path / "gone", tmp_path / "rows.csv", tmp_path / "spare"
    gone.mkdir()
    spare.mkdir()
    command = [sys.executable, "-m", "gan_export.cli.bench", str(files["onnx"]), "--runtimes", "onnxruntime"]
    command += ["--batch", "2", "--rounds", "40", "--seconds", "0.1", "--threads", "1"]
    command += ["--json", str(gone / "run.json"), "--csv", str(kept)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(spare)},
    )  # fmt: skip
    assert measuring(process.pid)
    gone.rmdir()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, out + err
    assert len(err.strip().splitlines()) == 1, err
    assert "images/s" in out
    assert f"kept: {kept}" in out
    assert kept.is_file()
    (rescued,) = spare.glob("*.json")
    assert f"the run was saved in {rescued}" in err
    assert record.read(rescued).rows


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that takes no file, from root neither")
@pytest.mark.parametrize("target", [("--save-dir", "/proc"), ("--csv", "/proc/rows.csv"), ("--json", "/proc/run.json")])
def test_a_place_that_takes_no_file_is_refused_before_anything_is_measured(
    target: tuple[str, str], command: InProcess, files: dict[str, Path]
) -> None:
    done = command("gan-bench", files["onnx"], *BRIEF, *target)
    assert "/proc can't be written" in refused(done)
    assert done.out == ""


def test_list_names_everyone(gan_bench: Command) -> None:
    from gan_export.bench.backends import BACKENDS

    done = gan_bench("list", "--device", "cpu")
    assert done.returncode == 0
    assert all(c.name in done.stdout for c in BACKENDS)
