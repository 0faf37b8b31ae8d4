"""The smallest files of each kind, made by hand so that any string in them can be chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_export.bench.record import SCHEMA, Run
from gan_export.datasets.plan import DatasetPlan
from gan_export.errors import GanExportError
from gan_export.exporters.native import encode
from gan_export.formats.manifest import UNSEALED
from gan_export.formats.references import pack as pack_references
from gan_export.graph.layers import (
    Activation,
    Add,
    AddNoise,
    AddPlane,
    Affine,
    Attend,
    AvgPool,
    BatchNorm,
    BlurDown,
    BlurUp,
    ChannelBias,
    ChannelNorm,
    Channels,
    Clamp,
    Concat,
    ContextPool,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Crop,
    Demodulate,
    Dropout,
    Elu,
    Embedding,
    FilterDown,
    FilterUp,
    FourierFeatures,
    Gelu,
    GroupedConv,
    GroupedConvTranspose,
    InstanceNorm,
    Linear,
    LinearAttend,
    LocalAttend,
    MaxPool,
    ModulatedConstant,
    Multiply,
    OneHot,
    Pad,
    PixelNorm,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Reshape,
    Row,
    Rows,
    Scale,
    ScaleChannels,
    ShiftChannels,
    Truncate,
    Upsample,
    UpsampleNd,
)  # fmt: skip
from gan_export.graph.ports import Normal, Port, Uniform
from gan_export.graph.signature import Signature
from gan_export.graph.spec import SPEC_KEY, Chain, GeneratorSpec
from gan_export.latents import LAW
from gan_export.training.events import Began, Ended, Measured, Scored, Warned, Wrote
from tests.security.hostile import Place, all_planted, sample


def small_spec() -> GeneratorSpec:
    """Return a spec of 4 normal latents and a 1 x 2 x 2 image."""
    c = Chain()
    c.add(Linear, "fc", in_features=4, out_features=4)
    c.add(Reshape, "image", shape=(1, 2, 2))
    c.add(Activation, "tanh", kind="tanh")
    return GeneratorSpec.of_latent("dcgan", 4, "normal", (1, 2, 2), (-1.0, 1.0), tuple(c))


def spec_of() -> dict[str, Any]:
    """Return `small_spec` as JSON data."""
    return json.loads(json.dumps(small_spec().to_json()))  # type: ignore[no-any-return]


def every_layer() -> dict[str, Any]:
    """Return, as JSON data, a spec of 4 normal latents, 3 labels and a 1 x 2 x 2 image with a layer of each kind."""
    c = Chain()
    c.add(Linear, "fc", in_features=4, out_features=4)
    c.add(Embedding, "embedding", inputs=("label",), classes=3, dim=4)
    c.add(Multiply, "product", inputs=("fc", "embedding"))
    c.add(OneHot, "onehot", inputs=("label",), classes=3)
    c.add(Concat, "joined", inputs=("product", "onehot"))
    c.add(Linear, "fc2", in_features=7, out_features=4)
    c.add(Reshape, "seed", shape=(1, 2, 2))
    c.add(Conv, "conv", in_channels=1, out_channels=1, kernel=1)
    c.add(ConvTranspose, "convt", in_channels=1, out_channels=1, kernel=1)
    c.add(BatchNorm, "norm", channels=1)
    c.add(Affine, "affine", channels=1)
    c.add(Upsample, "up")
    c.add(Crop, "crop", top=0, left=0, height=2, width=2)
    c.add(Add, "sum", inputs=("crop", "seed"))
    c.add(Scale, "scale", factor=0.5, offset=0.0)
    c.add(Activation, "tanh", kind="tanh")
    spec = GeneratorSpec.of_latent("dcgan", 4, "normal", (1, 2, 2), (-1.0, 1.0), tuple(c), 3)
    return json.loads(json.dumps(spec.to_json()))  # type: ignore[no-any-return]


def other_layers() -> dict[str, Any]:
    """Return, as JSON data, a spec of the kinds of layers that `every_layer` lacks.

    They are those of StyleGAN, of image inputs, and of volumes.
    """
    c = Chain()
    c.add(PixelNorm, "pixelnorm")
    c.add(Reshape, "volume", shape=(1, 2, 2, 2))
    ones, none = (1, 1, 1), (0, 0, 0)
    c.add(
        ConvTransposeNd, "convtnd", in_channels=1, out_channels=1, kernel=ones, stride=ones, padding=none,
        output_padding=none,
    )  # fmt: skip
    c.add(ConvNd, "convnd", in_channels=1, out_channels=1, kernel=ones, stride=ones, padding=none)
    c.add(UpsampleNd, "upnd", factor=ones)
    c.add(Reshape, "flat", shape=(8,))
    c.add(Truncate, "truncated", inputs=("flat", "psi"), features=8)
    c.add(Demodulate, "demodulated", in_features=8, out_features=4)
    c.add(Row, "row", inputs=("ws",), index=0)
    c.add(Rows, "rows", inputs=("row", "demodulated"))
    c.add(Row, "firstrow", inputs=("rows",), index=0)
    c.add(ModulatedConstant, "constant", shape=(4, 2, 2))
    c.add(ScaleChannels, "scaled", inputs=("constant", "demodulated"))
    c.add(ShiftChannels, "shifted", inputs=("scaled", "row"))
    c.add(ChannelBias, "biased", channels=4)
    c.add(AddPlane, "plane", height=2, width=2)
    c.add(AddNoise, "noised", inputs=("plane", "noise"))
    c.add(GroupedConv, "grouped", in_channels=4, out_channels=4, kernel=1, groups=2)
    c.add(GroupedConvTranspose, "groupedt", in_channels=4, out_channels=4, kernel=2, groups=2)
    c.add(MaxPool, "pooled")
    c.add(AvgPool, "averaged", size=1)
    c.add(Attend, "attended", inputs=("averaged", "pooled", "pooled"))
    c.add(Channels, "channels", start=0, count=4)
    c.add(ChannelNorm, "channelnorm", channels=4)
    c.add(LinearAttend, "linearattended", inputs=("channels", "channelnorm", "channelnorm"), heads=2)
    c.add(LocalAttend, "localattended", inputs=("linearattended", "channelnorm", "channelnorm"), heads=2)
    c.add(Channels, "score", start=0, count=1)
    c.add(ContextPool, "context", inputs=("score", "localattended"))
    c.add(ScaleChannels, "gated", inputs=("localattended", "context"))
    c.add(Gelu, "gelu")
    c.add(InstanceNorm, "instancenorm", channels=4)
    c.add(Pad, "padded", size=1, mode="reflect")
    c.add(PixelUnshuffle, "unshuffled", factor=2)
    c.add(PixelShuffle, "shuffled", factor=2)
    c.add(BlurDown, "blurdown", channels=4)
    c.add(BlurUp, "blurup", channels=4)
    c.add(PReLU, "prelu", slopes=4)
    c.add(Elu, "elu")
    c.add(FourierFeatures, "waves", inputs=("demodulated",), channels=4, side=4, sampling_rate=4.0, bandwidth=1.0)
    c.add(FilterUp, "filterup", channels=4, taps=4, factor=2, before=2, after=2)
    c.add(FilterDown, "filterdown", channels=4, taps=3, factor=2)
    c.add(Add, "met", inputs=("elu", "filterdown"))
    c.add(Clamp, "clamp", low=-1.0, high=1.0)
    c.add(Dropout, "dropout", inputs=("clamp", "u"), rate=0.5)
    inputs = (
        Port("z", "latent", (8,), prior=Normal()),
        Port("psi", "scalar"),
        Port("ws", "style", (2, 4), prior=Normal()),
        Port("noise", "noise", (1, 2, 2), prior=Normal()),
        Port("u", "noise", (4, 4, 4), prior=Uniform(0.0, 1.0)),
    )
    spec = GeneratorSpec("stylegan2", Signature(inputs, (Port("image", "image", (4, 4, 4)),)), tuple(c))
    return json.loads(json.dumps(spec.to_json()))  # type: ignore[no-any-return]


def weights_of(names: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return small fixed values for each name, none below 0, because some are variances."""
    rng = np.random.default_rng(0)
    return {name: np.abs(rng.normal(0, 0.3, shape)).astype(np.float32) for name, shape in names.items()}


def safetensors_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return a file in the format of safetensors' README: eight bytes of length, a JSON header, the values."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())


def own_safetensors(path: Path, spec: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a file that claims to be gan-export's own, with `spec` and the weights that its layers need."""
    try:
        tensors = weights_of(GeneratorSpec.from_json(spec).parameters())
    except GanExportError:  # an invalid spec has none
        tensors = {}
    path.write_bytes(safetensors_bytes(tensors, {SPEC_KEY: json.dumps(spec), **(metadata or {})}))
    return path


def old_manifest_data() -> dict[str, Any]:
    """Return a manifest of version 1 of the same generator, with facts instead of a signature."""
    facts = {"arch": "dcgan", "nz": 4, "prior": "normal", "classes": 0, "image": [1, 2, 2], "range": [-1.0, 1.0]}
    later = ("arch", "signature", "rounding", "content_sha256")
    data = {name: value for name, value in manifest_data().items() if name not in later}
    return {**data, "facts": facts, "version": 1}


def manifest_data() -> dict[str, Any]:
    """Return a manifest of `small_spec` with zeros as reference images."""
    return {
        "format": "c",
        "arch": "dcgan",
        "signature": small_spec().signature.to_data(),
        "output": "float",
        "precision": "fp32",
        "tolerance": {"max_abs": 2e-5, "byte_share": 1e-4, "byte_step": 1, "psnr": None},
        "source_sha256": "0" * 64,
        "versions": {"gan-export": "0.1.0"},
        "options": {},
        "references": pack_references(np.zeros((8, 1, 2, 2))),
        "latent_law": LAW,
        "rounding": 0.0,
        "content_sha256": UNSEALED,
        "version": 2,
    }


def gan_bytes(manifest: str) -> bytes:
    """Return a `.gan` file of `small_spec`."""
    spec = small_spec()
    return encode(spec, weights_of(spec.parameters()), manifest)


def onnx_model() -> Any:
    """Return a model of z (N, 4) to image (N, 4), with a text in each text field and a weight in another file."""
    from onnx import TensorProto, helper

    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=(4, 4), data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="weight.bin")
    weight.doc_string = "weight"
    node = helper.make_node("MatMul", ["z", "weight"], ["image"], name="matmul", doc_string="product")
    node.attribute.append(helper.make_attribute("note", 1))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", 4), doc_string=n) for n in ("z", "image")]
    graph = helper.make_graph([node], "graph", values[:1], values[1:], [weight], doc_string="graph")
    model = helper.make_model(graph, producer_name="x", producer_version="1", domain="x", doc_string="x")
    model.metadata_props.add(key="author", value="x")
    return model


def run_data() -> dict[str, Any]:
    """Return a bench run with enough data for every table and figure."""
    data: dict[str, Any] = sample(Run)
    row = {
        **data["rows"][0],
        "batch": 4,
        "blocks": [[1000, 1100], [1050, 1000], [1020, 1010]],
        "process": [0, 0, 0],
        "foreign": [0.0] * 3,
        "stolen": [0.0] * 3,
        "unproven": [],
    }
    return {**data, "schema": SCHEMA, "created": "2026-01-02T03:04:05", "rows": [row, {**row, "batch": 8}]}


def toml_text(data: Mapping[str, Any]) -> str:
    """Return plain data as TOML; values that TOML can't express are written unchanged."""
    scalars = {k: v for k, v in data.items() if not isinstance(v, dict)}
    lines = [f"{_toml_string(k)} = {_toml(v)}" for k, v in scalars.items()]
    for name, table in ((k, v) for k, v in data.items() if isinstance(v, dict)):
        lines += [f"[{_toml_string(name)}]", *(f"{_toml_string(k)} = {_toml(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _toml_string(text: str) -> str:
    """Return a basic string, which is JSON's except for characters beyond the basic plane."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


EVENTS = (Began, Measured, Scored, Warned, Wrote, Ended)


def training_log(change: Callable[[str, dict[str, Any]], Any], events: Iterable[type] = EVENTS) -> str:
    """Return a log.jsonl with a line per event; `change` gets the event's name and data, and returns the data."""
    figures = {"frechet": 1.0, "sure_share_real_test": 0.9, "digits": [0.1] * 10}
    lines = []
    for event in events:
        data = sample(event)
        if event is Scored:
            data["figures"] = figures
        changed = change(event.__name__, data)
        lines.append(json.dumps({"event": event.__name__.lower(), **changed}))
    return "\n".join(lines) + "\n"


def dataset_manifest(plants: Mapping[Place, str]) -> dict[str, Any]:
    """Return MANIFEST.json of a dataset of one shard, with texts at places of its schema."""
    piece = {"name": "00000.npy", "bytes": 1, "sha256": "0" * 64}
    data = {
        "job": {
            **sample(DatasetPlan),
            "facts": old_manifest_data()["facts"],
            "format": "npy",
            "count": 1,
            "shard_size": 1,
            "filters": [],
            "label": "random",
            "overrides": {},
        },
        "records": [{"index": 0, "start": 1, "count": 1, "kept": 1, "pieces": [piece]}],
        "notes": {},
    }
    changed = all_planted(data, plants)
    counts = {"version": 1, "pictures": 1, "bytes": 1}
    return {**counts, "job": changed["job"], "notes": changed["notes"], "shards": changed["records"]}
