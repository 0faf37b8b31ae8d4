"""What `move_house.py` moves and renames: data alone.

Paths and modules are those of the tag `before-house`.  A rule that ends in `/` moves a folder with all that is in it,
known or not; the longest rule wins.
"""

from __future__ import annotations

# --- files -----------------------------------------------------------------------------------------

PACKAGE = {
    # beneath all
    "files.py": "_lib/fs.py",
    "locks.py": "_lib/locks.py",
    "arch/typed.py": "_lib/fields.py",
    "budget.py": "_lib/budget.py",
    "charts.py": "_lib/charts.py",
    "escape.py": "_lib/escape.py",
    "plaindata.py": "_lib/plaindata.py",
    # a generator as data
    "arch/layers.py": "graph/layers.py",
    "arch/words.py": "graph/words.py",
    "arch/spec.py": "graph/spec.py",
    "lowering.py": "graph/fold.py",
    "module.py": "graph/torch_module.py",
    "statistics.py": "graph/statistics.py",
    "signature.py": "graph/signature.py",
    "ports.py": "graph/ports.py",
    "probes.py": "graph/probes.py",
    # state dict -> spec
    "arch/": "recognize/",
    "arch/state.py": "recognize/state_dict.py",
    "arch/draft.py": "recognize/builder.py",
    "arch/stack.py": "recognize/conv_stack.py",
    "arch/recognition.py": "recognize/detect.py",
    "arch/verdict.py": "recognize/other_networks.py",
    "arch/reading.py": "recognize/options.py",
    # file -> Checkpoint
    "checkpoint/types.py": "checkpoint/checkpoint.py",
    "checkpoint/archive.py": "checkpoint/containers/zip.py",
    "checkpoint/torch_files.py": "checkpoint/containers/torch.py",
    "checkpoint/pickles.py": "checkpoint/containers/pickle_vm.py",
    "checkpoint/operations.py": "checkpoint/containers/pickle_operations.py",
    "checkpoint/builders.py": "checkpoint/containers/pickle_builders.py",
    "checkpoint/values.py": "checkpoint/containers/tensors.py",
    "checkpoint/names.py": "checkpoint/containers/denylist.py",
    "checkpoint/safetensors.py": "checkpoint/containers/safetensors.py",
    "checkpoint/folders.py": "checkpoint/containers/hf_folder.py",
    "checkpoint/files.py": "checkpoint/containers/read_file.py",
    "checkpoint/formats.py": "checkpoint/containers/detect.py",
    "checkpoint/candidates.py": "checkpoint/state_dicts.py",
    "checkpoint/borrow.py": "checkpoint/stats_donor.py",
    "checkpoint/modules.py": "checkpoint/pickled_modules.py",
    "checkpoint/told.py": "checkpoint/module_config.py",
    "describe.py": "checkpoint/summary.py",
    "user_module.py": "checkpoint/user_module.py",
    "exportable.py": "checkpoint/exportable.py",
    # what an export file is
    "artifact.py": "formats/manifest.py",
    "protobuf.py": "formats/protobuf.py",
    "content.py": "formats/content.py",
    "gan_header.py": "formats/gan_header.py",
    "manifest_options.py": "formats/manifest_options.py",
    "programs.py": "formats/programs.py",
    "references.py": "formats/references.py",
    "tolerance.py": "formats/tolerance.py",
    # exporters
    "export/": "exporters/",
    "export/onnx.py": "exporters/onnx/graph.py",
    "export/half.py": "exporters/onnx/fp16.py",
    "export/quantised.py": "exporters/onnx/int8.py",
    "export/sampler_graph.py": "exporters/onnx/sampler.py",
    "export/torchscript.py": "exporters/torch/torchscript.py",
    "export/pt2.py": "exporters/torch/pt2.py",
    "export/aoti.py": "exporters/torch/aoti.py",
    "export/sampler_module.py": "exporters/torch/sampler_module.py",
    "export/sampler_program.py": "exporters/torch/sampler_program.py",
    "export/csource/": "exporters/c/",
    "export/c.py": "exporters/c/exporter.py",
    # runtimes
    "runtimes/remote.py": "runtimes/subprocess_session.py",
    "runtimes/single.py": "runtimes/unbatched.py",
    "runtimes/seeded.py": "runtimes/builtin_sampler.py",
    "runtimes/open_vino.py": "runtimes/openvino.py",
    "runtimes/core_ml.py": "runtimes/coreml.py",
    "runtimes/c_source.py": "runtimes/c.py",
    "runtimes/onnx_runtime.py": "runtimes/onnxruntime.py",
    # verification
    "parity.py": "verification/compare.py",
    "proof.py": "verification/run.py",
    "bisect.py": "verification/layers.py",
    "health.py": "verification/batchnorm.py",
    # what joins two rooms of a floor
    "ship.py": "pipeline/publish.py",
    "evaluate.py": "pipeline/evaluate.py",
    "catalogue.py": "pipeline/table.py",
    "sampling.py": "sampling/generator.py",
    "walk.py": "sampling/interpolate.py",
    "metrics.py": "metrics/distances.py",
    "digits.py": "metrics/digits.py",
    "evaluators.py": "metrics/evaluators.py",
    # datasets
    "scale/": "datasets/",
    "scale/job.py": "datasets/plan.py",
    "scale/crew.py": "datasets/workers.py",
    "scale/process.py": "datasets/worker.py",
    "scale/keep.py": "datasets/filter_masks.py",
    "scale/pieces.py": "datasets/records.py",
    "scale/remote.py": "datasets/fsspec_store.py",
    "scale/ray_crew.py": "datasets/ray_pool.py",
    # training
    "training/dial.py": "training/step_scalar.py",
    "training/group.py": "training/distributed.py",
    "training/recorded.py": "training/cuda_graph.py",
    "training/folder.py": "training/run_dir.py",
    "training/state.py": "training/snapshot.py",
    "training/nets.py": "training/models.py",
    "training/health.py": "training/monitor.py",
    "training/loop.py": "training/trainer.py",
    "page.py": "training/report.py",
    "page.html": "training/report.html",
    # bench
    "bench/clock.py": "bench/stats.py",
    "bench/contenders.py": "bench/backends.py",
    "bench/ledger.py": "bench/results.py",
    "bench/subject.py": "bench/target.py",
    "bench/peak.py": "bench/roofline.py",
    "bench/machine.py": "bench/environment.py",
    # cli
    "cli/app.py": "cli/common.py",
    "cli/scale.py": "cli/dataset.py",
    "cli/shown.py": "cli/tables.py",
}

TESTS = {
    "arch/": "recognize/",
    "arch/test_spec.py": "graph/test_spec.py",
    "arch/test_recognise.py": "recognize/test_detect.py",
    "test_module.py": "graph/test_torch_module.py",
    "test_signature.py": "graph/test_signature.py",
    "stream_vectors": "graph/stream_vectors",
    "test_charts.py": "_lib/test_charts.py",
    "test_plaindata.py": "_lib/test_plaindata.py",
    "test_user_module.py": "checkpoint/test_user_module.py",
    "test_artifact.py": "formats/test_manifest.py",
    "test_programs.py": "formats/test_programs.py",
    "test_toy.py": "exporters/test_toy.py",
    "export/": "exporters/",
    "test_onnx_forms.py": "exporters/test_onnx.py",
    "test_sampler.py": "exporters/test_sampler.py",
    "test_sampler_graph.py": "exporters/test_sampler_graph.py",
    "test_second_tier.py": "exporters/test_second_tier.py",
    "runtimes/test_remote.py": "runtimes/test_subprocess_session.py",
    "test_parity.py": "verification/test_compare.py",
    "test_judging.py": "verification/test_tolerance.py",
    "test_health.py": "verification/test_batchnorm.py",
    "test_ship.py": "pipeline/test_publish.py",
    "test_catalogue.py": "pipeline/test_table.py",
    "test_sampling.py": "sampling/test_generator.py",
    "test_walk.py": "sampling/test_interpolate.py",
    "test_metrics.py": "metrics/test_metrics.py",
    "scale/": "datasets/",
    "scale/test_remote.py": "datasets/test_fsspec_store.py",
    "bench/test_clock.py": "bench/test_stats.py",
    "training/test_page.py": "training/test_report.py",
    "training/test_recorded.py": "training/test_cuda_graph.py",
    "training/test_cells.py": "training/test_latent_margin.py",
    "native/": "engine/",
}

BESIDE = {
    "csrc/": "engine/src/",
    "csrc/CMakeLists.txt": "engine/CMakeLists.txt",
    "csrc/README.md": "engine/README.md",
    "csrc/gan.h": "engine/include/gan.h",
    "csrc/gan.hpp": "engine/include/gan.hpp",
    "csrc/include/": "engine/include/",
    "csrc/cmake/": "engine/cmake/",
    "csrc/tests/": "engine/tests/",
    "csrc/tests/sanitize.sh": "engine/tools/sanitize.sh",
    "csrc/tools/": "engine/tools/",
    "csrc/wasm/": "engine/wasm/",
    "csrc/wheel.sh": "packaging/wheel.sh",
    "csrc/tests/python.supp": "packaging/python.supp",
    "train/recipes/": "gan_export/training/recipes/",
    "benchmarks/suites/": "gan_export/bench/suites/",
    "train/ablate.py": "train/experiments/ablate.py",
    "train/cas.py": "train/experiments/cas.py",
    "train/cells.py": "train/experiments/latent_margin.py",
    "train/curves.py": "train/experiments/curves.py",
    "train/judge.py": "train/experiments/judge.py",
    "train/record.py": "train/experiments/record.py",
    "train/pack_mnist.py": "train/experiments/pack_mnist.py",
    "train/ablations/": "train/experiments/ablations/",
    "train/ABLATIONS.md": "train/experiments/ablations.md",
    "train/CURVES.svg": "train/experiments/curves.svg",
    "docs/BENCH.md": "docs/bench.md",
    "docs/C.md": "docs/c.md",
    "docs/CHECKPOINTS.md": "docs/checkpoints.md",
    "docs/DESIGN.md": "docs/design.md",
    "docs/FORMAT.md": "docs/gan-file-format.md",
    "docs/FORMATS.md": "docs/export-formats.md",
    "docs/LATENTS.md": "docs/latent-rng.md",
    "docs/SIGNATURE.md": "docs/signature.md",
    "docs/scale.md": "docs/datasets.md",
}

MOVES = (
    {f"gan_export/{old}": f"gan_export/{new}" for old, new in PACKAGE.items()}
    | {f"tests/{old}": f"tests/{new}" for old, new in TESTS.items()}
    | BESIDE
)

# A folder's name for what lies in more than one place afterwards.
FOLDERS = {"csrc": "engine"}

# Files that a room needs and nothing had before.
NEW_FILES = {
    "gan_export/_lib/__init__.py": '"""What is small, shared and knows nothing of GANs."""\n',
    "gan_export/graph/__init__.py": '"""A generator as data, BatchNorm folding, the torch interpreter."""\n',
    "gan_export/checkpoint/containers/__init__.py": '"""Containers: zip, pickle, safetensors, folders."""\n',
    "gan_export/formats/__init__.py": '"""What an export file is: its kind, its manifest, its files."""\n',
    "gan_export/exporters/onnx/__init__.py": '"""ONNX, in float32, float16 and int8, with or without a sampler."""\n',
    "gan_export/exporters/torch/__init__.py": '"""The formats that torch itself writes."""\n',
    "gan_export/verification/__init__.py": '"""An export against its checkpoint: values, layers, BatchNorm."""\n',
    "gan_export/pipeline/__init__.py": '"""Export, verify and publish; evaluate; what the steps share."""\n',
    "gan_export/sampling/__init__.py": '"""Seeds to image files."""\n',
    "gan_export/metrics/__init__.py": '"""Measures of images."""\n',
    "tests/_lib/__init__.py": "",
    "tests/graph/__init__.py": "",
    "tests/formats/__init__.py": "",
    "tests/verification/__init__.py": "",
    "tests/pipeline/__init__.py": "",
    "tests/sampling/__init__.py": "",
    "tests/metrics/__init__.py": "",
}

# --- what a moved module is called in files where its own name is taken by something else ----------

ALIASES = {
    "gan_export.graph.spec": "specs",
    "gan_export.formats.manifest": "manifests",
    "gan_export.sampling.generator": "generators",
    "gan_export.sampling.interpolate": "interpolation",
    "gan_export.metrics.distances": "image_distances",
    "gan_export.verification.compare": "comparison",
    "gan_export.verification.layers": "layerwise",
    "gan_export.verification.run": "verifying",
    "gan_export.pipeline.publish": "publishing",
    "gan_export.pipeline.table": "format_table",
    "gan_export.bench.stats": "bench_stats",
    "gan_export.bench.results": "recorded_results",
    "gan_export.bench.target": "targets",
    "gan_export.bench.environment": "machines",
    "gan_export.training.snapshot": "snapshots",
    "gan_export.training.models": "networks",
    "gan_export.training.trainer": "training_loop",
    "gan_export.training.run_dir": "run_dirs",
    "gan_export.cli.dataset": "dataset_cli",
    "gan_export.cli.tables": "cli_tables",
    "gan_export.checkpoint.containers.read_file": "file_reading",
    "gan_export._lib.fs": "filesystem",
    "gan_export.training.report": "reports",
}

# --- the same anywhere: (pattern, text after) ------------------------------------------------------

PATTERNS = (
    (r"-I\{ROOT / 'csrc'\}", "-I{ROOT / 'engine/include'}"),
    (r"-I\.\./\.\./csrc\b", "-I../../engine/include"),
)

# --- `import ... as` that had a reason before and has none now: {module before: its name there} ----

UNALIAS = {
    "gan_export.export": "formats",
    "gan_export.cli.app": "common",
    "gan_export.walk": "walks",
    "gan_export.page": "pages",
    "gan_export.latents": "law",
    "gan_export.arch.spec": "arch",
}
