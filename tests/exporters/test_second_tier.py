"""The formats that are tested with one architecture: what is each one's own, beside what every format's tests hold."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_export import latents, runtimes
from gan_export.errors import UnavailableError
from gan_export.exporters import EXPORTERS, find
from gan_export.formats import content
from gan_export.formats import manifest as manifests
from gan_export.formats.base import KEY
from gan_export.runtimes.base import run_latents
from tests.conftest import ROOT, Artifacts, Command, refused

OTHERS = [e.name for e in EXPORTERS if not e.core]
pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", OTHERS)
def test_draws_the_modules_pictures_at_two_batch_sizes(classic: nn.Module, artifacts: Artifacts, name: str) -> None:
    runtime = runtimes.find(find(name).runtime)
    if not runtime.availability().ok:
        pytest.skip(runtime.availability().reason)
    session = runtime.load(artifacts[name], threads=1)
    for batch in (1, 7):
        z = latents.draw(5, 0, batch, 100)
        with torch.no_grad():
            wanted = classic(torch.from_numpy(z)[:, :, None, None]).numpy()
        got = run_latents(session, z)
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() < 2e-5
    session.close()


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_bytes_from_another_process_and_folder(
    classic_pth: Path, artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    first = artifacts[name]
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); from pathlib import Path\n"
        "from gan_export import checkpoint, exporters\n"
        "from gan_export.exporters.base import Options, write\n"
        "write(exporters.find(sys.argv[2]), checkpoint.read(sys.argv[1]), Path(sys.argv[3]), Options())\n"
    )
    arguments = [sys.executable, "-c", program, str(classic_pth), name, first.name]
    subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True)
    made = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    assert made
    for file in made:
        content = file.read_bytes()
        beside = first.parent / file.relative_to(tmp_path)
        assert hashlib.sha256(content).digest() == hashlib.sha256(beside.read_bytes()).digest(), file.name
        for path in (str(ROOT), str(tmp_path), str(classic_pth.parent), "site-packages", sys.prefix):
            assert path.encode() not in content, (file.name, path)


def test_compiled_code_for_another_processor_is_refused(
    command: Command, artifacts: Artifacts, classic_pth: Path, tmp_path: Path
) -> None:
    path = artifacts["aoti"]
    edited = tmp_path / path.name
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(edited, "w") as made:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith(KEY):
                manifest = json.loads(data)
                manifest["options"]["isa"].append("newer9")
                data = json.dumps(manifest, separators=(",", ":")).encode()
            made.writestr(entry.filename, data)
    manifest = manifests.read_manifest(edited, "aoti")
    assert manifest is not None
    content.seal(edited, manifest)
    with pytest.raises(UnavailableError, match="newer9, which this one lacks"):
        runtimes.find("aotinductor").load(edited)
    assert "export it on this machine" in refused(command("gan-export", "verify", edited, classic_pth))
