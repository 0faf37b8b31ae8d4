"""The WebAssembly engine in Node: Python's pictures, at each build, and a message for what can't be drawn."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export import web
from gan_export.exporters.native import encode
from gan_export.graph.layers import Concat, Embedding, Linear, Reshape
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.runtimes.native import NATIVE, Model
from tests.engine.conftest import random_weights, transposed
from tests.engine.test_engine import SPECS
from tests.engine.test_images_in import dropped
from tests.engine.test_styles import MAPPED, PORTED, weights_of

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "gan_export" / "web"
BUILDS = ("gan.wasm", "gan-simd.wasm", "gan-relaxed.wasm")
LARGEST = 260_000  # bytes
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed (apt-get install nodejs)")
needs_engine = pytest.mark.skipif(not NATIVE.availability().ok, reason="the C engine was not built")


def run_node(*arguments: object, relaxed: bool = False) -> str:
    flags = ["--experimental-wasm-relaxed-simd"] if relaxed else []
    done = subprocess.run(
        ["node", *flags, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def draw(file: Path, *requests: dict[str, Any], relaxed: bool = False) -> list[dict[str, Any]]:
    text = json.dumps([{"options": {}, **r} for r in requests])
    answers: list[dict[str, Any]] = json.loads(
        run_node(Path(__file__).with_name("draw.mjs"), WEB / "gan.js", file, text, relaxed=relaxed)
    )
    return answers


def relaxed_works() -> bool:
    """Whether this Node knows relaxed SIMD: by itself, or by a flag that older ones have."""
    found = subprocess.run(["node", "--v8-options"], capture_output=True, text=True, check=False).stdout
    return "--experimental-wasm-relaxed-simd" in found


def conditional(classes: int = 5) -> GeneratorSpec:
    c = Chain()
    a = c.add(Embedding, "embed", inputs=("label",), classes=classes, dim=6)
    c.add(Concat, "joined", inputs=("z", a))
    c.add(Linear, "out", in_features=10, out_features=12)
    c.add(Reshape, "grid", shape=(3, 2, 2))
    return GeneratorSpec.of_latent("test", 4, "normal", (3, 2, 2), (-1.0, 1.0), tuple(c), classes=classes)


def close(got: np.ndarray, want: np.ndarray) -> bool:
    """One law of arithmetic, added up in other orders: a few bytes on a rounding edge, by 1."""
    off = np.abs(got.astype(int) - want.astype(int).ravel())
    return bool(off.max() <= 1 and (off > 0).mean() <= 1e-3)


@pytest.mark.parametrize("build", BUILDS)
def test_the_build_is_small_and_asks_nothing_of_its_host(build: str) -> None:
    data = (WEB / build).read_bytes()
    assert len(data) < LARGEST
    if NODE:
        script = "const m=new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));"
        out = run_node("-e", script + "console.log(WebAssembly.Module.imports(m).length)", WEB / build, relaxed=True)
        assert out.strip() == "0"


@needs_node
@needs_engine
@pytest.mark.parametrize("build", [*BUILDS[:1], *(pytest.param(b, marks=pytest.mark.long) for b in BUILDS[1:])])
def test_pictures_are_pythons(build: str, tmp_path: Path) -> None:
    relaxed = build == "gan-relaxed.wasm"
    if relaxed and not relaxed_works():
        pytest.skip("this node has no relaxed SIMD")
    for name, spec in SPECS.items():
        path = tmp_path / f"{name}.gan"
        path.write_bytes(encode(spec, random_weights(spec), '{"of": "a test"}'))
        many = {"seed": "7n", "count": 40}
        one = {"seed": f"{2**64 - 1}n", "start": f"{2**40}n"}
        requests = [
            {"out": str(tmp_path / "a"), "request": many, "options": {"build": build, "threads": 2}},
            {"out": str(tmp_path / "b"), "request": one, "options": {"build": build, "threads": 1}},
        ]
        answers = draw(path, *requests, relaxed=relaxed)
        with Model(path) as model:
            for answer, file, want in (
                (answers[0], "a", model.generate(7, 40)),
                (answers[1], "b", model.generate(2**64 - 1, 1, start=2**40)),
            ):
                assert "error" not in answer, (name, answer)
                got = np.frombuffer((tmp_path / file).read_bytes(), np.uint8)
                assert got.size == want.size
                assert close(got, want), (name, np.unique(np.abs(got - want.ravel().astype(int)), return_counts=True))
                slices = answer["info"]["depth"]
                height = answer["height"] * max(1, slices)
                assert (height, answer["width"]) == (math.prod(want.shape[1:-2]), want.shape[-2])
                first = [int(v) for v in got.reshape(len(want), -1, want.shape[-1])[-1, 0]]
                shown = (first[:1] * 3 if len(first) < 3 else first[:3]) + [255]
                assert answer["last"] == (None if slices else shown)
        assert answers[0]["info"]["manifest"] == '{"of": "a test"}'
        assert ("generic" if build == "gan.wasm" else "simd128") in answers[0]["backend"]


@needs_node
@needs_engine
@pytest.mark.parametrize("build", BUILDS)
def test_dropout_of_a_seed_belongs_to_the_whole_image(build: str, tmp_path: Path) -> None:
    """An image that is wider than a tile goes through at once, with the seed's numbers."""
    spec = dropped()
    path = tmp_path / "g.gan"
    path.write_bytes(encode(spec, random_weights(spec)))
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 300, 1), np.uint8)
    given = {"data": image.ravel().tolist(), "width": 300, "height": 6}
    seeds = (5, 2**64 - 1)
    asked = [
        {"out": str(tmp_path / str(s)), "request": {"image": given, "seed": f"{s}n"}, "options": {"build": build}}
        for s in seeds
    ]
    answers = draw(path, *asked, relaxed=build == "gan-relaxed.wasm")
    with Model(path) as model:
        for answer, seed in zip(answers, seeds, strict=True):
            assert "error" not in answer, answer
            assert answer["info"]["noise"]
            got = np.frombuffer((tmp_path / str(seed)).read_bytes(), np.uint8)
            assert close(got, model.apply(image, seed=seed))
            assert (got != model.apply(image, seed=6).ravel()).mean() > 0.1


@needs_node
@needs_engine
def test_labels_and_latents(tmp_path: Path) -> None:
    spec = conditional()
    path = tmp_path / "g.gan"
    path.write_bytes(encode(spec, random_weights(spec)))
    z = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"seed": "3n", "count": 40, "label": 4}, {"seed": 3, "count": 40, "label": 4}),
        ({"start": "2n", "count": 40, "label": "all"}, {"start": 2, "count": 40, "label": "all"}),
        ({"seed": "3n", "count": 40}, {"seed": 3, "count": 40}),
        ({"latents": z.ravel().tolist(), "label": 1}, {"latents": z, "label": 1}),
    ]
    requests = [{"out": str(tmp_path / str(i)), "request": js} for i, (js, _) in enumerate(asked)]
    answers = draw(path, *requests)
    with Model(path) as model:
        for i, (_, py) in enumerate(asked):
            assert "error" not in answers[i], answers[i]
            assert close(np.frombuffer((tmp_path / str(i)).read_bytes(), np.uint8), model.generate(**py))


@needs_node
@needs_engine
def test_w_and_psi_are_given_and_noise_is_that_of_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "g.gan"
    path.write_bytes(encode(PORTED, weights_of(PORTED, separable=True)))
    ws = np.random.default_rng(1).standard_normal((3, 27)).astype(np.float32)
    asked = {"seed": "5n", "start": "4n", "latents": ws.ravel().tolist(), "scalars": [0.5]}
    refused = {"seed": "5n", "scalars": [0.5, 1.0], "latents": ws.ravel().tolist()}
    made, bare, wrong = draw(
        path, {"out": str(tmp_path / "a"), "request": asked}, {"request": {"seed": "5n"}}, {"request": refused}
    )
    assert (made["info"]["prior"], made["info"]["scalars"]) == ("none", 1)
    with Model(path) as model:
        want = model.generate(5, start=4, latents=ws, scalars=np.full((3, 1), 0.5))
    assert close(np.frombuffer((tmp_path / "a").read_bytes(), np.uint8), want)
    assert "starts from 27 given numbers" in bare["error"]
    assert "scalars: must be a Float32Array of 1" in wrong["error"]


@needs_node
@needs_engine
def test_a_mapping_before_the_synthesis_gives_styles_to_mix(tmp_path: Path) -> None:
    files = [tmp_path / "s.gan", tmp_path / "m.gan"]
    for path, spec in zip(files, (PORTED, MAPPED), strict=True):
        path.write_bytes(encode(spec, weights_of(spec, separable=True)))
    of_images = {"seed": "5n", "start": "4n", "count": 3, "scalars": [0.5]}
    mixed = {**of_images, "mix": [{"first": 1, "last": 2, "seed": "12n"}, {"first": 0, "seed": f"{2**64 - 1}n"}]}
    ws = np.random.default_rng(1).standard_normal((3, 27)).astype(np.float32)
    given = {"seed": "5n", "start": "4n", "ws": ws.ravel().tolist()}
    wrong = {
        "mix of layers 2 to 3: this generator has the layers 0 to 2": {"mix": [{"first": 2, "last": 3, "seed": 1}]},
        "the seed of a mix -1: must be 0": {"mix": [{"first": 0, "seed": -1}]},
        "ws: must be a Float32Array of whole rows of 3 x 9": {"ws": [1.0]},
        "scalars: must be a Float32Array of 1": {"scalars": [1.0, 2.0]},
    }
    requests = (of_images, mixed, given, *wrong.values())
    both = {"mapping": str(files[1])}
    answers = draw(
        files[0], *({"out": str(tmp_path / str(i)), "request": r, "options": both} for i, r in enumerate(requests))
    )
    assert [a["error"].startswith(w) for a, w in zip(answers[3:], wrong, strict=True)] == [True] * len(wrong), answers
    assert answers[0]["info"]["styles"] == {"layers": 3, "features": 9}
    with Model(files[1]) as mapping, Model(files[0]) as synthesis:

        def mapped(seed: int, start: int = 0, count: int = 1) -> np.ndarray:
            return mapping.generate_floats(seed, count, start=start, scalars=np.full((count, 1), 0.5))

        plain = mapped(5, 4, 3)
        other = plain.copy()
        other[:, 1:] = mapped(12)[:, 1:]
        other[:, 0] = mapped(2**64 - 1)[:, 0]
        for i, want in enumerate((plain, other, ws)):
            made = np.frombuffer((tmp_path / str(i)).read_bytes(), np.uint8)
            assert close(made, synthesis.generate(5, start=4, latents=want.reshape(3, 27))), i
    (swapped,) = draw(files[1], {"request": {}, "options": {"mapping": str(files[0])}})
    assert "don't belong together" in swapped["error"]
    (alone,) = draw(files[1], {"request": {"seed": "5n"}})
    assert "gives no images" in alone["error"]


@needs_node
def test_bad_input_is_said_in_a_line(tmp_path: Path) -> None:
    spec = transposed((8,), 1, 7)
    path = tmp_path / "g.gan"
    whole = encode(spec, random_weights(spec))
    path.write_bytes(whole)
    requests: dict[str, dict[str, Any]] = {
        "count 0: must be 1 to": {"count": 0},
        "images at once": {"count": 10**9},
        "count 1.5": {"count": 1.5},
        "seed -1: must be 0 to 2^64-1": {"seed": "-1n"},
        "seed 0.5: must be a BigInt": {"seed": 0.5},
        "indices end at 2^64-1": {"start": f"{2**64 - 1}n", "count": 2},
        "label: this generator has none": {"label": 1},
        "whole rows of 7": {"latents": [1.0, 2.0]},
    }
    answers = draw(path, *({"request": r} for r in requests.values()), {"request": {}, "options": {"threads": 0}})
    for message, answer in zip((*requests, "threads 0: must be 1 to"), answers, strict=True):
        assert message in answer["error"]
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for data, message in (
        (b"no generator", "not a .gan file"),
        (whole[:-64], "cut short"),
        (bytes(damaged), "changed"),
    ):
        path.write_bytes(data)
        assert message in draw(path, {"request": {}})[0]["error"]
    labeled = conditional()
    path.write_bytes(encode(labeled, random_weights(labeled)))
    assert 'label 5: must be 0 to 4, "random" or "all"' in draw(path, {"request": {"label": 5}})[0]["error"]
    assert "ENOENT" in draw(tmp_path / "missing.gan", {"request": {}})[0]["error"]


def in_node(body: str, folder: Path, gan: Path, *given: object) -> str:
    """What a script in `folder` prints that has `open` of the module `gan`, and `given`."""
    begin = "const [gan, ...given] = process.argv.slice(2); const { open } = await import(gan);"
    script = folder / "script.mjs"
    script.write_text(begin + body)
    return run_node(script, gan, *given)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    spec = transposed((24, 16), 1, 20)
    path = tmp_path / "small.gan"
    path.write_bytes(encode(spec, random_weights(spec)))
    return path


@needs_node
@needs_engine
def test_the_bytes_of_a_file_may_be_used_again(small: Path, tmp_path: Path) -> None:
    printed = in_node(
        """import { readFileSync } from "node:fs";
        const bytes = readFileSync(given[0]);
        const generator = await open(bytes, { threads: 2 });
        bytes.fill(0);
        const { data } = await generator.generate({ seed: 7n, count: 64 });
        await generator.generate({ count: 1 });
        console.log(JSON.stringify([generator.backend, [...data]]));
        generator.close();""",
        tmp_path,
        WEB / "gan.js",
        small,
    )
    backend, data = json.loads(printed)
    assert "2 workers" in backend
    with Model(small) as model:
        assert close(np.array(data, np.uint8), model.generate(7, 64))


@needs_node
@needs_engine
def test_workers_that_cant_start_are_done_without(small: Path, tmp_path: Path) -> None:
    for name in (*web.MODULE, *web.ENGINES, "package.json"):
        shutil.copyfile(WEB / name, tmp_path / name)
    printed = in_node(
        """import { rmSync } from "node:fs";
        const generator = await open(given[0], { threads: 4 });
        rmSync(given[1]);
        const both = await Promise.all([1, 2].map(() => generator.generate({ seed: 7n, count: 128 })));
        await generator.generate({ count: 128 });
        console.log(JSON.stringify([generator.backend, ...both.map(({ data }) => [...data])]));
        generator.close();""",
        tmp_path,
        tmp_path / "gan.js",
        small,
        tmp_path / "worker.js",
    )
    backend, *both = json.loads(printed)
    assert "1 worker" in backend
    assert "1 workers" not in backend
    with Model(small) as model:
        want = model.generate(7, 128)
    assert all(close(np.array(data, np.uint8), want) for data in both)


@needs_node
@needs_engine
def test_closing_ends_what_is_on_its_way_and_what_comes_later(small: Path, tmp_path: Path) -> None:
    printed = in_node(
        """const generator = await open(given[0], { threads: 2 });
        const messages = [];
        const asked = generator.generate({ count: 256 }).catch((e) => messages.push(e.message));
        await new Promise((resolve) => setTimeout(resolve));
        for (const begun = Date.now(); Date.now() - begun < 500; ); // until the answer lies in the queue
        generator.close();
        await asked;
        await new Promise((resolve) => setTimeout(resolve, 200));
        await generator.generate({ count: 64 }).catch((e) => messages.push(e.message));
        console.log(JSON.stringify(messages));""",
        tmp_path,
        WEB / "gan.js",
        small,
    )
    assert json.loads(printed) == ["a worker failed: it was closed", "the generator is closed"]


@needs_node
def test_known_answers_of_the_law_of_latents_in_javascript() -> None:
    vectors = ROOT / "engine" / "tests" / "kat_vectors"
    out = run_node(Path(__file__).with_name("vectors.mjs"), WEB / "latents.js", vectors).splitlines()
    assert len(out) == 1, out
    lines = [line.split(" ")[0] for line in vectors.read_text().splitlines() if line and not line.startswith("#")]
    assert json.loads(out[0]) == {kind: lines.count(kind) for kind in set(lines)}


@pytest.mark.long
def test_the_script_rebuilds_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    clang = shutil.which("clang-19")
    if not clang or not shutil.which("wasm-ld-19"):
        pytest.skip("clang-19 and lld-19 are not installed (apt-get install clang-19 lld-19)")
    version = subprocess.run([clang, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(r"version 19\.1\.", version):
        pytest.skip(f"another compiler than the one that made them: {version.splitlines()[0]}")
    subprocess.run(["sh", str(ROOT / "engine" / "wasm" / "build.sh"), str(tmp_path)], check=True)
    for build in BUILDS:
        same = (tmp_path / build).read_bytes() == (WEB / build).read_bytes()
        assert same, f"{build}: run sh engine/wasm/build.sh gan_export/web"
