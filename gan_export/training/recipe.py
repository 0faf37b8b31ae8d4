"""A recipe: everything that decides what a training run computes, as frozen data read from TOML.

Nothing here imports torch, so that `gan-train list` and every message about a recipe are quick.
`recipes/` beside this file holds the recipes that ship; docs/training.md says every field in words.
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
from gan_export.errors import GanExportError, printable
from gan_export.training.bounds import check


@dataclass(frozen=True, slots=True)
class Data:
    """Which pictures, and the shape they are brought to: (channels, size, size)."""

    source: str = "mnist-10k"  # one of bounds.SOURCES
    path: str = ""  # the folder of source "folder", the file of source "npz"; every other source takes --data-root
    size: int = 32
    channels: int = 1
    strict: bool = False  # a picture that can't be read stops the run instead of being skipped
    drop_last: bool = False  # leave out an epoch's last batch where it is not a whole one
    memory: float = 4.0  # GiB of a folder's decoded pictures that are kept; more are decoded batch by batch


@dataclass(frozen=True, slots=True)
class Generator:
    """Transposed convolutions from nz values to the picture: `widths` are the channels between, 4x4 first."""

    nz: int = 100
    widths: tuple[int, ...] = (512, 256, 128)
    classes: int = 0  # conditional on so many labels, which the discriminator is told too; 0: not
    embedding: int = 50  # values that a label becomes, joined behind z


@dataclass(frozen=True, slots=True)
class Discriminator:
    """Strided convolutions from the picture to one score."""

    widths: tuple[int, ...] = (128, 256, 512)
    norm: Literal["batch", "none"] = "batch"  # after every convolution but the first and the last
    spectral: bool = False  # each weight divided by its largest singular value (Miyato et al. 2018)
    slope: float = 0.2  # of LeakyReLU
    names: int = 0  # it also learns which of so many classes a real picture shows, a generated one none; 0: not


@dataclass(frozen=True, slots=True)
class Loss:
    """What the two nets minimise."""

    kind: Literal["bce", "hinge", "non-saturating", "wasserstein", "relativistic"] = "bce"
    one_call: bool = False  # generated and real pictures as one batch through the discriminator
    mixed: bool = False  # shuffled together first, so that each batch the discriminator sees holds both
    smooth: float = 0.0  # real pictures are to score 1 - smooth (bce, non-saturating)
    flip: float = 0.0  # share of the pairs of a generated and a real picture whose scores are swapped
    r1: float = 0.0  # half of it times the squared gradient of the score by real pictures (Mescheder et al. 2018)
    r2: float = 0.0  # the same by generated pictures
    gradient_penalty: float = 0.0  # times (gradient's norm between both - 1)^2 (WGAN-GP, Gulrajani et al. 2017)
    naming: float = 0.0  # the generator's part in that: to be named as a class, surely (Zhou et al. 2018)
    cells: bool = False  # that class is the largest of the latent's first discriminator.names values
    penalty_every: int = 1  # the penalties each so many steps, as many times as strong (Karras et al. 2020)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam of one net."""

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.0  # decoupled: each update takes lr x weight_decay of every weight away


@dataclass(frozen=True, slots=True)
class Optimiser:
    """Both nets' Adam, and what happens to the learning rates over the run."""

    generator: Adam = field(default_factory=Adam)
    discriminator: Adam = field(default_factory=Adam)
    decay_from: float = 1.0  # share of the run after which both rates fall linearly to zero; 1: never


@dataclass(frozen=True, slots=True)
class Augment:
    """What is done to real and generated pictures alike before the discriminator sees them."""

    noise: float = 0.0  # standard deviation of instance noise at the start
    noise_until: float = 1.0  # share of the run over which it falls linearly to none
    translate: float = 0.0  # DiffAugment (Zhao et al. 2020): shifted by up to this share of the side
    cutout: float = 0.0  # DiffAugment: a square of this share of the side blanked
    colour: bool = False  # DiffAugment: brightness, saturation, contrast


@dataclass(frozen=True, slots=True)
class Ema:
    """An exponential moving average of the generator, which is then what is previewed and saved."""

    decay: float = 0.0  # an update; 0: no average
    recalibrate: int = 16384  # pictures over which BatchNorm's statistics are measured anew for the average


@dataclass(frozen=True, slots=True)
class Train:
    """How long, in what pieces, from which start."""

    epochs: int = 20
    minutes: float = 0.0  # stop at the first step past so many minutes of training; 0: no such bound
    batch: int = 128
    seed: int = 0
    critic_steps: int = 1  # the discriminator's updates, each on a batch of its own, to one of the generator
    init: Literal["torch", "normal"] = "torch"  # torch's own, or N(0, 0.02), BatchNorm weights N(1, 0.02)


@dataclass(frozen=True, slots=True)
class Output:
    """What a run writes, and how often.  None of it changes what is computed."""

    save_every: int = 10  # epochs between generator_{epoch}.pth and discriminator_{epoch}.pth; the last always
    preview_every: int = 1  # epochs between previews
    snapshot_every: int = 500  # steps between snapshots
    keep: int = 2  # snapshots kept
    log_every: int = 20  # steps between lines of log.jsonl
    metrics_every: int = 0  # steps between measurements of the pictures (digits only), and at the end; 0: none
    metrics_pictures: int = 2500  # drawn for one


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how it is computed."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    threads: int = 0  # of the CPU; 0: torch's own choice
    channels_last: bool = True
    autocast: Literal["off", "bf16"] = "off"  # CUDA, or a CPU with AVX-512 BF16 or AMX: without them it is slower
    tf32: bool = True  # CUDA: products rounded to TF32's ten bits, as torch's own default has it for convolutions
    deterministic: bool = True  # CUDA: the same seed gives the same bits; false lets cuDNN take faster algorithms
    graphs: bool = True  # CUDA, one process: a step as one launch of a recorded graph
    sync_norm: bool = False  # BatchNorm over the batches of all processes (--devices)
    resident: bool = True  # CUDA: the whole set in device memory where it fits in a quarter of what is free


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run, whole.  `about` is the line that `gan-train list` shows."""

    name: str
    about: str = ""
    data: Data = field(default_factory=Data)
    generator: Generator = field(default_factory=Generator)
    discriminator: Discriminator = field(default_factory=Discriminator)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    augment: Augment = field(default_factory=Augment)
    ema: Ema = field(default_factory=Ema)
    train: Train = field(default_factory=Train)
    output: Output = field(default_factory=Output)
    compute: Compute = field(default_factory=Compute)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_data` reads it back to an equal recipe."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


# What may change when a run is resumed: how long it goes on, where, and what it writes; never what it computes.
RESUMABLE = (
    "train.epochs", "train.minutes", "output.", "compute.device", "data.path", "data.memory",
)  # fmt: skip


def known() -> dict[str, Traversable]:
    """Return every recipe that ships: name -> file."""
    folder = resources.files("gan_export.training").joinpath("recipes")
    files = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    return dict(sorted(files.items()))


def recorded() -> list[str] | None:
    """Return the names of the recipes with a record of what they gave; None outside a checkout, which holds those."""
    folder = Path(__file__).resolve().parents[2] / "train" / "records"
    return sorted(file.parent.name for file in folder.glob("*/record.json")) if folder.is_dir() else None


def load(name: str, settings: Iterable[str] = ()) -> Recipe:
    """The recipe called `name`, or read from the TOML file of that path, with `a.b=value` settings applied.

    Raises GanExportError for an unknown recipe, a file that is no TOML, an unknown field (naming the nearest
    one), a value of the wrong type or outside its bounds.
    """
    recipes = known()
    file: Traversable = recipes.get(name, Path(name))
    if name not in recipes and not name.endswith(".toml") and not Path(name).exists():
        raise GanExportError(
            f"no recipe is called {printable(name)}{did_you_mean(name, recipes)}; "
            "`gan-train list` shows them all, and a TOML file is named by its path"
        )
    try:
        data = plaindata.from_toml(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise GanExportError(f"{printable(str(file))} is no recipe in TOML: {printable(str(e))}") from None
    except OSError as e:
        raise GanExportError(f"{printable(str(file))}: {e.strerror}; `gan-train list` shows the recipes") from None
    data.setdefault("name", file.name.removesuffix(".toml"))
    return from_data(override(data, settings), where=str(file))


def override(data: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`data` with each `section.field=value` set; a value is TOML, or else a plain string."""
    result: dict[str, Any] = copy.deepcopy(dict(data))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise GanExportError(f"--set {printable(setting)}: write it as section.field=value")
        *sections, last = (part.strip() for part in key.split("."))
        place = result
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise GanExportError(f"--set {printable(setting)}: {printable(section)} is no section")
        try:
            place[last] = plaindata.from_toml(f"x = {text}")["x"]
        except ValueError:
            place[last] = text.strip()
    return result


def resumed(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """`recipe` with settings that a resumed run may change; raises GanExportError for any other."""
    wanted = list(settings)
    for setting in wanted:
        key = setting.partition("=")[0].strip()
        if not any(key == r or (r.endswith(".") and key.startswith(r)) for r in RESUMABLE):
            raise GanExportError(
                f"--set {printable(key)}: a resumed run keeps its recipe; only train.epochs, train.minutes, "
                "output.*, compute.device, data.path and data.memory can change"
            )
    return from_data(override(recipe.to_json(), wanted), where="--set")


def from_data(data: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain data, every field checked.  `where` names the origin in messages."""
    recipe = decode(Recipe, data, where)
    check(recipe)
    return recipe
