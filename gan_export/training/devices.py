"""The device of a run, its settings, and the environment that a bit-exact resume depends on."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gan_export.errors import GanExportError, UnavailableError
from gan_export.training.recipe import Compute, Recipe


def choose(name: str) -> torch.device:
    """Return the device for a recipe's compute.device; raise UnavailableError if it doesn't exist."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("no CUDA device is usable here; use device=cpu, or a driver and a CUDA build of torch")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnavailableError(f"there is no {name}; torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UnavailableError("no MPS device is usable here; use device=cpu")
    return device


def memory_layout(recipe: Recipe) -> torch.memory_format:
    """Return the memory layout of a recipe's networks and batches."""
    if not recipe.compute.channels_last:
        return torch.contiguous_format
    return torch.channels_last_3d if recipe.data.dims == 3 else torch.channels_last


def of_process(device: torch.device, local: int, count: int) -> torch.device:
    """Return the device of process `local` of this machine.

    If the recipe names no GPU by number, the processes take the `count` GPUs in turn."""
    if device.type != "cuda" or device.index is not None or not count:
        return device
    return torch.device("cuda", local % count)


def check(compute: Compute, device: torch.device) -> None:
    """Raise GanExportError for settings that the device doesn't support."""
    if device.type not in ("cuda", "cpu") and compute.autocast != "off":
        raise GanExportError(f"compute.autocast is for CUDA and the CPU, and the device is {device.type}; leave it off")


@contextmanager
def configured(compute: Compute, device: torch.device) -> Iterator[None]:
    """Set threads, TF32 and determinism from the recipe, and restore them afterwards."""
    threads = torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic) if device.type == "cuda" else None
    try:
        if compute.threads:
            torch.set_num_threads(compute.threads)
        if before:
            cudnn.allow_tf32 = matmul.allow_tf32 = compute.tf32
            cudnn.deterministic = compute.deterministic
        yield
    finally:
        torch.set_num_threads(threads)
        if before:
            cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


def machine(device: torch.device, processes: int = 1) -> dict[str, str | int]:
    """Return everything besides the recipe that the bits of a result depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "processes": processes,
    }


def differences(before: dict[str, str | int], now: dict[str, str | int]) -> list[str]:
    """Return `what: then, now` for each entry of `machine` that both have and that changed."""
    return [f"{key}: {before[key]} then, {now[key]} now" for key in now if before.get(key, now[key]) != now[key]]
