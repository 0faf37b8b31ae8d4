"""path -> checkpoint: the file's content, the state dict chosen in it, and its reading as a generator."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from gan_export._lib.budget import Budget, BudgetError, read_json
from gan_export.checkpoint import keys, module_config
from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers import hf_folder
from gan_export.checkpoint.containers.denylist import named_first
from gan_export.checkpoint.containers.detect import read_content
from gan_export.checkpoint.containers.tensors import FLOATS, Float32, Tensor
from gan_export.checkpoint.containers.torch import ContainerContents
from gan_export.checkpoint.norms import Array, Folded, fold
from gan_export.checkpoint.pickled_modules import PickledModule
from gan_export.checkpoint.state_dicts import Candidate, StateDictSearch, at_path, find
from gan_export.checkpoint.stats_donor import Lenders
from gan_export.errors import GanExportError, NotRecognisedError, printable
from gan_export.graph.layers import layer_parameters
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize import ARCHS, recognize
from gan_export.recognize.detect import MOST_MODULES
from gan_export.recognize.options import AlternativeMatch, Match, ReadOptions

_SHOWN = 12  # candidates listed in a message
_FAMILY = 20  # steps of holding one module against all families
_BLOCK = 1 << 20  # values looked at together


def read(path: Path | str, overrides: ReadOptions | None = None) -> Checkpoint:
    """The generator in a checkpoint file or Hugging Face folder.  Nothing that the file holds is run.

    Raises GanExportError, beginning with the file's name: NotRecognisedError if no architecture fits, BudgetError if
    reading costs more than a file of its size may, HostileFileError for a file without a generator that names what
    would run code elsewhere.  With a generator such names are in `source.code`.
    """
    where = Path(path)
    if os.path.isdir(where):  # unlike Path's, this takes any name
        name, digest, content, budget = hf_folder.read_folder(where)
    else:
        name, digest, content, budget = read_content(where)
    try:
        with named_first(content.names):
            return _checkpoint(name, digest, content, overrides or ReadOptions(), budget)
    except GanExportError as e:
        raise type(e)(f"{printable(name)}: {e}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Match:
    """A candidate that an architecture fits.  prefix: what was taken off its keys."""

    candidate: Candidate
    reading: Match
    folded: Folded
    prefix: str


def _checkpoint(
    name: str, digest: str, content: ContainerContents, overrides: ReadOptions, budget: Budget
) -> Checkpoint:
    if content.spec is not None:
        return _as_written(name, digest, content, overrides, budget)
    found = find(content.root, budget)
    match, notes = _choose(found, overrides, budget)
    _refuse_calls(match)
    _check_memory(match, budget)
    weights, faults = _weights(match)
    reading = dataclasses.replace(match.reading, notes=(*notes, *match.folded.notes, *match.reading.notes, *faults))
    used = {k for key in reading.keys.values() for k in match.folded.arrays[key].keys}
    ignored = tuple(k for k in match.candidate.tensors if k not in used)
    names = content.names
    source = Source(
        name, digest, content.container, match.candidate.path, ignored, names.records, names.code, content.files
    )
    return Checkpoint(weights, source, reading, overrides)


def _as_written(
    name: str, digest: str, content: ContainerContents, overrides: ReadOptions, budget: Budget
) -> Checkpoint:
    """A file of gan-export's own, which says what it is: nothing is recognised and nothing assumed."""
    if overrides != ReadOptions():
        raise GanExportError("gan-export wrote it with its layers inside: leave out the flags that say what they are")
    try:
        spec = GeneratorSpec.from_json(read_json((content.spec or "").encode("utf-8", "surrogatepass"), budget))
    except (ValueError, RecursionError):
        raise GanExportError("damaged: its generator spec can't be read; export it again") from None
    tensors = cast(Mapping[str, Tensor], content.root)
    wanted = spec.parameters()
    if odd := next((k for k in [*wanted, *tensors] if k not in wanted or k not in tensors), None):
        raise GanExportError(f"damaged: {printable(odd, 80)} is only in its spec, or only in its weights")
    if odd := next((k for k, shape in wanted.items() if tensors[k].shape != shape), None):
        raise GanExportError(f"damaged: {printable(odd, 80)} is {tensors[odd].shape}, its spec says {wanted[odd]}")
    source = Source(name, digest, "a safetensors file of gan-export", files=content.files)
    budget.hold(4 * sum(math.prod(shape) for shape in wanted.values()))
    weights = {k: tensors[k].floats() for k in wanted}
    return Checkpoint(weights, source, Match(spec, {k: k for k in wanted}))


def _choose(found: StateDictSearch, overrides: ReadOptions, budget: Budget) -> tuple[_Match, tuple[str, ...]]:
    """The best candidate that an architecture fits, and what to say of the choice."""
    tried: tuple[Candidate, ...] = found.candidates
    if overrides.key is not None:
        one = at_path(found, overrides.key, budget)
        if one is None:
            raise GanExportError(f"--key {printable(overrides.key, 80)}: no such state dict here; {_listed(found)}")
        tried = (one,)
    matches: list[_Match] = []
    refusals: list[tuple[Candidate, GanExportError]] = []
    lenders = Lenders(found.candidates, budget)
    borrowed: dict[str, str] = {}  # averaged weights without statistics -> whose they take
    for candidate in tried:
        try:
            lender = lenders.of(candidate)
            whole = lenders.completed(candidate, lender) if lender else candidate
            matches.append(_match(whole, overrides, budget))
            if lender:
                borrowed[candidate.path] = printable(lender.path, 60) or "the file itself"
        except BudgetError:
            raise
        except GanExportError as e:
            refusals.append((candidate, e))
    if not matches:
        raise _refusal(found, refusals, overrides)
    best, *others = matches
    also = [
        AlternativeMatch(f"the generator {printable(m.candidate.path, 60) or 'at the top'}", _flag(m)) for m in others
    ]
    notes = []
    if best.candidate.role == "ema":
        raw = next((f"; {_flag(m)} takes the one without" for m in others if m.candidate.role == "generator"), "")
        notes.append(f"took {printable(best.candidate.path, 60)}, averaged over training{raw}")
    if lender_path := borrowed.get(best.candidate.path):
        mine = printable(best.candidate.path, 60)
        notes.append(f"{mine} holds no BatchNorm statistics: those of {lender_path} were taken with it")
    for candidate, why in refusals:
        within = best.candidate.path.startswith(f"{candidate.path}.")
        if candidate.role in ("ema", "generator") and tried.index(candidate) < _place(best, tried) and not within:
            mine, taken = printable(candidate.path, 60), printable(best.candidate.path, 60) or "the file itself"
            notes.append(f"{mine} comes first by its name but can't be read, so {taken} was taken: {why}")
    if best.candidate.module is not None:
        notes.append(
            "a pickled module: its tensors were read from what the file says of it, its class was not imported"
        )
    reading = dataclasses.replace(best.reading, alternatives=(*best.reading.alternatives, *also[:_SHOWN]))
    return dataclasses.replace(best, reading=reading), tuple(notes)


def _place(match: _Match, tried: tuple[Candidate, ...]) -> int:
    return next(i for i, c in enumerate(tried) if c.path == match.candidate.path)


def _flag(match: _Match) -> str:
    return f"--key {printable(match.candidate.path, 80)}"


def _match(candidate: Candidate, overrides: ReadOptions, budget: Budget) -> _Match:
    """Raises NotRecognisedError where no architecture fits its keys, with or without the owner's name before them."""
    budget.spend(20 * len(candidate.tensors))
    if flat := next((k for k in candidate.tensors if k.endswith(("_flat_param", ".flat_param"))), None):
        raise NotRecognisedError(
            f"flattened by FSDP ({printable(flat, 60)}); save it with StateDictType.FULL_STATE_DICT"
        )
    quantised = [k for k, t in candidate.tensors.items() if t.dtype.startswith("q")]
    if quantised:
        raise NotRecognisedError(
            f"quantised weights ({printable(quantised[0], 60)}), which aren't read; save the float model"
        )
    weights = {k: t for k, t in candidate.tensors.items() if t.dtype in FLOATS and not keys.is_counter(k)}
    origins = keys.normalise({k: k for k in weights}, budget)
    folded = fold({short: weights[key] for short, key in origins.items()})
    whole = {k: a for k, a in folded.arrays.items() if a.shape}  # a single number is no layer's
    first: NotRecognisedError | None = None
    for prefix in keys.candidate_prefixes(whole):
        arrays = {k[len(prefix) :]: a for k, a in whole.items()}
        budget.spend(_cost(arrays, candidate))
        try:
            reading, description = _recognise(arrays, origins, candidate, overrides)
        except NotRecognisedError as e:
            first = first or e
            continue
        named = {k: Array(a.shape, tuple(origins[o] for o in a.keys), a.load) for k, a in arrays.items()}
        return _Match(candidate, reading, Folded(named, (*description, *folded.notes)), prefix)
    raise first or NotRecognisedError("no weights here")


def _cost(arrays: Mapping[str, Array], candidate: Candidate) -> int:
    """Steps of holding them against every family."""
    modules = len({k.rpartition(".")[0] for k in arrays})
    held = _FAMILY * len(ARCHS) * modules if modules <= MOST_MODULES else 0  # more are refused at once
    return 10 * len(arrays) + held + (10 * len(candidate.module.leaves) if candidate.module else 0)


def _refuse_calls(match: _Match) -> None:
    """Raises GanExportError if a weight of the layers that were read is the result of a call, which isn't made."""
    owners = {k.rpartition(".")[0] for key in match.reading.keys.values() for k in match.folded.arrays[key].keys}
    for key, called in match.candidate.calls.items():
        owner, _, name = key.rpartition(".")
        if owner in owners and name != "_extra_state":
            raise GanExportError(
                f"{printable(key, 80)} is what {printable(called, 80)} gives, and nothing that a file names is called: "
                "the weights beside it can't be read without it; save the state_dict with tensors alone"
            )


def _recognise(
    arrays: Mapping[str, Array], origins: Mapping[str, str], candidate: Candidate, overrides: ReadOptions
) -> tuple[Match, tuple[str, ...]]:
    """The reading, and which settings a pickled module gave that a state dict leaves out."""
    shapes = {k: a.shape for k, a in arrays.items()}
    module = candidate.module
    if module is None:
        return recognize(shapes, overrides), ()
    asked = dataclasses.replace(overrides, image_size=None, raw=False)  # what the module itself decides comes first
    reading = recognize(shapes, asked)
    owners = {la.name: next(iter(layer_parameters(la)), "") for la in reading.spec.layers}
    keys = {name: arrays[reading.keys[f"{name}.{p}"]].keys[0] for name, p in owners.items() if p}
    homes = {name: _home(origins[key], module) for name, key in keys.items()}
    words = []
    if overrides.output is None and (last := module_config.final_activation(module, reading, homes)) is not None:
        before, asked = reading.spec, dataclasses.replace(asked, output=last)
        reading = recognize(shapes, asked)
        words += [f"output {last}"] if before.layers != reading.spec.layers else []
    if overrides.raw:
        reading = recognize(shapes, dataclasses.replace(asked, raw=True))
    agreed = module_config.apply_module_config(module, reading, homes, overrides)
    words += [w] if (w := module_config.describe_changes(agreed.spec, reading.spec)) else []
    return agreed, (f"the module itself says {', '.join(words)}",) if words else ()


def _home(key: str, module: PickledModule) -> str:
    """The module that a key lies in: below it, where a normalisation has put the weight deeper."""
    path = key.rpartition(".")[0]
    while path and path not in module.leaves:
        path = path.rpartition(".")[0]
    return path


def _refusal(
    found: StateDictSearch, refusals: list[tuple[Candidate, GanExportError]], overrides: ReadOptions
) -> GanExportError:
    if not found.candidates:
        if found.optimisers:
            return NotRecognisedError("this is an optimiser's state, without weights; give the generator's file")
        return NotRecognisedError(
            "it holds no state dict; save the generator's with torch.save(model.state_dict(), ...)"
        )
    likely = max(refusals, key=lambda r: (r[0].role != "discriminator", len(r[0].tensors)))
    unfit = [r for r in refusals if not isinstance(r[1], NotRecognisedError)]  # read, but for a flag or a layer
    for _, error in sorted(unfit, key=lambda r: r[0].role == "discriminator"):
        return error
    where = f"{printable(likely[0].path, 60)}: " if likely[0].path else ""
    several = f"; {_listed(found)}" if len(found.candidates) > 1 and overrides.key is None else ""
    return NotRecognisedError(f"{where}{likely[1]}{several}")


def _listed(found: StateDictSearch) -> str:
    names = [f"{printable(c.path, 60) or 'the file itself'} ({len(c.tensors)} tensors)" for c in found.candidates]
    if not names:
        return "it holds no state dict"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"--key can name {', '.join(names[:_SHOWN])}{more}"


def _check_memory(match: _Match, budget: Budget) -> None:
    """Raises BudgetError if the weights would take much more than the file: tensors that share their bytes."""
    arrays = [match.folded.arrays[k] for k in match.reading.keys.values()]
    # float32 each; folding takes three float64 copies of one weight at a time.
    kept = sum(4 * math.prod(a.shape) for a in arrays)
    passing = max((24 * math.prod(a.shape) for a in arrays if len(a.keys) > 1), default=0)
    budget.hold(kept + passing)


def _weights(match: _Match) -> tuple[dict[str, Float32], tuple[str, ...]]:
    """The arrays by the spec's names, and what is wrong with their values."""
    weights: dict[str, Float32] = {}
    faults = []
    for name, shape in match.reading.spec.parameters().items():
        key = match.reading.keys[name]
        array = match.folded.arrays[key]
        if array.shape != shape:
            raise GanExportError(f"{printable(key, 80)} has the shape {array.shape}, {shape} is wanted")
        weights[name] = array.load()
        if bad := _not_finite(weights[name]):
            faults.append(f"{printable(key, 80)}: {bad:,} of {weights[name].size:,} values are NaN or infinite")
    return weights, tuple(faults)


def _not_finite(array: Float32) -> int:
    flat = array.reshape(-1)
    return sum(int(np.count_nonzero(~np.isfinite(flat[i : i + _BLOCK]))) for i in range(0, flat.size, _BLOCK))
