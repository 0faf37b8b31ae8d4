"""A recipe: all settings that determine what a training run computes, as frozen data read from TOML.

Nothing here imports torch, so that `gan-train list` and every message about a recipe are quick.
`recipes/` next to this file has the bundled recipes; docs/training.md describes every field.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from gan_export._lib import plaindata
from gan_export._lib.schema import decode, did_you_mean
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.training.bounds import check


@dataclass(frozen=True, slots=True)
class Data:
    """The training images, and the shape that they are converted to: (channels, size, size).

    Volumes have the shape (channels, size, size, size).
    """

    source: str = "mnist-10k"  # one of bounds.SOURCES
    path: str = ""  # of "folder", "npz", and the font of "emoji" ("": the installed one); others take --data-root
    size: int = 32
    channels: int = 1
    dims: int = 2  # 2: images; 3: volumes, of source "solids" or "npz", in [0, 1]
    strict: bool = False  # stop at an image that can't be read instead of skipping it
    drop_last: bool = False  # skip the last batch of an epoch if it is incomplete
    memory: float = 4.0  # GiB of decoded images, or of drawn solids, that are kept; of more, each is made when needed


@dataclass(frozen=True, slots=True)
class Generator:
    """Transposed convolutions from nz values: `widths` are the hidden channels, starting at 4x4, or at 4x4x4."""

    nz: int = 100
    widths: tuple[int, ...] = (512, 256, 128)
    classes: int = 0  # number of labels, which the discriminator gets too; 0: unconditional
    embedding: int = 50  # length of the label embedding, concatenated to z


@dataclass(frozen=True, slots=True)
class Discriminator:
    """Strided convolutions from the image to one score."""

    widths: tuple[int, ...] = (128, 256, 512)
    norm: Literal["batch", "none"] = "batch"  # after every convolution except the first and the last
    spectral: bool = False  # each weight divided by its largest singular value (Miyato et al. 2018)
    slope: float = 0.2  # slope of LeakyReLU
    names: int = 0  # classes of an auxiliary classifier, to which generated images don't belong; 0: none


@dataclass(frozen=True, slots=True)
class Loss:
    """The losses of both networks."""

    kind: Literal["bce", "hinge", "non-saturating", "wasserstein", "relativistic"] = "bce"
    one_call: bool = False  # run the discriminator on generated and real images as one batch
    mixed: bool = False  # shuffle them first, so that each batch of the discriminator contains both
    smooth: float = 0.0  # the target of real images is 1 - smooth (bce, non-saturating)
    flip: float = 0.0  # share of the pairs of a generated and a real image whose scores are swapped
    r1: float = 0.0  # weight of half the squared gradient of the score at real images (Mescheder et al. 2018)
    r2: float = 0.0  # the same at generated images
    gradient_penalty: float = 0.0  # weight of (gradient norm between both - 1)^2 (WGAN-GP, Gulrajani et al. 2017)
    naming: float = 0.0  # weight of the auxiliary classifier's loss in the generator's (Zhou et al. 2018)
    cells: bool = False  # its target is the largest of the first discriminator.names values of the latent
    penalty_every: int = 1  # the penalties every n steps with n times the weight (Karras et al. 2020)


@dataclass(frozen=True, slots=True)
class Adam:
    """The settings of Adam for one network."""

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.0  # decoupled: each update subtracts lr x weight_decay of every weight


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Adam for both networks, and the schedule of the learning rates."""

    generator: Adam = field(default_factory=Adam)
    discriminator: Adam = field(default_factory=Adam)
    decay_from: float = 1.0  # share of the run after which both rates fall linearly to zero; 1: never


@dataclass(frozen=True, slots=True)
class Augment:
    """Augmentation of real and generated images before the discriminator."""

    noise: float = 0.0  # standard deviation of instance noise at the start
    noise_until: float = 1.0  # share of the run over which it falls linearly to zero
    translate: float = 0.0  # DiffAugment (Zhao et al. 2020): shifts by up to this share of the side
    cutout: float = 0.0  # DiffAugment: a blank square with this share of the side
    color: bool = False  # DiffAugment: brightness, saturation, contrast


@dataclass(frozen=True, slots=True)
class Ema:
    """An exponential moving average of the generator, which is then previewed and saved."""

    decay: float = 0.0  # per update; 0: no average
    recalibrate: int = 16384  # images from which the BatchNorm statistics of the average are measured


@dataclass(frozen=True, slots=True)
class Train:
    """Length, batch size and start of a run."""

    epochs: int = 20
    minutes: float = 0.0  # stop at the first step after these minutes of training; 0: no limit
    batch: int = 128
    seed: int = 0
    critic_steps: int = 1  # updates of the discriminator, each on its own batch, per update of the generator
    init: Literal["torch", "normal"] = "torch"  # torch's own, or N(0, 0.02), BatchNorm weights N(1, 0.02)


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a run.  None of it changes what is computed."""

    save_every: int = 10  # epochs between checkpoints generator_{epoch}.pth, discriminator_{epoch}.pth; always the last
    preview_every: int = 1  # epochs between previews
    snapshot_every: int = 500  # steps between snapshots
    keep: int = 2  # number of snapshots that are kept
    log_every: int = 20  # steps between lines of log.jsonl
    metrics_every: int = 0  # steps between measurements of the images, and at the end; 0: none
    metrics_features: str = "digits"  # the evaluator: digits, inception, a plugin's, or the path of an ONNX file
    metrics_pictures: int = 2500  # images per measurement


@dataclass(frozen=True, slots=True)
class Compute:
    """Device and arithmetic."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    threads: int = 0  # CPU threads; 0: torch's default
    channels_last: bool = True
    autocast: Literal["off", "bf16"] = "off"  # for CUDA, or a CPU with AVX-512 BF16 or AMX; slower on others
    tf32: bool = True  # CUDA: products rounded to TF32's ten bits, torch's default for convolutions
    deterministic: bool = True  # CUDA: the same seed gives the same bits; false lets cuDNN use faster algorithms
    graphs: bool = True  # CUDA, one process: a step as one launch of a recorded graph
    sync_norm: bool = False  # BatchNorm over the batches of all processes (--devices)
    resident: bool = True  # CUDA: the dataset in device memory if it fits in a quarter of the free memory


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a training run.  `about` is the line that `gan-train list` shows."""

    name: str
    about: str = ""
    data: Data = field(default_factory=Data)
    generator: Generator = field(default_factory=Generator)
    discriminator: Discriminator = field(default_factory=Discriminator)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    augment: Augment = field(default_factory=Augment)
    ema: Ema = field(default_factory=Ema)
    train: Train = field(default_factory=Train)
    output: Output = field(default_factory=Output)
    compute: Compute = field(default_factory=Compute)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, which `from_data` turns back into an equal recipe."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


# Fields that may change when a run is resumed: its length, place and output, never what it computes.
RESUMABLE = (
    "train.epochs", "train.minutes", "output.", "compute.device", "data.path", "data.memory",
)  # fmt: skip


def known() -> dict[str, Traversable]:
    """Return the bundled recipes: name -> file."""
    folder = resources.files("gan_export.training").joinpath("recipes")
    files = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    return dict(sorted(files.items()))


def recorded() -> list[str] | None:
    """Return the names of the recipes with a record of their results; None outside a checkout."""
    folder = Path(__file__).resolve().parents[2] / "train" / "records"
    return sorted(file.parent.name for file in folder.glob("*/record.json")) if folder.is_dir() else None


@linked(Topic.RECIPES)
def load(name: str, settings: Iterable[str] = ()) -> Recipe:
    """Return the recipe named `name`, or that of a TOML file, with `a.b=value` settings applied.

    Raises GanExportError for an unknown recipe, a file that is not TOML, an unknown field (suggesting the most similar
    one), a value of the wrong type or out of bounds.
    """
    recipes = known()
    file: Traversable = recipes.get(name, Path(name))
    if name not in recipes and not name.endswith(".toml") and not Path(name).exists():
        raise GanExportError(
            f"there is no recipe {printable(name)}{did_you_mean(name, recipes)}; "
            "`gan-train list` shows them all, and a TOML file is named by its path"
        )
    try:
        data = plaindata.from_toml(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise GanExportError(f"{printable(str(file))} is not a recipe in TOML: {printable(str(e))}") from None
    except OSError as e:
        raise GanExportError(f"{printable(str(file))}: {e.strerror}; `gan-train list` shows the recipes") from None
    data.setdefault("name", file.name.removesuffix(".toml"))
    wanted = list(settings)
    return from_data(override(data, wanted), where=f"{file.name} with settings=" if wanted else str(file))


@linked(Topic.RECIPES)
def override(data: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return `data` with each `section.field=value` set; a value is TOML, or else a plain string."""
    result: dict[str, Any] = copy.deepcopy(dict(data))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise GanExportError(f"settings={printable(setting)}: write it as section.field=value")
        *sections, last = (part.strip() for part in key.split("."))
        place = result
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise GanExportError(f"settings={printable(setting)}: there is no section {printable(section)}")
        try:
            place[last] = plaindata.from_toml(f"x = {text}")["x"]
        except ValueError:
            place[last] = text.strip()
    return result


@linked(Topic.RECIPES)
def resumed(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return `recipe` with settings that a resumed run may change; raise GanExportError for any other."""
    wanted = list(settings)
    for setting in wanted:
        key = setting.partition("=")[0].strip()
        if not any(key == r or (r.endswith(".") and key.startswith(r)) for r in RESUMABLE):
            raise GanExportError(
                f"settings={printable(key)}: a resumed run keeps its recipe; only train.epochs, train.minutes, "
                "output.*, compute.device, data.path and data.memory can change"
            )
    return from_data(override(recipe.to_json(), wanted), where="settings=")


@linked(Topic.RECIPES)
def from_data(data: Mapping[str, Any], where: str) -> Recipe:
    """Return a recipe from plain data, with every field checked.  `where` names the origin in messages."""
    recipe = decode(Recipe, data, where)
    check(recipe)
    return recipe
