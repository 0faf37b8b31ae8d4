"""Measure start-up and speed of the ways to embed a generator, for docs/embedding.md's tables.

    python benchmarks/embedding.py g.pth WORK --prepare
    python benchmarks/embedding.py g.pth WORK --name HOST [--rounds 5] [--only WORD]

The first command exports the generator and builds the programs of embed/ by their READMEs, each in a copy, in the
folder WORK; existing copies are kept.  The second takes turns: the wall-clock time of each program from its start to
its end, with one image; and images per second from a seed to bytes, at batch 1 and 64, of each library in a
long-running process, called from Python or, if its name says so, from Node.  Each uses its default number of threads.
For the HTTP service, it is the time from its start until a client has the first PNG, and PNGs per second of 1 and of 64
connections that request one image at a time.  Writes results/embedding-HOST.json (every start and turn, machine,
versions, other processes' share of it) and prints the tables; --only measures only what has WORD in its name.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import importlib.metadata
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_export import latents, runtimes
from gan_export.bench import environment
from gan_export.formats import manifest as manifests
from gan_export.graph.signature import Signature
from gan_export.graph.views import LatentImage
from gan_export.sampling.generator import Generator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SEED, BATCHES, TURN = 7, (1, 64), 0.3  # seconds of a library's turn


@dataclass(frozen=True, slots=True)
class Program:
    """A program of embed/: its command for one image, with F for the files' folder.

    The README's block that builds it.
    """

    title: str
    folder: str
    command: str
    block: int | None = 0


PROGRAMS = (
    Program("C engine", "c-native", "./draw F/g.gan 7 1"),
    Program("exported C", "c-export", "./draw plain/generator.weights 7 1"),
    Program("WebAssembly engine in C", "wasm", "./draw F/g.gan 7 1", 2),
    Program("WebAssembly engine in Node", "wasm", "node draw.js F/g.gan 7 1", None),
    Program(
        "WebAssembly engine in wasmtime",
        "wasm",
        "python draw.py ../../gan_export/web/gan-simd.wasm F/g.gan 7 1 out.npy",
        None,
    ),
    Program("ONNX Runtime in C, sampler graph", "c-onnx", "./sample F/g.sampler.onnx 7 1"),
    Program("ONNX Runtime in C, latents", "c-onnx", "./draw F/g.onnx F/z.raw"),
    Program("ONNX Runtime in C++, sampler graph", "cpp-onnx", "./sample F/g.sampler.onnx 7 1"),
    Program(
        "ONNX Runtime in Python, sampler graph", "python-onnx", "python sample.py F/g.sampler.onnx 7 1 out.npy", None
    ),
    Program("ONNX Runtime in Python, latents", "python-onnx", "python draw.py F/g.onnx F/z.npy out.npy", None),
    Program("ONNX Runtime in Node, latents", "node-onnx", "node draw.js F/g.onnx NZ F/z.raw out.raw"),
    Program("tract, latents", "python-tract", "python draw.py F/g.onnx F/z.npy out.npy", None),
    Program("OpenVINO in C, sampler graph", "c-openvino", "build/draw F/g.sampler.onnx 7 1"),
    Program("OpenVINO in C, latents", "c-openvino", "build/draw F/g.xml F/z.raw"),
    Program("TorchScript in C++, sampler", "cpp-torchscript", "build/draw F/g.sampler.pt 7 1"),
    Program("TorchScript in C++, latents", "cpp-torchscript", "build/draw F/g.pt F/z.raw"),
)
SERVICE = "HTTP service"
EXPORTS = {
    "g.gan": "native", "g.onnx": "onnx", "g.sampler.onnx": "onnx --sampler", "g.xml": "openvino", "plain": "c",
    "g.pt": "torchscript", "g.sampler.pt": "torchscript --sampler",
}  # fmt: skip
LIBRARIES = {
    "C engine": ("native", "g.gan"),
    "exported C": ("c", "plain"),
    "ONNX Runtime": ("onnxruntime", "g.onnx"),
    "OpenVINO": ("openvino-ir", "g.xml"),
    "TorchScript": ("torchscript", "g.pt"),
    "tract": (None, "g.onnx"),
    "WebAssembly engine in wasmtime": (None, "g.gan"),
    SERVICE: (None, "g.gan"),
}
NODE = {
    "WebAssembly engine in Node": """
        const {open} = await import(ROOT + '/gan_export/web/gan.js');
        const generator = await open(FILES + '/g.gan');
        const draw = async (start, count) => { await generator.generate({seed: 7n, start, count}); };""",
    "ONNX Runtime in Node": """
        const ort = (await import(MODULES + '/onnxruntime-node/dist/index.js')).default;
        const session = await ort.InferenceSession.create(FILES + '/g.onnx');
        const law = await import(ROOT + '/gan_export/web/latents.js'), T = law.table('normal');
        const draw = async (start, n) => {
            const z = new ort.Tensor('float32', law.draw(T, 7n, start, n, NZ), [n, NZ]);
            const x = (await session.run({z}))[session.outputNames[0]].data, bytes = new Uint8ClampedArray(x.length);
            for (let i = 0; i < x.length; i++) bytes[i] = Math.floor(Math.fround(Math.fround(x[i] * 127.5) + 128));
        };""",
}
NODE_LOOP = """
    for await (const line of (await import('node:readline')).createInterface({input: process.stdin})) {
        const [n, seconds] = line.split(' ').map(Number), times = [], end = performance.now() + seconds * 1000;
        for (let i = 0n; times.length < 3 || performance.now() < end; i++) {
            const begun = performance.now();
            await draw(i * BigInt(n), n);
            times.push((performance.now() - begun) / 1000);
        }
        console.log(JSON.stringify(times));
    }
    process.exit(0);"""


def sh(command: str, cwd: Path) -> None:
    done = subprocess.run(["sh", "-euc", command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{cwd.name}: {command}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def signature_of(file: Path) -> Signature:
    manifest = manifests.read_manifest(file, manifests.detect_format(file))
    assert manifest is not None, file
    return manifest.signature


def prepare(checkpoint: Path, files: Path) -> int:
    """Make the exports and the latents of one image; return the size of a latent."""
    files.mkdir(parents=True, exist_ok=True)
    for target, asked in EXPORTS.items():
        if not (files / target).exists():
            sh(f"gan-export {asked.split()[0]} '{checkpoint}' {' '.join(asked.split()[1:])} -o {target}", files)
    of = LatentImage.of(signature_of(files / "g.onnx"), "this benchmark")
    z = latents.draw(SEED, 0, 1, of.nz, of.prior)
    z.tofile(files / "z.raw")
    np.save(files / "z.npy", z)
    return of.nz


def build(program: Program, checkpoint: Path, work: Path) -> Path:
    """Return a copy of the program's folder, built once for a folder and block."""
    where = work / f"{program.folder}-{program.block}"
    folder = where / "embed" / program.folder
    if (folder / "built").exists():
        return folder
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(ROOT / "embed" / program.folder, folder)
    shutil.copyfile(checkpoint, folder / "g.pth")
    for beside in ("gan_export", "engine", "embed/onnxruntime-sdk.sh"):
        (where / beside).symlink_to(ROOT / beside)
    if program.block is not None:
        page = (folder / "README.md").read_text(encoding="utf-8").split("\n\n")
        lines = [part for part in page if part.startswith("    ")][program.block].splitlines()
        sh("\n".join(line for line in lines if not line.startswith("    node")), folder)
    (folder / "built").touch()
    return folder


def started(program: Program, folder: Path, files: Path, nz: int) -> float:
    """Return the seconds from a program's start to its end."""
    words = [word.replace("F/", f"{files}/").replace("NZ", str(nz)) for word in program.command.split()]
    begun = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


class Client:
    """The service of embed/, with open connections, each with one request at a time."""

    def __init__(self, file: Path) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [sys.executable, "service.py", "--port", str(self.port), "--log-level", "warning",
                   "--timeout-keep-alive", "600"]  # while others take their turns  # fmt: skip
        environment = {**os.environ, "GENERATOR": str(file)}
        self.process = subprocess.Popen(command, cwd=ROOT / "embed/service", env=environment)
        self.loop = asyncio.new_event_loop()
        self.connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def draw(self, start: int, n: int) -> None:
        """Request images start .. start+n-1, by n connections."""
        self.loop.run_until_complete(self._draw(start, n))

    async def _draw(self, start: int, n: int) -> None:
        while len(self.connections) < n:
            self.connections.append(await self._connected())
        await asyncio.gather(*(self._picture(start + i, *self.connections[i]) for i in range(n)))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the service ended at once") from None
                await asyncio.sleep(0.002)

    async def _picture(self, index: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"GET /image?seed={SEED}&index={index} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        assert " 200 " in head.split("\r\n")[0], head
        assert body.startswith(b"\x89PNG"), head

    def close(self) -> None:
        for _, writer in self.connections:
            writer.close()
        self.process.terminate()
        self.process.wait(60)


def service_started(files: Path) -> float:
    """Return the seconds from the service's start to the first image."""
    begun = time.perf_counter()
    client = Client(files / "g.gan")
    client.draw(0, 1)
    spent = time.perf_counter() - begun
    client.close()
    return spent


def python_side(name: str, files: Path) -> Callable[[int, int], Any]:
    """Return draw(start, n) of a library that Python calls."""
    runtime, file = LIBRARIES[name]
    if runtime is not None:
        generator = Generator(signature_of(files / file), runtimes.find(runtime).load(files / file))
        return lambda start, n: generator.sample(n, seed=SEED, start=start)
    if name == SERVICE:
        client = Client(files / file)
        atexit.register(client.close)
        return client.draw
    if name == "tract":
        import tract

        graph = tract.onnx().load(str(files / file)).into_model().into_runnable()

        class Session:
            def run(self, feeds: Any) -> Any:
                return {"image": graph.run([feeds["z"]])[0].to_numpy()}

        drawn = Generator(signature_of(files / file), Session())  # type: ignore[arg-type]
        return lambda start, n: drawn.sample(n, seed=SEED, start=start)
    sys.path.insert(0, str(ROOT / "embed/wasm"))
    import draw  # type: ignore[import-not-found]

    engine = draw.Generator(str(ROOT / "gan_export/web/gan-simd.wasm"), str(files / file))
    return lambda start, n: engine.draw(SEED, n)


def answer(draw: Callable[[int, int], Any]) -> None:
    """Answer each line `N SECONDS` with the seconds of each call, until the input ends."""
    for line in sys.stdin:
        n, seconds = int(line.split()[0]), float(line.split()[1])
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            begun = time.perf_counter()
            draw(len(times) * n, n)
            times.append(time.perf_counter() - begun)
        print(json.dumps(times), flush=True)


def sides(files: Path, modules: Path, nz: int, only: str) -> dict[str, subprocess.Popen[str]]:
    """Return a process for each library, which waits for its turn."""
    facts = {"ROOT": str(ROOT), "FILES": str(files), "MODULES": str(modules), "NZ": nz}
    known = "".join(f"const {name} = {json.dumps(value)};" for name, value in facts.items())
    commands = {name: [sys.executable, __file__, "--side", name, str(files)] for name in LIBRARIES if only in name}
    for i, (name, code) in enumerate(NODE.items()):
        if only not in name:
            continue
        script = files / f"side{i}.mjs"
        script.write_text(known + code + NODE_LOOP, encoding="utf-8")
        commands[name] = ["node", str(script)]
    pipe = subprocess.PIPE
    return {n: subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for n, command in commands.items()}


def turn(process: subprocess.Popen[str], batch: int, seconds: float) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    print(batch, seconds, file=process.stdin, flush=True)
    return [float(s) for s in json.loads(process.stdout.readline())]


def speeds(running: dict[str, subprocess.Popen[str]], rounds: int) -> dict[str, dict[int, list[list[float]]]]:
    """Return the seconds of calls by library, batch and round, after a turn that isn't counted."""
    for process in running.values():
        for batch in BATCHES:
            turn(process, batch, TURN)
    spent: dict[str, dict[int, list[list[float]]]] = {name: {n: [] for n in BATCHES} for name in running}
    for _ in range(rounds):
        for name, process in running.items():
            for batch in BATCHES:
                spent[name][batch].append(turn(process, batch, TURN))
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    return spent


def summary(times: list[float]) -> dict[str, float]:
    """Return the summary of a turn's calls."""
    return {"calls": len(times), "median": statistics.median(times), "fastest": min(times)}


def rate(batch: int, turns: list[list[float]]) -> float:
    """Return images per second: the median of the turns' medians."""
    return batch / statistics.median(statistics.median(times) for times in turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--name", default="here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="WORD")
    given = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    checkpoint, work = given.checkpoint.resolve(), given.work.resolve()
    files = work / "files"
    nz = prepare(checkpoint, files)
    programs = [program for program in PROGRAMS if given.only in program.title]
    folders = [build(program, checkpoint, work) for program in programs]
    if given.prepare:
        return
    before = environment.load()
    starts: dict[str, list[float]] = {program.title: [] for program in programs}
    if given.only in SERVICE:
        starts[SERVICE] = []
    for _ in range(given.rounds + 1):  # the first one reads the files
        for program, folder in zip(programs, folders, strict=True):
            starts[program.title].append(started(program, folder, files, nz))
        if SERVICE in starts:
            starts[SERVICE].append(service_started(files))
    starts = {title: seconds[1:] for title, seconds in starts.items()}
    node_modules = work / "node-onnx-0/embed/node-onnx/node_modules"
    spent = speeds(sides(files, node_modules, nz, given.only), given.rounds)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # everything has ended
    foreign, stolen = environment.shares(before, environment.load(), used.ru_utime + used.ru_stime)
    extra = {name: importlib.metadata.version(name) for name in ("tract", "wasmtime")}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "what": "embed/: seconds of a program that draws one picture; seconds of calls from a seed to bytes, by turn",
        "machine": asdict(environment.describe()),
        "versions": environment.versions() | extra | {"node": node},
        "commit": environment.commit(),
        "foreign": foreign,
        "stolen": stolen,
        "start_up": starts,
        "calls": {name: {n: [summary(t) for t in turns[n]] for n in turns} for name, turns in spent.items()},
    }
    (HERE / "results" / f"embedding-{given.name}.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(f"Other processes took {foreign:.0%} of the processors, other virtual machines {stolen:.0%}.\n")
    print("| Program | Start to first picture |\n|---|---|")
    for title, seconds in starts.items():
        print(f"| {title} | {statistics.median(seconds) * 1000:,.0f} ms |")
    print("\n| Library | Batch 1 | Batch 64 |\n|---|---|---|")
    for name, turns in spent.items():
        print(f"| {name} | {' | '.join(f'{rate(n, turns[n]):,.0f}/s' for n in BATCHES)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        answer(python_side(sys.argv[2], Path(sys.argv[3])))
    else:
        main()
