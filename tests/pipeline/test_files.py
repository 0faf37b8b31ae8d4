"""What a Python caller does with a file as the commands do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gan_export import checkpoint
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options
from gan_export.formats import manifest as manifests
from gan_export.pipeline import files
from gan_export.recognize.options import ReadOptions


def unread() -> checkpoint.Checkpoint:
    raise AssertionError("the file was read")


def test_wrong_options_are_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(GanExportError, match="native has no option opset 20"):
        files.export_file(tmp_path / "g.pth", "native", unread, options=Options(opset=20))
    with pytest.raises(GanExportError, match="native has no precision int8"):
        files.export_page(tmp_path / "g.pth", tmp_path / "site", unread, Options(precision="int8"))
    assert not list(tmp_path.iterdir())


def test_a_default_target_never_hides_a_checkpoint(classic_pth: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(classic_pth, tmp_path / "g.pt"))
    assert files.default_target(file, ".onnx") == tmp_path / "g.onnx"
    assert files.default_target(file, ".pt") == tmp_path / "g.exported.pt"
    assert files.default_target(file, ".pt", tmp_path / "out") == tmp_path / "out" / "g.pt"
    assert files.default_target(tmp_path, ".onnx") == Path(f"{tmp_path.name}.onnx")


def test_a_page_and_the_flags_of_its_export(classic_pth: Path, tmp_path: Path) -> None:
    given = ReadOptions(bn_eps=0.01)
    page = files.export_page(
        classic_pth, tmp_path / "site", lambda: checkpoint.read(classic_pth, given), read_options=given
    )
    artifact = tmp_path / "site" / "generator.gan"
    assert [(title, result.path.name) for title, result in page.exported] == [("gan-export native", artifact.name)]
    assert manifests.read_manifest(artifact, "gan") is not None
    found = files.options_as_exported(artifact, classic_pth, ReadOptions())
    assert (found.options, found.used) == (given, True)
    other = ReadOptions(slope=0.2)
    found = files.options_as_exported(artifact, classic_pth, other)
    assert (found.options, found.recorded, found.used) == (other, given, False)
    copied = files.export_page(artifact, tmp_path / "again", unread)
    assert copied.verification is not None
    assert copied.verification.passed
    assert (tmp_path / "again" / "generator.gan").read_bytes() == artifact.read_bytes()
    with pytest.raises(GanExportError, match="are fixed"):
        files.export_page(artifact, tmp_path / "third", unread, read_options=given)
