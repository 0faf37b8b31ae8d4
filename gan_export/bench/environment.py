"""Describe the machine, the versions and the commit of a run, and measure what else ran during it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "gan-export", "torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "ncnn", "ai-edge-litert",
    "executorch", "coremltools",
)  # fmt: skip
_VECTOR_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """The properties of a machine that make the figures of two runs comparable.

    usable: the number of processors that this process may run on
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    usable: int
    memory: int
    system: str
    governor: str | None
    gpu: str | None
    gpu_driver: str | None

    def differences(self, other: Machine) -> list[str]:
        """Return the differences between two machines as text; the kernel's version is ignored."""
        names = ("cpu", "flags", "usable", "gpu")
        return [
            f"{name}: {getattr(self, name)} and {getattr(other, name)}"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]


@dataclass(frozen=True, slots=True)
class Load:
    """Counters of the machine at one moment, in seconds over all processors since it started.

    busy: time of all processes; stolen: time that the hypervisor gave to other machines; average: load over a minute
    """

    at: float
    busy: float
    stolen: float
    average: float


def describe() -> Machine:
    """Return this machine's description; what the system doesn't offer is None, 0 or empty."""
    model, flags = _cpu()
    gpu = gpu_query("name,driver_version")
    return Machine(
        cpu=model,
        flags=tuple(f for f in _VECTOR_FLAGS if f in flags),
        cores=os.cpu_count() or 1,
        usable=usable_processors(),
        memory=memory_total(),
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} {platform.machine()}",
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        gpu=gpu[0] if gpu else None,
        gpu_driver=gpu[1] if gpu else None,
    )


def versions() -> dict[str, str]:
    """Return the versions of Python, of every measured package, and of the C++ compiler if there is one."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "gan-export" not in found:
        from gan_export import __version__

        found["gan-export"] = __version__
    if compiler := _run("g++", "-dumpfullversion"):
        found["g++"] = compiler
    return found


def commit() -> str | None:
    """Return the commit of this package's source tree, with "+changes" if files of the package differ from it."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / "pyproject.toml").is_file():
        return None  # an installed package has no source tree: its version identifies it
    head = _run("git", "-C", str(package), "rev-parse", "HEAD")
    if not head:
        return None
    changed = _run("git", "-C", str(package), "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return f"{head}+changes" if changed else head


def gpu_query(fields: str) -> list[str]:
    """Return nvidia-smi's values for the first GPU, one string per field; empty without a GPU."""
    line = _run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits").splitlines()
    return [part.strip() for part in line[0].split(",")] if line else []


def gpu_state() -> dict[str, float]:
    """Return the clock (MHz), temperature (°C) and power (W) of the first GPU; empty without a GPU."""
    names = {"clocks.sm": "sm_mhz", "clocks.mem": "memory_mhz", "temperature.gpu": "celsius", "power.draw": "watts"}
    values = gpu_query(",".join(names))
    state = {}
    for name, value in zip(names.values(), values, strict=False):
        try:
            state[name] = float(value)
        except ValueError:
            continue
    return state


def usable_processors() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_total() -> int:
    """Return the machine's memory in bytes; 0 if unknown."""
    return _meminfo("MemTotal")


def memory_available() -> int:
    """Return the bytes of memory that are available without swapping; 0 if unknown."""
    return _meminfo("MemAvailable")


def load() -> Load:
    """Return the counters of this moment.  Without /proc, only the time and the load average are set."""
    busy = stolen = 0.0
    if line := _read("/proc/stat"):
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in line.splitlines()[0].split()[1:9])
        tick = os.sysconf("SC_CLK_TCK")
        busy, stolen = (user + nice + system + irq + softirq) / tick, steal / tick
    average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Load(time.monotonic(), busy, stolen, average)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor seconds that these processes have used so far; 0 for a process that has ended."""
    total = 0
    for pid in pids:
        if line := _read(f"/proc/{pid}/stat"):
            fields = line.rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK") if total else 0.0


def shares(before: Load, after: Load, ours: float) -> tuple[float, float]:
    """Return (foreign, stolen): the shares of all processors' time that other processes and other machines used.

    ours: processor seconds that our own processes used between `before` and `after`
    """
    span = (after.at - before.at) * (os.cpu_count() or 1)
    if span <= 0:
        return 0.0, 0.0
    foreign = max(0.0, after.busy - before.busy - ours) / span
    return foreign, max(0.0, after.stolen - before.stolen) / span


def _cpu() -> tuple[str, set[str]]:
    text = _read("/proc/cpuinfo") or ""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = "/".join(facts[k] for k in ("cpu family", "model", "stepping") if k in facts)
    label = f"{name} (family/model/stepping {family})" if family else name
    return label, set(facts.get("flags", facts.get("Features", "")).split())


def _meminfo(name: str) -> int:
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
