"""Every way in which a generator's weights are found in a file gives the same weights."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.checkpoint import ReadOptions, read
from gan_export.errors import GanExportError, NotRecognizedError
from tests.conftest import latent_image

from .makers import discriminator, generator, prefixed, same_weights, saved

NET = generator()
STATE = prefixed(NET.state_dict())
OTHER = prefixed(generator(width=6).state_dict())
DISCRIMINATOR = prefixed(discriminator().state_dict())


def optimizer(net: nn.Module) -> dict[str, Any]:
    adam = torch.optim.Adam(net.parameters())
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    adam.step()
    return adam.state_dict()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bare(tmp_path: Path, zipped: bool, protocol: int) -> None:
    path = saved(tmp_path / "g.pth", STATE, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    checkpoint = read(path)
    same_weights(checkpoint, NET)
    assert latent_image(checkpoint.spec).image == (1, 32, 32)
    assert latent_image(checkpoint.spec).nz == 12
    assert list(checkpoint.weights) == list(checkpoint.spec.parameters())
    assert checkpoint.source.name == "g.pth"
    assert checkpoint.source.key == ""
    assert checkpoint.source.records == ()
    assert all(k.endswith("num_batches_tracked") for k in checkpoint.source.ignored)


WRAPPED: dict[str, tuple[Any, str]] = {
    "netG": ({"netG": STATE, "netD": DISCRIMINATOR, "epoch": 3}, "netG"),
    "net_G": ({"net_G": STATE, "net_D": DISCRIMINATOR, "optim_G": optimizer(generator())}, "net_G"),
    "pbt": ({"netDmodel": DISCRIMINATOR, "netGmodel": STATE, "optimG": {}, "optimD": {}}, "netGmodel"),
    "generator": ({"generator": STATE, "discriminator": DISCRIMINATOR, "params": {"nz": 12}}, "generator"),
    "mimicry": (
        {"model_state_dict": STATE, "optimizer_state_dict": optimizer(generator()), "global_step": 9},
        "model_state_dict",
    ),
    "studiogan": ({"state_dict": STATE, "optimizer": optimizer(generator())}, "state_dict"),
    "gordicaleksa": ({"state_dict": STATE, "gan_type": "DCGAN", "commit_hash": "abc"}, "state_dict"),
    "gen": ({"gen": STATE, "disc": DISCRIMINATOR}, "gen"),
    "generator_state_dict": (
        {"discriminator_state_dict": DISCRIMINATOR, "generator_state_dict": STATE},
        "generator_state_dict",
    ),
    "G_state": ({"D_state": DISCRIMINATOR, "G_state": STATE}, "G_state"),
    "deep": ({"a": {"b": {"c": STATE}}}, "a.b.c"),
    "noise beside": ({"fixed_noise": torch.randn(64, 12, 1, 1), "losses": [0.5] * 100, "weights": STATE}, "weights"),
    "ordered": (OrderedDict(model=OrderedDict(STATE)), "model"),
    "default": ({"m": defaultdict(list, STATE)}, "m"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped(tmp_path: Path, name: str) -> None:
    value, key = WRAPPED[name]
    checkpoint = read(saved(tmp_path / "c.pth", value))
    same_weights(checkpoint, NET)
    assert checkpoint.source.key == key


@pytest.mark.parametrize("name", ["G_ema", "ema", "avgG", "netG_ema", "generator_ema", "ema_generator"])
def test_averaged_is_preferred(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "c.pth", {"netG": OTHER, "netD": DISCRIMINATOR, name: prefixed(STATE, "module.")})
    checkpoint = read(path)
    same_weights(checkpoint, NET)
    assert any(name in n and "averaged" in n and "key=netG" in n for n in checkpoint.reading.notes)
    assert [a.option for a in checkpoint.reading.alternatives] == ["key=netG"]
    same_weights(read(path, ReadOptions(key="netG")), generator(width=6))


def test_averaged_discriminator_is_no_generator(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", {"D_ema": DISCRIMINATOR, "netG": STATE})
    assert read(path).source.key == "netG"


def test_key_chooses(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", {"runs": {"one": STATE, "two": OTHER}})
    first = read(path)
    assert first.source.key == "runs.one"
    assert [a.option for a in first.reading.alternatives] == ["key=runs.two"]
    for key in ("runs.two", "two"):
        same_weights(read(path, ReadOptions(key=key)), generator(width=6))
    with pytest.raises(GanExportError, match=r"key=three.*runs\.one .*runs\.two"):
        read(path, ReadOptions(key="three"))


def test_key_of_a_discriminator_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", {"netG": STATE, "netD": DISCRIMINATOR})
    with pytest.raises(NotRecognizedError, match="a discriminator"):
        read(path, ReadOptions(key="netD"))


PREFIXES = [
    "module.", "_orig_mod.", "generator.", "netG.", "G.", "gen.", "_fsdp_wrapped_module.", "module.generator.",
    "_orig_mod.module.netG.", "module._orig_mod.", "generator.module.G.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(tmp_path: Path, prefix: str) -> None:
    same_weights(read(saved(tmp_path / "c.pth", prefixed(STATE, prefix))), NET)


def test_wrappers_within_keys(tmp_path: Path) -> None:
    state = {k.replace("model.", "model.module."): v for k, v in STATE.items()}
    state = {k.replace(".weight", "._checkpoint_wrapped_module.weight"): v for k, v in state.items()}
    same_weights(read(saved(tmp_path / "c.pth", state)), NET)


def test_swa_counter(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(generator())
    checkpoint = read(saved(tmp_path / "c.pth", averaged.state_dict()))
    same_weights(checkpoint, NET)
    assert "n_averaged" in checkpoint.source.ignored


def test_two_keys_that_become_one(tmp_path: Path) -> None:
    same_weights(read(saved(tmp_path / "same.pth", {**STATE, **prefixed(STATE, "module.")})), NET)
    other = {k: v + 1 for k, v in STATE.items()}
    with pytest.raises(GanExportError, match="two keys mean the same parameter"):
        read(saved(tmp_path / "c.pth", {**STATE, **prefixed(other, "module.")}))


def test_lightning(tmp_path: Path) -> None:
    both = {**prefixed(STATE, "generator."), **prefixed(DISCRIMINATOR, "discriminator.")}
    hyper = argparse.Namespace(latent_dim=12, lr=2e-4)
    value = {
        "epoch": 4, "global_step": 100, "pytorch-lightning_version": "2.4.0", "state_dict": both, "loops": {},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": Path("somewhere/a.ckpt")}},
        "optimizer_states": [optimizer(generator())], "lr_schedulers": [], "hyper_parameters": hyper,
    }  # fmt: skip
    checkpoint = read(saved(tmp_path / "last.ckpt", value))
    same_weights(checkpoint, NET)
    assert checkpoint.source.key == "state_dict.generator"
    assert "argparse.Namespace" in checkpoint.source.records
    same_weights(read(tmp_path / "last.ckpt", ReadOptions(key="generator")), NET)


def test_ema_beside_within_one_state_dict(tmp_path: Path) -> None:
    both = {**prefixed(OTHER, "online_model."), **prefixed(STATE, "ema_model."), "initted": torch.tensor(True)}
    checkpoint = read(saved(tmp_path / "c.pth", {"ema": both}))
    same_weights(checkpoint, NET)
    assert checkpoint.source.key == "ema.ema_model"
    assert not any("can't be read" in n for n in checkpoint.reading.notes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
                                   torch.float8_e4m3fnuz, torch.float8_e5m2fnuz])  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_types_become_float32(tmp_path: Path, dtype: torch.dtype, zipped: bool) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in STATE.items()}
    checkpoint = read(saved(tmp_path / "c.pth", state, _use_new_zipfile_serialization=zipped))
    for name, key in checkpoint.reading.keys.items():
        want = next(v for k, v in state.items() if k.endswith(key)).float().numpy()
        np.testing.assert_array_equal(checkpoint.weights[name], want)


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
)
def test_every_float8_code(dtype: torch.dtype) -> None:
    from gan_export.checkpoint.containers.tensors import Storage, Tensor

    codes = np.arange(256, dtype=np.uint8)
    name = str(dtype).removeprefix("torch.")
    ours = Tensor(Storage(name, 256, memoryview(codes.tobytes())), name, (256,), (1,)).floats()
    np.testing.assert_array_equal(ours, torch.from_numpy(codes).view(dtype).float().numpy())


def test_quantized_is_refused(tmp_path: Path) -> None:
    state = {k: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8) if v.ndim == 4 else v for k, v in STATE.items()}
    with pytest.raises(GanExportError, match="quantized"):
        read(saved(tmp_path / "c.pth", state))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_cuda_tagged(tmp_path: Path, zipped: bool) -> None:
    path = saved(tmp_path / "c.pth", STATE, _use_new_zipfile_serialization=zipped, pickle_protocol=2)
    raw = path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    raw = raw.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
    if zipped:  # the pickle has become longer: the archive is written anew around it
        import zipfile

        with zipfile.ZipFile(path) as z:
            entries = {n: z.read(n) for n in z.namelist()}
        name = next(n for n in entries if n.endswith("data.pkl"))
        entries[name] = entries[name].replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
        entries[name] = entries[name].replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
        with zipfile.ZipFile(path, "w") as z:
            for n, data in entries.items():
                z.writestr(n, data)
    else:
        path.write_bytes(raw)
    assert b"cuda:0" in path.read_bytes()
    same_weights(read(path), NET)


def test_views_and_strides(tmp_path: Path) -> None:
    """Transposed, sliced and shared storages; channels_last."""
    flat = torch.cat([v.flatten() for v in STATE.values() if v.is_floating_point()])
    state, at = {}, 0
    for k, v in STATE.items():
        if v.is_floating_point():
            state[k] = flat[at : at + v.numel()].view_as(v)
            at += v.numel()
            if v.ndim == 4:
                state[k] = state[k].to(memory_format=torch.channels_last)
    same_weights(read(saved(tmp_path / "c.pth", state)), NET)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("axes", [(3, 2, 1, 0), (2, 3, 1, 0)])  # their order in memory
def test_plain_pickle_of_arrays(tmp_path: Path, protocol: int, axes: tuple[int, ...]) -> None:
    path = tmp_path / "g.pkl"
    arrays = {k: v.numpy() for k, v in STATE.items()}
    back = tuple(np.argsort(axes))
    arrays = {
        k: np.ascontiguousarray(v.transpose(axes)).transpose(back) if v.ndim == 4 else v for k, v in arrays.items()
    }
    arrays = {k: v.astype(">f4") if v.ndim == 1 else v for k, v in arrays.items()}
    path.write_bytes(pickle.dumps(arrays, protocol))
    same_weights(read(path), NET)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickle_of_tensors(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "g.pkl"
    path.write_bytes(pickle.dumps({"g": STATE}, protocol))
    same_weights(read(path), NET)


def test_numpy_scalars_and_configs_beside(tmp_path: Path) -> None:
    value = {
        "G": STATE, "loss": np.float64(0.5), "losses": np.arange(5.0), "names": np.array(["a", "b"], object),
        "config": argparse.Namespace(lr=2e-4, nested=argparse.Namespace(a={1, 2}, b=frozenset((1,)))),
        "rng": torch.get_rng_state(), "py": slice(1, 2), "c": 1 + 2j, "size": torch.Size([1, 2]), "big": 10**80,
        "dtype": torch.float16, "device": torch.device("cuda:1"), "function": torch.nn.functional.relu, ("t", 1): 3,
    }  # fmt: skip
    for zipped in (True, False):
        checkpoint = read(saved(tmp_path / "c.pth", value, _use_new_zipfile_serialization=zipped))
        same_weights(checkpoint, NET)
        assert "argparse.Namespace" in checkpoint.source.records
        assert "torch._utils._rebuild_tensor_v2" not in checkpoint.source.records


def test_not_finite_is_said(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in STATE.items()}
    state["model.0.weight"][0, 0, 0, 0] = float("nan")
    state["model.1.running_var"][:2] = float("inf")
    notes = read(saved(tmp_path / "c.pth", state)).reading.notes
    assert any("0.weight: 1 of" in n and "NaN" in n for n in notes)
    assert any("1.running_var: 2 of" in n for n in notes)


class Generator(nn.Module):
    """A class that the reader must never need."""

    def __init__(self) -> None:
        super().__init__()
        self.model = generator()
        self.register_buffer("noise", torch.zeros(3), persistent=False)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: {"epoch": 1, "netG": m}, nn.DataParallel], ids=["bare", "dict", "dp"]
)
def test_a_pickled_module(tmp_path: Path, zipped: bool, wrap: Any) -> None:
    path = saved(tmp_path / "m.pt", wrap(Generator()), _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes().replace(__name__.encode(), b"z" * len(__name__)))  # a class of nowhere
    checkpoint = read(path) if not zipped else None
    if zipped:  # the checksum no longer fits, which is as good a test
        with pytest.raises(GanExportError, match="checksum"):
            read(path)
        checkpoint = read(saved(path, wrap(Generator())))
    assert checkpoint is not None
    same_weights(checkpoint, NET)
    assert any("pickled module" in n for n in checkpoint.reading.notes)
    assert any(r.endswith(".Generator") for r in checkpoint.source.records)


def test_a_pickled_modules_own_settings(tmp_path: Path) -> None:
    net = generator()
    for i, m in enumerate(net):
        if isinstance(m, nn.BatchNorm2d):
            m.eps = 1e-3
        if isinstance(m, nn.ReLU):
            net[i] = nn.LeakyReLU(0.1)
    checkpoint = read(saved(tmp_path / "m.pt", net))
    layers = checkpoint.spec.layers
    assert {la.eps for la in layers if hasattr(la, "eps")} == {1e-3}
    assert {la.slope for la in layers if getattr(la, "kind", "") == "leaky_relu"} == {0.1}
    assert any("bn_eps 0.001" in n and "slope 0.1" in n for n in checkpoint.reading.notes)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = generator()
        self.discriminator = discriminator()


def test_a_pickled_pair_of_networks(tmp_path: Path) -> None:
    """The discriminator's LeakyReLU is not the generator's."""
    checkpoint = read(saved(tmp_path / "m.pt", Both()))
    same_weights(checkpoint, NET)
    assert checkpoint.source.key == "generator"
    assert {la.kind for la in checkpoint.spec.layers if hasattr(la, "kind")} == {"relu", "tanh"}


def test_flattened_by_fsdp(tmp_path: Path) -> None:
    with pytest.raises(NotRecognizedError, match="flattened by FSDP"):
        read(saved(tmp_path / "c.pth", {"_fsdp_wrapped_module._flat_param": torch.zeros(1000)}))


@pytest.mark.parametrize("name", ["code.pth", "constants.pkl", "data.pkl", "data", "a.b.c.pth", "Größe 1.pth"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    same_weights(read(saved(tmp_path / name, STATE)), NET)


def test_only_an_optimizer(tmp_path: Path) -> None:
    with pytest.raises(NotRecognizedError, match="an optimizer's state"):
        read(saved(tmp_path / "o.pth", optimizer(generator())))
    with pytest.raises(NotRecognizedError, match="an optimizer's state"):
        read(saved(tmp_path / "o.pth", {"optimG": optimizer(generator()), "epoch": 3}))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_only_a_discriminator(tmp_path: Path, zipped: bool) -> None:
    with pytest.raises(NotRecognizedError, match="a discriminator"):
        read(saved(tmp_path / "d.pth", DISCRIMINATOR, _use_new_zipfile_serialization=zipped))


@pytest.mark.parametrize(
    "value", [{}, [], 3, {"a": 1}, torch.zeros(3), [STATE], {"x": torch.tensor([1, 2])}, None, "text"]
)
def test_no_state_dict(tmp_path: Path, value: Any) -> None:
    with pytest.raises(NotRecognizedError):
        read(saved(tmp_path / "x.pth", value))


def parameters(net: nn.Module) -> dict[str, torch.Tensor]:
    return {f"model.{k}": v.detach() for k, v in net.named_parameters()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_averaged_parameters_take_the_raw_generators_statistics(tmp_path: Path, prefix: str) -> None:
    raw = prefixed(generator().state_dict())
    for key in raw:
        if not key.endswith(("running_mean", "running_var")):
            raw[key] = raw[key] + 1
    ema = {prefix + k: v for k, v in parameters(NET).items()}
    path = saved(tmp_path / "c.pth", {"netG": raw, "netD": DISCRIMINATOR, "ema": ema})
    for flags in (ReadOptions(), ReadOptions(key="ema")):
        checkpoint = read(path, flags)
        same_weights(checkpoint, NET)
        assert checkpoint.source.key == "ema"
        assert any("ema has no BatchNorm statistics, so those of netG" in n for n in checkpoint.reading.notes)
    assert read(path, ReadOptions(key="netG")).source.key == "netG"


def test_averaged_weights_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    ema = {k: v[:3] for k, v in parameters(NET).items()}
    checkpoint = read(saved(tmp_path / "c.pth", {"netG": STATE, "ema": ema}))
    assert checkpoint.source.key == "netG"
    assert any(n.startswith("ema comes first by its name but can't be read, so netG was taken") for n in
               checkpoint.reading.notes)  # fmt: skip


def test_a_flag_for_the_generator_is_not_the_discriminators(tmp_path: Path) -> None:
    wide = nn.Sequential(nn.ConvTranspose2d(22, 32, 4, 1, 0), *list(generator().children())[1:])
    critic = {"0.weight": torch.zeros(8, 1, 4, 4), "2.weight": torch.zeros(1, 8, 4, 4)}
    for other in (DISCRIMINATOR, critic, {"emb.weight": torch.zeros(7, 12), **STATE}):
        path = saved(tmp_path / "c.pth", {"netG": wide.state_dict(), "netD": other})
        checkpoint = read(path, ReadOptions(classes=10))
        assert (checkpoint.source.key, latent_image(checkpoint.spec).classes, latent_image(checkpoint.spec).nz) == (
            "netG",
            10,
            12,
        )
    with pytest.raises(GanExportError, match="classes=99"):
        read(path, ReadOptions(classes=99))
