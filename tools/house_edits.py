"""Texts that no rule of `move_house.py` finds: (path before, text before, text after).

One of the two texts has to be there; a tree that holds neither needs a look.
"""

from __future__ import annotations

RECIPE_FOLDERS = '''def folders() -> tuple[Path, ...]:
    """Where recipes are looked for by name: the installed package's, or the checkout's."""
    here = Path(__file__).resolve()
    return (here.parent / "recipes", here.parents[2] / "train" / "recipes")


def known() -> dict[str, Path]:
    """Every recipe that ships: name -> file."""
    found: dict[str, Path] = {}
    for folder in folders():
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem, file)
    return found
'''

RECIPES = '''def known() -> dict[str, Path]:
    """Every recipe that ships: name -> file."""
    return {file.stem: file for file in sorted((Path(__file__).resolve().parent / "recipes").glob("*.toml"))}
'''

SUITE_FOLDERS = """def _suite_folders() -> list[Path]:
    here = [Path("benchmarks/suites"), Path(__file__).resolve().parents[2] / "benchmarks" / "suites"]
    return [folder for folder in here if folder.is_dir()]


def _suite_path(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    for folder in _suite_folders():
        if name in {p.stem for p in folder.glob("*.toml")}:
            return folder / f"{name}.toml"
    names = suite_names()
"""

SUITES = """def _suites() -> dict[str, Path]:
    return {file.stem: file for file in sorted((Path(__file__).resolve().parent / "suites").glob("*.toml"))}


def _suite_path(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    suites = _suites()
    if name in suites:
        return suites[name]
    names = suite_names()
"""

FLOORS = """layers = [
  "cli",
  "pipeline | bench | datasets | training | web",
  "sampling | verification | metrics",
  "exporters | runtimes",
  "checkpoint | formats",
  "recognize",
  "graph",
  "latents | images",
  "_lib",
  "errors",
]"""

IGNORED = """ignore_imports = [
  # to go: what draws and measures is composed above metrics, and metrics takes arrays
  "gan_export.verification.compare -> gan_export.metrics.distances",
  "gan_export.verification.compare -> gan_export.metrics.evaluators",
  "gan_export.pipeline.evaluate -> gan_export.training.data",
"""

SEES_NO_DIGITS = """source_modules = [
  "gan_export.datasets",
  "gan_export.verification",
  "gan_export.training",
  "gan_export.metrics.distances",
  "gan_export.sampling",
  "gan_export.bench",
]"""

DRAWN_FLOORS = """```
7  cli                                             parse -> one library call -> print
6  __init__                                        what a Python caller gets
5  pipeline | bench | datasets | training | web    pipeline: export, verify, publish, evaluate
4  sampling | verification | metrics
3  exporters | runtimes
2  checkpoint | formats
1  recognize
0  graph | latents | images                        (_lib and errors beneath all)
----------------------------------------------     ctypes, or source text, only
   engine/                                         C11; knows nothing of Python or ONNX
```

- `exporters` and `runtimes` meet only through a file on disk, in `verification` and `bench`."""

ROOMS = """| Room | What it does |
|---|---|
| `errors`, `latents`, `images` | one-line errors with their exit codes; seed and index to latents, to the bit ([latent-rng.md](latent-rng.md)); values to bytes by one rule, grids, PNG |
| `_lib/` | what is small, shared and knows nothing of GANs: files written whole or not at all, locks that end with their process, registries, plug-ins, one checked decoder, escaping, charts |
| `graph/` | a generator as data: layers, spec, signature, ports; BatchNorm folding in float64; the interpreter in PyTorch, a torch.fx graph with a submodule per layer; BatchNorm's moments in one pass |
| `recognize/` | state dict to spec: families, each one file (detect by structure, build a spec, map keys) |
| `checkpoint/` | a file to tensors, nothing in it run; `containers/` has the formats of files ([checkpoints.md](checkpoints.md)) |
| `formats/` | what an export file is: the manifest, its options, reference images and tolerance, the hash of its contents, which kinds are programs |
| `exporters/` | `EXPORTERS`, one file or folder per format; `exporters/c/` writes C ([c.md](c.md)) |
| `runtimes/` | `RUNTIMES`, one file per runtime, and sessions in a fresh process |
| `verification/` | `compare`: a runtime against the checkpoint; `run`: a file in a fresh process; `layers`: an ONNX file layer by layer; `batchnorm`: stored statistics against latents |
| `sampling/` | seeds to files; a looping film through latents |
| `metrics/` | distances between sets of images; evaluators, a digit classifier among them |
| `pipeline/` | `publish`: write beside, verify, rename, report; `evaluate`; `table`: the formats for commands and pages |
| `datasets/` | datasets in shards: plan, formats, records and manifest, worker processes, Ray, file systems, torch datasets ([datasets.md](datasets.md)) |
| `training/` | recipes, data, models, losses, augmentation, trainer, snapshots, several processes, a run as one HTML file ([training.md](training.md)) |
| `bench/` | workers that take turns, statistics, records, reports, suites ([bench.md](bench.md)) |
| `web/` | the engine as WebAssembly (`engine/wasm/build.sh` makes it), a JavaScript module over it, a page ([embedding.md](embedding.md)) |
| `engine/` | the C engine: include, src, tests, tools ([gan-file-format.md](gan-file-format.md), [engine.md](engine.md)) |
"""  # noqa: E501

# Blocks that are replaced whole, whatever is in them: (path before, pattern, text after).
BLOCKS: tuple[tuple[str, str, str], ...] = (
    (
        "docs/DESIGN.md",
        r"```\n5  cli .*?```\n\n- `export` and `runtimes` meet only through a file on disk, in `proof` and `bench`\.",
        DRAWN_FLOORS,
    ),
    ("docs/DESIGN.md", r"\| Room \| What it does \|\n.*?\n(?=\n)", ROOMS),
    ("pyproject.toml", r"layers = \[\n.*?\n\]", FLOORS),
    ("pyproject.toml", r"source_modules = \[.*?\]", SEES_NO_DIGITS),
    ("pyproject.toml", r"ignore_imports = \[\n(?!  # to go)", IGNORED),
)

INSTALLED_RECIPES = """
# An installed gan-train knows the recipes by name.
install(DIRECTORY train/recipes/ DESTINATION gan_export/training/recipes FILES_MATCHING PATTERN "*.toml")
"""

DEFINITIONS = "target_compile_definitions(gan_objects PRIVATE ${definitions})\n"

EDITS: tuple[tuple[str, str, str], ...] = (
    ("CMakeLists.txt", INSTALLED_RECIPES, ""),
    (
        "csrc/CMakeLists.txt",
        DEFINITIONS + "add_library",
        DEFINITIONS + "target_include_directories(gan_objects PRIVATE include src)\nadd_library",
    ),
    (
        "csrc/CMakeLists.txt",
        '"$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>"',
        '"$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"',
    ),
    (
        "csrc/CMakeLists.txt",
        "target_include_directories(${name} PRIVATE .)",
        "target_include_directories(${name} PRIVATE include src)",
    ),
    (
        "csrc/CMakeLists.txt",
        "target_include_directories(firstpicture PRIVATE .)",
        "target_include_directories(firstpicture PRIVATE include src)",
    ),
    ("csrc/wasm/build.sh", "-I wasm/include -DGAN_BUILD", "-I wasm/include -I include -I src -DGAN_BUILD"),
    ("csrc/tests/fuzz/run.sh", "-DGAN_BUILD -DGAN_DEBUG -I.'", "-DGAN_BUILD -DGAN_DEBUG -Iinclude -Isrc'"),
    (
        "gan_export/arch/__init__.py",
        '_HOME = {"ARCHS": "registry", "Family": "draft", "GeneratorSpec": "spec", "recognise": "recognition"}',
        """_HOME = {
    "ARCHS": "recognize.registry",
    "Family": "recognize.builder",
    "GeneratorSpec": "graph.spec",
    "recognise": "recognize.detect",
}""",
    ),
    ("gan_export/arch/__init__.py", 'f"{__name__}.{_HOME[name]}"', 'f"gan_export.{_HOME[name]}"'),
    (
        "gan_export/export/c.py",
        "The text is put together in `csource/`.",
        "The modules beside this one put the text together.",
    ),
    (
        "gan_export/page.py",
        'resources.files("gan_export").joinpath("page.html")',
        'resources.files("gan_export.training").joinpath("report.html")',
    ),
    ("gan_export/training/recipe.py", "`train/recipes/` holds the recipes", "`recipes/` holds the recipes"),
    ("gan_export/training/recipe.py", RECIPE_FOLDERS, RECIPES),
    (
        "gan_export/training/recipe.py",
        'file = folders()[-1].parent / "records" / name / "record.json"',
        'file = Path(__file__).resolve().parents[2] / "train" / "records" / name / "record.json"',
    ),
    ("gan_export/bench/plan.py", SUITE_FOLDERS, SUITES),
    (
        "gan_export/bench/plan.py",
        'sorted({p.stem for folder in _suite_folders() for p in folder.glob("*.toml")})',
        "sorted(_suites())",
    ),
    ("gan_export/bench/plan.py", '"""Those under benchmarks/suites."""', '"""The suites that ship."""'),
    (
        "gan_export/bench/plan.py",
        "from `NAME.toml` under benchmarks/suites, or",
        "from `NAME.toml` in `suites/` beside this file, or",
    ),
    ("gan_export/cli/bench.py", "what benchmarks/suites/quick.toml asks for", "what the suite `quick` asks for"),
    (
        "docs/BENCH.md",
        """`benchmarks/suites/*.toml`: a field each of `gan_export/bench/plan.py`'s `Plan`. `--suite NAME` looks in
`benchmarks/suites` of the current folder, then of the source tree; a path ending in `.toml` is taken as it is.""",
        """`gan_export/bench/suites/*.toml`: a field each of `gan_export/bench/plan.py`'s `Plan`. `--suite NAME` takes
one of them; a path ending in `.toml` is taken as it is.""",
    ),
    ("gan_export/scale/crew.py", 'module: str = "process"', 'module: str = "worker"'),
    ("tests/security/test_lint.py", 'if name == "escape.py":', 'if name == "_lib/escape.py":'),
    ("tests/security/test_lint.py", 'frozenset(("files.py",))', 'frozenset(("_lib/fs.py",))'),
    ("tests/security/test_lint.py", "files.write_text does", "fs.write_text does"),
    ("train/ablate.py", 'HERE / "ABLATIONS.md"', 'HERE / "ablations.md"'),
    (
        "train/cas.py",
        'Path(__file__).resolve().parent / "records" / "cas.json"',
        'Path(__file__).resolve().parent.parent / "records" / "cas.json"',
    ),
    (
        "train/judge.py",
        "# a few minutes on 2 cores; prints its test accuracy",
        "# minutes on 2 cores; prints its accuracy",
    ),
    ("train/cas.py", "# 20 real digits a class, for a generator that sees no others", "# 20 real digits a class"),
    ("train/cas.py", "# those alone, and with generated ones beside them", "# those alone, and with generated ones"),
    ("train/curves.py", "sys.path.insert(0, str(HERE.parent))", "sys.path.insert(0, str(HERE.parents[1]))"),
    ("train/curves.py", 'HERE / "CURVES.svg"', 'HERE / "curves.svg"'),
    (
        "train/record.py",
        'Path(__file__).resolve().parent / "records"',
        'Path(__file__).resolve().parent.parent / "records"',
    ),
    ("tests/training/test_ablate.py", '_script("ablate")', '_script("experiments/ablate")'),
    (
        "tests/arch/test_adding.py",
        '(PAGE.parents[1] / "gan_export" / "arch").rglob("*.py")',
        '(PAGE.parents[1] / "gan_export").rglob("*.py")',
    ),
)

# Where a branch did the same in its own way: what is found instead.
INSTEAD = {
    "gan_export/arch/__init__.py": ('"recognize": "recognize.detect"',),  # after --names
    "gan_export/bench/plan.py": ('resources.files("gan_export.bench").joinpath("suites")',),
    "gan_export/training/recipe.py": ('resources.files("gan_export.training").joinpath("recipes")',),
    "gan_export/page.py": ('resource(Html, "gan_export.training", "report.html")',),
    "gan_export/cli/bench.py": ("what gan_export/bench/suites/quick.toml asks for",),
    "docs/BENCH.md": ("which an installed package has too",),
}

# What only some branches have.
OPTIONAL: tuple[tuple[str, str, str], ...] = (
    ("docs/DESIGN.md", "`arch.spec.GeneratorSpec`", "`graph.spec.GeneratorSpec`"),
    ("docs/DESIGN.md", "One interpreter (`module`) runs it", "One interpreter (`graph/torch_module`) runs it"),
    ("docs/DESIGN.md", "one pass (`lowering`) folds", "one pass (`graph/fold`) folds"),
    ("docs/DESIGN.md", "- `arch` recognises", "- `recognize` recognises"),
    ("docs/DESIGN.md", "the verifier's (`tolerance`)", "the verifier's (`formats/tolerance`)"),
    (
        "docs/DESIGN.md",
        """- `health` (BatchNorm's statistics) and `describe` (a checkpoint in words) are rooms of their own beside \
`parity`: they need `checkpoint` and `module`, and the command line needs them without `ship`.
- `files` sits beneath everything with `errors`: every floor writes files the same way.
""",
        """- `verification/compare` imports `metrics`, its sibling: int8 is judged by distances between sets of \
images. The contract names that exception and `pipeline/evaluate`'s, which takes data sets from `training/data`.
- `_lib/fs` sits beneath everything with `errors`: every floor writes files the same way.
""",
    ),
    ("docs/security.md", "`page.html` |", "a run's `page.html` |"),
    (
        "docs/security.md",
        "| `protobuf`, `artifact` |",
        "| `formats.protobuf`, `formats.manifest` |",
    ),
    (
        "gan_export/arch/spec.py",
        "`module` interprets it in PyTorch, `lowering` folds it, exporters and the C\nengine take",
        "`torch_module` interprets it in PyTorch, `fold` folds BatchNorm, exporters and\nthe C engine take",
    ),
    ("gan_export/training/loop.py", "`folder` says what lies where.", "`run_dir` says what lies where."),
    ("gan_export/ship.py", "was written by `ship`, and", "was written by this module, and"),
    ("gan_export/runtimes/worker.py", "side is `remote.py`", "side is `subprocess_session.py`"),
    (
        "gan_export/page.py",
        'resource(Html, "gan_export", "page.html")',
        'resource(Html, "gan_export.training", "report.html")',
    ),
    ("gan_export/page.py", "`page.html` is the template", "`report.html` is the template"),
    (
        "tests/checkpoint/costs.py",
        "import gan_export.checkpoint  # noqa: F401  # before the first fork, so that no child pays for it",
        "import gan_export.checkpoint  # before the first fork, so that no child pays for it",
    ),
    (
        "tests/checkpoint/costs.py",
        "import gan_export.arch.recognition\n",
        "import gan_export.arch.recognition  # noqa: F401\n",
    ),
)
