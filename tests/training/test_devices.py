from __future__ import annotations

import pytest
import torch

from gan_export.errors import GanExportError, UnavailableError
from gan_export.training import devices, recipe, snapshot
from gan_export.training.step import step

CPU = torch.device("cpu")


def test_auto_takes_what_is_there() -> None:
    chosen = devices.choose("auto").type
    if torch.cuda.is_available():
        assert chosen == "cuda"
    else:
        assert chosen == ("mps" if torch.backends.mps.is_available() else "cpu")
    assert devices.choose("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UnavailableError):
        devices.choose(name)


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cpu:0", "", "CUDA"])
def test_a_name_that_is_none_is_refused_by_the_recipe(name: str) -> None:
    with pytest.raises(GanExportError, match="is unknown"):
        recipe.load("mnist32-demo", [f'compute.device="{name}"'])


def test_autocast_is_refused_where_it_was_never_tried() -> None:
    compute = recipe.load("mnist32-demo", ["compute.autocast=bf16"]).compute
    devices.check(compute, CPU)
    with pytest.raises(GanExportError, match="is for CUDA and the CPU, and the device is mps"):
        devices.check(compute, torch.device("mps"))


def test_each_process_of_a_machine_takes_a_gpu_of_its_own() -> None:
    cuda = torch.device("cuda")
    assert [devices.of_process(cuda, local, 2).index for local in range(4)] == [0, 1, 0, 1]
    assert devices.of_process(torch.device("cuda:1"), 0, 2).index == 1
    assert devices.of_process(CPU, 1, 2) == CPU


def test_threads_are_set_and_put_back() -> None:
    before = torch.get_num_threads()
    compute = recipe.load("mnist32-demo", [f"compute.threads={before + 1}"]).compute
    with devices.configured(compute, CPU):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["bce", "hinge"])
@pytest.mark.parametrize("one_call", ["true", "false"])
def test_a_step_under_autocast_keeps_full_precision_where_it_matters(kind: str, one_call: str) -> None:
    """With compute.autocast, as CUDA takes it too: losses and weights stay float32."""
    settings = [f"loss.kind={kind}", f"loss.one_call={one_call}", "train.seed=1"]
    real = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    full = snapshot.start(recipe.load("mnist32-demo", settings), CPU)
    half = snapshot.start(recipe.load("mnist32-demo", [*settings, "compute.autocast=bf16"]), CPU)
    exact, rounded = step(full, real), step(half, real)
    assert rounded.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in half.generator.parameters())
    assert torch.isfinite(rounded).all()
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.1, atol=0.05)
