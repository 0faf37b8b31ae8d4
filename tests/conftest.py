"""Checkpoints and commands that many tests share."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.views import LatentImage

ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


class ClassicGenerator(nn.Module):
    """The classic 32x32 generator as its training script writes it, at any width."""

    def __init__(self, width: int = 512, channels: int = 1, nz: int = 100) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ConvTranspose2d(nz, width, 4, 1, 0),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(width // 2, width // 4, 4, 2, 1),
            nn.BatchNorm2d(width // 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(width // 4, channels, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.model(z)


class ExamplesGenerator(nn.Module):
    """The 64x64 generator of the PyTorch examples, at any width."""

    def __init__(self, width: int = 64, channels: int = 3, nz: int = 100) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = nz
        for i, factor in enumerate((8, 4, 2, 1)):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers += [nn.ConvTranspose2d(before, width * factor, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(width * factor), nn.ReLU(True)]
            before = width * factor
        layers += [nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights, and BatchNorm statistics that fit them, as a trained generator has: pictures use the whole range."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel() ** 0.5
            nn.init.normal_(module.weight, 0.0, 1.5 / fan, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.2, generator=generator)
    model.train()
    with torch.no_grad():
        for _ in range(60):
            model(torch.randn(32, 100, 1, 1, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def classic() -> nn.Module:
    """The classic generator, narrow so that tests are quick; the same in each of pytest's workers."""
    torch.manual_seed(0)
    return lively(ClassicGenerator(width=32))


@pytest.fixture(scope="session")
def classic_pth(classic: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bare state dict on disk.  Tests that write beside it copy it first."""
    path = tmp_path_factory.mktemp("classic") / "generator_20.pth"
    torch.save(classic.state_dict(), path)
    return path


def of_channels(channels: int, folder: Path) -> Path:
    """A checkpoint of the classic generator whose pictures have so many channels."""
    path = folder / f"channels{channels}.pth"
    torch.save(lively(ClassicGenerator(width=16, channels=channels)).state_dict(), path)
    return path


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run one of the four commands through its entry point: command("gan-export", "onnx", path)."""

    def run(program: str, *arguments: object) -> Result:
        module = importlib.import_module(f"gan_export.cli.{program.removeprefix('gan-')}")
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            module.main()
        out, err = capfd.readouterr()
        code = stopped.value.code
        return Result(code if isinstance(code, int) else int(code is not None), out, err)

    return run


def error_lines(err: str) -> list[str]:
    """The lines of standard error, without the link to the section that explains an error."""
    return [line for line in err.splitlines() if line.strip() and not line.startswith("  see gan-export help ")]


def refused(result: Result) -> str:
    """The one line of a refusal: exit code 2, only a link after it on standard error, no traceback."""
    assert result.code == 2, result
    lines = error_lines(result.err)
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    return lines[0]


def latent_image(spec: GeneratorSpec) -> LatentImage:
    """The latent and the image of a generator that has one of each."""
    return LatentImage.of(spec.signature, "this test")


def interruptible() -> None:
    """Let a child process take Ctrl-C, as its `preexec_fn`: one that a background job starts would ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Artifacts:
    """The classic generator in a format of files, by its exporter's name, shipped when a test first asks for it.

    A test that asks for what can't be written here is skipped.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.made: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        from gan_export import checkpoint
        from gan_export.pipeline import publish, table

        if name not in self.made:
            line = next(one for one in table.lines() if one.exporter.name == name)
            if not line.available:
                pytest.skip(line.reason)
            with FileLock(self.folder / f"{name}.lock"):  # pytest's workers share what any of them has shipped
                target = self.folder / f"g{line.exporter.suffix}"
                if not target.exists():
                    publish.export(checkpoint.read(self.source), line.exporter, target)
            self.made[name] = target
        return self.made[name]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pytest's workers share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def artifacts(classic_pth: Path, shared: Path) -> Artifacts:
    return Artifacts(classic_pth, shared)


def _formats_of_files() -> Iterator[object]:
    from gan_export.exporters import EXPORTERS

    for exporter in EXPORTERS:
        if not exporter.folder:
            quick = exporter.name in ("onnx", "openvino", "native")
            yield pytest.param(exporter.name, marks=() if quick else pytest.mark.long)


# Each format of files; by default those whose runtimes start without torch.
each_format = pytest.mark.parametrize("name", list(_formats_of_files()))
