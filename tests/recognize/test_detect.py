"""What `recognise` says of files that are no known layout, of flags, and of hostile shapes."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from gan_export.errors import GanExportError, NotRecognizedError
from gan_export.graph.layers import Activation, Scale
from gan_export.recognize import ARCHS, ReadOptions, recognize
from tests.conftest import latent_image
from tests.originals import APART, ORIGINALS
from tests.originals.images_in import IMAGE_ORIGINALS
from tests.originals.style import STYLE_FAMILIES

GENERIC = ("residual", "sequence", "chain")  # the readings of last resort

Shapes = dict[str, tuple[int, ...]]


def shapes_of(name: str, width: int | None = None) -> Shapes:
    original = next(o for o in ORIGINALS if o.name == name)
    model = original.build(width or original.other_width)
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


def norm(prefix: str, channels: int) -> Shapes:
    return {f"{prefix}.{p}": (channels,) for p in ("weight", "bias", "running_mean", "running_var")}


def renamed(shapes: Shapes, seed: int) -> Shapes:
    """Every module under a name that says nothing, in an order that says nothing."""
    draw = random.Random(seed)
    prefixes = sorted({k.rpartition(".")[0] for k in shapes})
    fresh = {p: f"{draw.choice('qxzjk')}{draw.getrandbits(40):x}" for p in prefixes}
    return {f"{fresh[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": s for k, s in shapes.items()}


# The registry.


def test_families_have_names_of_their_own() -> None:
    names = [f.name for f in ARCHS]
    assert len(set(names)) == len(names)
    assert [f.name for f in ARCHS if f.generic] == names[-len(GENERIC) :] == list(GENERIC)


def test_every_family_has_an_original() -> None:
    read = {recognize(shapes_of(o.name), o.overrides).spec.arch for o in ORIGINALS}
    of_others = {*(o.arch for o in IMAGE_ORIGINALS), *STYLE_FAMILIES, *APART}
    assert read | of_others == {f.name for f in ARCHS if not f.generic}


def test_arch_picks_the_family() -> None:
    assert recognize(shapes_of("torchgan"), ReadOptions(arch="blocks")).spec.arch == "blocks"
    with pytest.raises(NotRecognizedError, match="arch=mimicry does not fit"):
        recognize(shapes_of("classic"), ReadOptions(arch="mimicry"))
    with pytest.raises(GanExportError, match="did you mean mimicry"):
        recognize(shapes_of("classic"), ReadOptions(arch="mimicri"))


# The generic reading.


@pytest.mark.parametrize("name", ["classic", "examples", "natsu6767", "wassersteingan", "zeleni9", "collections-dcgan"])
def test_any_names_chain_by_their_channels(name: str) -> None:
    shapes = shapes_of(name)
    known = recognize(shapes)
    for seed in range(5):
        reading = recognize(renamed(shapes, seed))
        assert reading.spec.arch == "chain"
        assert reading.spec.layers == known.spec.layers
        assert any("generic" in n for n in reading.notes)
        # Each array has gone where the known reading puts it.
        sizes = {p: shapes[k] for p, k in known.keys.items()}
        assert {p: renamed(shapes, seed)[k] for p, k in reading.keys.items()} == sizes


def test_a_projection_and_a_last_convolution_chain_too() -> None:
    reading = recognize(renamed(shapes_of("collections-sngan"), 3))
    assert (reading.spec.arch, latent_image(reading.spec).image, latent_image(reading.spec).nz) == (
        "chain",
        (3, 32, 32),
        128,
    )


@pytest.mark.parametrize("name", ["mimicry-32", "eriklindernoren", "collections-residual", "coursera", "caogang"])
def test_what_only_its_code_tells_is_not_guessed(name: str) -> None:
    shapes = renamed(shapes_of(name), 1)
    try:
        reading = recognize(shapes)
    except NotRecognizedError:
        return
    if reading.spec.arch == "sequence":  # other strides are named, and settled only by statistics
        assert next(a for a in reading.assumed if a.option == "image_size=").instead
        return
    assert reading.spec.arch == "chain"
    assert latent_image(reading.spec).image != latent_image(recognize(shapes_of(name)).spec).image, (
        "then it may as well be a known layout"
    )


def test_a_discriminator_under_other_names_is_no_generator() -> None:
    for original in ORIGINALS:
        if original.critic is None:
            continue
        shapes = {k: tuple(v.shape) for k, v in original.critic().state_dict().items()}
        for seed in range(3):
            with pytest.raises(NotRecognizedError):
                recognize(renamed(shapes, seed))


# What else a file may be.


def test_a_classifier_is_said_to_be_one() -> None:
    lenet: Shapes = {
        "conv1.weight": (20, 1, 5, 5), "conv1.bias": (20,), "conv2.weight": (50, 20, 5, 5), "conv2.bias": (50,),
        "fc1.weight": (500, 800), "fc1.bias": (500,), "fc2.weight": (10, 500), "fc2.bias": (10,),
    }  # fmt: skip
    with pytest.raises(NotRecognizedError, match="classifier"):
        recognize(lenet)


def test_an_optimizer_is_said_to_be_one() -> None:
    state: Shapes = {f"state.{i}.{p}": (4, 4) for i in range(3) for p in ("exp_avg", "exp_avg_sq")}
    with pytest.raises(NotRecognizedError, match="optimizer"):
        recognize(state)


def test_nothing_is_nothing() -> None:
    with pytest.raises(NotRecognizedError):
        recognize({})


def test_a_near_miss_names_the_missing_key() -> None:
    shapes = {k: s for k, s in shapes_of("studiogan").items() if not k.startswith("conv4")}
    with pytest.raises(NotRecognizedError, match=r"nearest: studiogan: .*conv2?d?4"):
        recognize(shapes)


def test_a_near_miss_names_the_key_left_over() -> None:
    shapes = {**shapes_of("mimicry-32"), "attention.gamma": (1,), "attention.theta.weight": (3, 12, 1, 1)}
    with pytest.raises(NotRecognizedError, match=r"nearest: mimicry: .*left over attention\.gamma"):
        recognize(shapes)


def test_a_norm_without_statistics_is_named() -> None:
    shapes = {k: s for k, s in shapes_of("classic").items() if "running" not in k}
    with pytest.raises(NotRecognizedError, match=r"model\.1, a norm that has no running statistics"):
        recognize(shapes)


def test_keys_are_escaped_and_few() -> None:
    shapes: Shapes = {f"a\x1b[31m\n{i}.weight": (3, 3) for i in range(50)}
    with pytest.raises(NotRecognizedError) as refusal:
        recognize(shapes)
    assert "\x1b" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 3000


# Flags.


def test_a_sigmoid_is_brought_to_the_common_range() -> None:
    spec = recognize(shapes_of("classic"), ReadOptions(output="sigmoid")).spec
    assert latent_image(spec).range == (-1.0, 1.0)
    assert isinstance(spec.layers[-1], Scale)
    raw = recognize(shapes_of("classic"), ReadOptions(output="sigmoid", raw=True)).spec
    assert latent_image(raw).range == (0.0, 1.0)
    assert isinstance(raw.layers[-1], Activation)
    none = recognize(shapes_of("classic"), ReadOptions(output="none")).spec
    assert latent_image(none).range is None


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("classic", ReadOptions(upsample="nearest"), "upsample=: .*no interpolation"),
        ("wassersteingan-nobn", ReadOptions(bn_eps=0.1), "bn_eps=: .*no BatchNorm"),
        ("classic", ReadOptions(label_order="before"), "label_order=: .*no label"),
        ("classic", ReadOptions(image_size=50), "image_size=50: .*32x32"),
        ("csinva-mnist", ReadOptions(image_size=64), "image_size=64: .*28 or 32"),
        ("classic", ReadOptions(classes=100), "classes=100: .*100 features"),
        ("embedding-after", ReadOptions(classes=11), "classes=11: .*has 10"),
        ("classic", ReadOptions(raw=True), "raw=True: .*no sigmoid"),
        ("classic", ReadOptions(raw=True, output="none"), "raw=True: .*no sigmoid"),
        ("classic", ReadOptions(bn_eps=0.0), "bn_eps=0.0: must be above 0"),
        ("classic", ReadOptions(slope=float("nan")), "slope=nan: must be 0 to 1"),
        ("classic", ReadOptions(prior="cauchy"), "prior=cauchy"),  # type: ignore[arg-type]
    ],
)
def test_flags_that_decide_nothing_are_refused(name: str, flags: ReadOptions, message: str) -> None:
    with pytest.raises(GanExportError, match=message):
        recognize(shapes_of(name), flags)


def test_image_size_agrees_or_decides() -> None:
    assert latent_image(recognize(shapes_of("classic"), ReadOptions(image_size=32)).spec).image == (1, 32, 32)
    assert latent_image(recognize(shapes_of("csinva-mnist"), ReadOptions(image_size=32)).spec).image == (1, 32, 32)
    assert latent_image(recognize(shapes_of("torch-fidelity"), ReadOptions(image_size=64)).spec).image == (3, 64, 64)


def test_upsample_is_a_choice_where_there_is_one() -> None:
    modes = {
        getattr(la, "mode", None)
        for la in recognize(shapes_of("mimicry-32"), ReadOptions(upsample="nearest")).spec.layers
    }
    assert modes == {None, "nearest"}


@pytest.mark.parametrize(
    "name", ["emb", "embed", "label_emb", "label_embedding", "label_embeddings", "embedding", "class_embed", "G_emb"]
)
def test_names_of_a_label_embedding(name: str) -> None:
    shapes = {f"model.{k.partition('.')[2]}": s for k, s in shapes_of("embedding-after").items() if "embed" not in k}
    spec = recognize({**shapes, f"{name}.weight": (7, 50)}).spec
    assert (latent_image(spec).classes, latent_image(spec).nz) == (7, 100)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
def test_sizes_are_counted_not_assumed(size: int) -> None:
    layers = size.bit_length() - 2  # 4 x 4, then doubled
    channels = [70, *(3 * 2**i for i in reversed(range(layers - 1))), 3]
    shapes: Shapes = {}
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        shapes[f"main.{3 * i}.weight"] = (a, b, 4, 4)
        if i < len(channels) - 2:
            shapes |= norm(f"main.{3 * i + 1}", b)
    spec = recognize(shapes).spec
    assert (latent_image(spec).nz, latent_image(spec).image) == (70, (3, size, size))


# Hostile shapes.


def test_ten_thousand_keys_are_answered_soon() -> None:
    begun = time.perf_counter()
    for kind in ("main.{}.weight", "deconv{}.weight", "blocks.{}.0.deconv0.weight", "x{}.y.weight", "{}.0.weight"):
        with pytest.raises(GanExportError):
            recognize({kind.format(i): (64, 64, 4, 4) for i in range(10_000)})
    with pytest.raises(GanExportError):
        recognize({f"{'9' * 5000}{i}{'.a' * 500}.weight": (3, 3, 4, 4) for i in range(200)})
    assert time.perf_counter() - begun < 10


def test_a_picture_of_terabytes_is_refused() -> None:
    shapes: Shapes = {f"main.{2 * i}.weight": (8, 8, 4, 4) for i in range(40)}
    with pytest.raises(NotRecognizedError):
        recognize(shapes)


ODD: tuple[tuple[int, ...], ...] = (
    (), (0,), (1,), (-3, 4), (2**62, 2**62, 4, 4), (4, 4, 4), (1, 1, 1, 1), (3, 3, 0, 0),
)  # fmt: skip


@pytest.mark.parametrize("block", range(4))
def test_mutated_shapes_end_in_a_reading_or_a_refusal(block: int) -> None:
    for seed in range(block * 250, (block + 1) * 250):
        mutate_and_recognize(seed)


def mutate_and_recognize(seed: int) -> None:
    draw = random.Random(seed)
    name, odd = draw.choice(list(SMALL)), draw.choice(ODD)
    shapes = dict(SMALL[name])
    for _ in range(draw.randint(1, 4)):
        key = draw.choice(list(shapes) or ["weight"])
        match draw.randrange(6):
            case 0:
                shapes.pop(key, None)
            case 1:
                shapes[key] = odd
            case 2:
                shapes[key] = tuple(draw.choice([0, 1, 2, 3, 4, 5, 10, 64, 100, -1]) for _ in shapes.get(key, ()))
            case 3:
                shapes[key[: draw.randrange(len(key) + 1)]] = shapes.pop(key, ())
            case 4:
                shapes[f"{draw.choice(['', '.', 'emb', '0', 'main.', 'x.'])}{key}"] = shapes.get(key, ())
            case 5:
                shapes |= SMALL[draw.choice(list(SMALL))]
    flags = draw.choice(
        [ReadOptions(), ReadOptions(), ReadOptions(classes=10), ReadOptions(image_size=32), ReadOptions(slope=0.2)]
    )
    try:
        reading = recognize(shapes, flags)
    except GanExportError:
        return
    assert {p: tuple(shapes[k]) for p, k in reading.keys.items()} == reading.spec.parameters()
    assert set(reading.keys.values()) | set(reading.ignored) == set(shapes)


SMALL = {o.name: shapes_of(o.name) for o in ORIGINALS}


def test_one_layer_alone_is_no_generator() -> None:
    with pytest.raises(NotRecognizedError):
        recognize({"x.weight": (4, 4, 4, 4)})
