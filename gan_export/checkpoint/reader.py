"""Read a checkpoint: decode the file, choose a state dict in it, and recognize the generator."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from gan_export._lib.budget import Budget, BudgetError, read_json
from gan_export.checkpoint import keys, module_config, option_files
from gan_export.checkpoint.checkpoint import Checkpoint, Source
from gan_export.checkpoint.containers import hf_folder
from gan_export.checkpoint.containers.denylist import named_first
from gan_export.checkpoint.containers.detect import read_content
from gan_export.checkpoint.containers.tensors import FLOATS, Float32, Tensor
from gan_export.checkpoint.containers.torch import ContainerContents
from gan_export.checkpoint.norms import Array, Folded, fold
from gan_export.checkpoint.pickled_modules import PickledModule
from gan_export.checkpoint.state_dicts import Candidate, StateDictSearch, at_path, find, owned_twice, role_of
from gan_export.checkpoint.stats_donor import Lenders
from gan_export.errors import GanExportError, NotRecognizedError, Topic, linked, printable
from gan_export.graph.layers import Reshape
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize import ARCHS, recognize
from gan_export.recognize.detect import MOST_MODULES, get_family
from gan_export.recognize.options import AlternativeMatch, Derived, Match, ReadOptions
from gan_export.recognize.settle import settle
from gan_export.recognize.verdict import graded

_SHOWN = 12  # candidates listed in a message
_FAMILY = 20  # steps per module and family
_LIKELY = ("discriminator", "unknown", "generator", "ema")  # roles, the most likely of a generator last
_BLOCK = 1 << 20  # values that are checked at once


@linked(Topic.REFUSED)
def read(
    path: Path | str,
    overrides: ReadOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
    *,
    by_evidence: bool = True,
) -> Checkpoint:
    """Return the generator in a checkpoint file or Hugging Face folder.  No code in the file is run.

    The choices that keys and shapes leave open are compared with the BatchNorm statistics in the file, which takes a
    second or two (`recognize.settle`).  If `by_evidence` is False, they keep the defaults of the family.

    Raises GanExportError, beginning with the file's name: NotRecognizedError if no architecture fits, BudgetError if
    reading costs more than the bound for a file of its size, HostileFileError for a file without a generator and with
    names that run code if another program unpickles it.  If there is a generator, these names are in `source.code`.
    """
    where = Path(path)
    if os.path.isdir(where):  # unlike Path.is_dir, this accepts any name
        name, digest, content, budget = hf_folder.read_folder(where)
    else:
        name, digest, content, budget = read_content(where)
    try:
        with named_first(content.names):
            beside = option_files.read_beside(where)
            return _checkpoint(
                name, digest, content, overrides or ReadOptions(), budget, beside=beside,
                progress=progress if by_evidence else None,
            )  # fmt: skip
    except NotRecognizedError as e:
        raise NotRecognizedError(f"{printable(name)}: {e}", e.closest) from None
    except GanExportError as e:
        raise type(e)(f"{printable(name)}: {e}", topic=e.topic) from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Match:
    """A candidate that an architecture fits.  prefix: the prefix that was removed from its keys."""

    candidate: Candidate
    reading: Match
    folded: Folded
    prefix: str


def _checkpoint(
    name: str,
    digest: str,
    content: ContainerContents,
    overrides: ReadOptions,
    budget: Budget,
    *,
    beside: Mapping[str, str],
    progress: Callable[[str], None] | None,
) -> Checkpoint:
    """Return the checkpoint of a file's content.

    beside: options that a training script wrote into the same folder.  progress: None to compare no statistics.
    """
    if content.spec is not None:
        return _as_written(name, digest, content, overrides, budget)
    found = find(content.root, budget)
    match, notes = _choose(found, overrides, budget)
    if option_files.calls_eval(beside) and overrides.norm is None and match.reading.chosen.get("norm") == "image":
        overrides = dataclasses.replace(overrides, norm="stored")
        match, notes = _choose(found, overrides, budget)
    if match.reading.chosen and (note := option_files.describe(beside)):
        notes = (*notes, note)
    if fixed := option_files.settled(match.reading, overrides, beside):
        overrides = dataclasses.replace(overrides, **fixed)
        match, notes = _choose(found, overrides, budget)
        settler = option_files.source_of(match.reading)
        notes = (*notes, f"{settler} beside the file settles: {ReadOptions(**fixed)}")
    _refuse_calls(match)
    _check_memory(match, budget)
    weights, faults = _weights(match)
    if progress is not None:
        settled, match = _by_evidence(found, match, overrides, budget, weights=weights, progress=progress)
        if settled != overrides:
            overrides, (weights, faults) = settled, _weights(match)
    reading = dataclasses.replace(match.reading, notes=(*notes, *match.folded.notes, *match.reading.notes, *faults))
    taken = [*reading.keys.values(), *(k for d in reading.derived.values() for k in d.keys)]
    used = {k for key in taken for k in match.folded.arrays[key].keys}
    ignored = tuple(k for k in match.candidate.tensors if k not in used)
    names = content.names
    source = Source(
        name, digest, content.container, match.candidate.path, ignored, names.records, names.code, content.files
    )
    chosen: dict[str, Any] = dict(reading.chosen)
    return Checkpoint(weights, source, reading, dataclasses.replace(overrides, **chosen))


def _by_evidence(
    found: StateDictSearch,
    match: _Match,
    overrides: ReadOptions,
    budget: Budget,
    *,
    weights: Mapping[str, Float32],
    progress: Callable[[str], None],
) -> tuple[ReadOptions, _Match]:
    """Return the options and the match, with the choices that the file's statistics settle."""
    habit = match.reading

    def read_as(options: ReadOptions) -> Match:
        return _match(match.candidate, options, budget).reading

    verdict = settle(habit, read_as, overrides, weights, steps=_steps(match.candidate), progress=progress)
    if verdict.options:
        overrides = dataclasses.replace(overrides, **verdict.options)
        match = _choose(found, overrides, budget)[0]
    return overrides, dataclasses.replace(match, reading=graded(match.reading, verdict, habit))


def _steps(candidate: Candidate) -> int | None:
    """Return the number of training steps that the BatchNorms counted, or None if the file doesn't have it."""
    counts = [t for k, t in candidate.tensors.items() if k.endswith("num_batches_tracked") and t.dtype == "int64"]
    return min((int(t.integers().reshape(-1)[0]) for t in counts if t.shape in ((), (1,))), default=None)


def _as_written(
    name: str, digest: str, content: ContainerContents, overrides: ReadOptions, budget: Budget
) -> Checkpoint:
    """Return the checkpoint of a file that gan-export wrote with its spec: nothing is recognized or assumed."""
    if overrides != ReadOptions():
        raise GanExportError("gan-export wrote it with its layers, which are fixed: leave out the flags for them")
    try:
        spec = GeneratorSpec.from_json(read_json((content.spec or "").encode("utf-8", "surrogatepass"), budget))
    except (ValueError, RecursionError):
        raise GanExportError("damaged: its generator spec can't be read; export it again") from None
    tensors = cast(Mapping[str, Tensor], content.root)
    wanted = spec.parameters()
    if odd := next((k for k in [*wanted, *tensors] if k not in wanted or k not in tensors), None):
        raise GanExportError(f"damaged: {printable(odd, 80)} is only in its spec, or only in its weights")
    if odd := next((k for k, shape in wanted.items() if tensors[k].shape != shape), None):
        raise GanExportError(f"damaged: {printable(odd, 80)} is {tensors[odd].shape}, but {wanted[odd]} in its spec")
    source = Source(name, digest, "a safetensors file of gan-export", files=content.files)
    budget.hold(4 * sum(math.prod(shape) for shape in wanted.values()))
    weights = {k: tensors[k].floats() for k in wanted}
    return Checkpoint(weights, source, Match(spec, {k: k for k in wanted}))


@linked(Topic.NETWORKS)
def _choose(found: StateDictSearch, overrides: ReadOptions, budget: Budget) -> tuple[_Match, tuple[str, ...]]:
    """Return the best candidate that an architecture fits, and notes on the choice."""
    tried: tuple[Candidate, ...] = found.candidates
    if overrides.key is not None:
        one = at_path(found, overrides.key, budget)
        if one is None:
            raise GanExportError(f"key={printable(overrides.key, 80)}: no such state dict here; {_listed(found)}")
        tried = (one,)
    matches: list[_Match] = []
    refusals: list[tuple[Candidate, GanExportError]] = []
    lenders = Lenders(found.candidates, budget)
    borrowed: dict[str, str] = {}  # path of averaged weights without statistics -> their source
    for candidate in tried:
        try:
            lender = lenders.of(candidate)
            whole = lenders.completed(candidate, lender) if lender else candidate
            match = _match(whole, overrides, budget)
            _refuse_fed(match, found)
            matches.append(match)
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
        AlternativeMatch(f"the generator {printable(m.candidate.path, 60) or 'at the top'}", _option(m)) for m in others
    ]
    notes = []
    if best.candidate.role == "ema":
        raw = next(
            (f"; {_option(m)} takes the one without averaging" for m in others if m.candidate.role == "generator"), ""
        )
        notes.append(f"took {printable(best.candidate.path, 60)}, averaged over training{raw}")
    if lender_path := borrowed.get(best.candidate.path):
        mine = printable(best.candidate.path, 60)
        notes.append(f"{mine} has no BatchNorm statistics, so those of {lender_path} were used")
    for candidate, why in refusals:
        within = best.candidate.path.startswith(f"{candidate.path}.") or _holds(best.candidate, candidate)
        if candidate.role in ("ema", "generator") and tried.index(candidate) < _place(best, tried) and not within:
            mine, taken = printable(candidate.path, 60), printable(best.candidate.path, 60) or "the file itself"
            notes.append(f"{mine} comes first by its name but can't be read, so {taken} was taken: {why}")
    if best.candidate.module is not None:
        notes.append("a pickled module: its tensors were read as data, and its class was not imported")
        if best.candidate.module.source:
            notes.append(
                f"the file contains {best.candidate.module.source:,} characters of source code, which was not run"
            )
    reading = dataclasses.replace(best.reading, alternatives=(*best.reading.alternatives, *also[:_SHOWN]))
    return dataclasses.replace(best, reading=reading), tuple(notes)


def _refuse_fed(match: _Match, found: StateDictSearch) -> None:
    """Raise NotRecognizedError if a part begins with a convolution whose input a Linear beside the part gives.

    For example, a decoder whose first Linear is no part of it would be read as one that takes z as one pixel.
    """
    part, signature = match.candidate, match.reading.spec.signature
    first = match.reading.spec.layers[0]
    whole = next((c for c in found.candidates if c is not part and _holds(c, part)), None)
    if whole is None or not isinstance(first, Reshape) or not signature.is_sampled:
        return
    nz, pixels = math.prod(signature.inputs[0].dims({})), math.prod(first.shape[1:])
    inside = part.path.removeprefix(f"{whole.path}." if whole.path else "")
    for key, tensor in whole.tensors.items():
        if pixels != 1 or len(tensor.shape) != 2 or not key.endswith(".weight") or key.startswith(f"{inside}."):
            continue
        out, takes = tensor.shape
        side = math.isqrt(out // nz)
        widens = takes < out == nz * side**2 and side > 1
        if widens and role_of(key.partition(".")[0]) == "unknown":
            raise NotRecognizedError(
                f"its first layer takes {nz} channels, and {printable(key.rpartition('.')[0], 60)} beside it gives "
                f"{out:,} = {nz} x {side} x {side} features, so it is no generator without that layer; "
                "save both in one state dict, or export the whole by its own class (module=PKG.MOD:CLASS)"
            )


def _holds(whole: Candidate, part: Candidate) -> bool:
    """Return whether the part's tensors are among those of the whole, whose path is the first part of its own."""
    head = f"{whole.path}." if whole.path else ""
    within = part.path.removeprefix(head)
    return part.path.startswith(head) and all(f"{within}.{key}" in whole.tensors for key in part.tensors)


def _place(match: _Match, tried: tuple[Candidate, ...]) -> int:
    return next(i for i, c in enumerate(tried) if c.path == match.candidate.path)


def _option(match: _Match) -> str:
    return f"key={printable(match.candidate.path, 80)}"


def _match(candidate: Candidate, overrides: ReadOptions, budget: Budget) -> _Match:
    """Return the match of a candidate, with or without the owner's name before its keys.

    Raises NotRecognizedError if no architecture fits.
    """
    budget.spend(20 * len(candidate.tensors))
    if flat := next((k for k in candidate.tensors if k.endswith(("_flat_param", ".flat_param"))), None):
        raise NotRecognizedError(
            f"flattened by FSDP ({printable(flat, 60)}); save it with StateDictType.FULL_STATE_DICT"
        )
    quantized = [k for k, t in candidate.tensors.items() if t.dtype.startswith("q")]
    if quantized:
        raise NotRecognizedError(
            f"quantized weights ({printable(quantized[0], 60)}), which aren't read; save the float model"
        )
    weights = {k: t for k, t in candidate.tensors.items() if t.dtype in FLOATS and not keys.is_counter(k)}
    twice = owned_twice(weights)
    if not twice:
        return _match_weights(candidate, weights, overrides, budget)
    budget.spend(20 * len(weights))
    try:
        return _match_weights(candidate, {k: t for k, t in weights.items() if k not in twice}, overrides, budget)
    except NotRecognizedError:
        match = _match_weights(candidate, weights, overrides, budget)
        if get_family(match.reading.spec.arch).generic:  # it would run such layers twice
            raise
        return match


def _match_weights(
    candidate: Candidate, weights: Mapping[str, Tensor], overrides: ReadOptions, budget: Budget
) -> _Match:
    """Return the match of some of a candidate's weights."""
    origins = keys.normalize({k: k for k in weights}, budget)
    folded = fold({short: weights[key] for short, key in origins.items()})
    whole = folded.arrays
    first: NotRecognizedError | None = None
    for prefix in keys.candidate_prefixes(k for k, a in whole.items() if a.shape):  # a scalar may have any key
        arrays = {k[len(prefix) :]: a for k, a in whole.items() if k.startswith(prefix)}
        budget.spend(_cost(arrays, candidate))
        try:
            reading, description = _recognize(arrays, origins, candidate, overrides, prefix)
        except NotRecognizedError as e:
            first = first or e
            continue
        named = {k: Array(a.shape, tuple(origins[o] for o in a.keys), a.load) for k, a in arrays.items()}
        return _Match(candidate, reading, Folded(named, (*description, *folded.notes)), prefix)
    raise first or NotRecognizedError("it contains no weights")


def _cost(arrays: Mapping[str, Array], candidate: Candidate) -> int:
    """Return the steps of comparing the arrays with every family."""
    modules = len({k.rpartition(".")[0] for k in arrays})
    held = _FAMILY * len(ARCHS) * modules if modules <= MOST_MODULES else 0  # more are refused at once
    return 10 * len(arrays) + held + (10 * len(candidate.module.leaves) if candidate.module else 0)


def _refuse_calls(match: _Match) -> None:
    """Raise GanExportError if a weight of the generator is the result of a call, since no call is made."""
    owners = {k.rpartition(".")[0] for key in match.reading.keys.values() for k in match.folded.arrays[key].keys}
    for key, called in match.candidate.calls.items():
        owner, _, name = key.rpartition(".")
        if owner in owners and name != "_extra_state":
            raise GanExportError(
                f"{printable(key, 80)} is the result of {printable(called, 80)}, and no function in a file is called; "
                "save the state_dict with only tensors in it"
            )


def _recognize(
    arrays: Mapping[str, Array], origins: Mapping[str, str], candidate: Candidate, overrides: ReadOptions, prefix: str
) -> tuple[Match, tuple[str, ...]]:
    """Return the reading, and notes on the settings that a pickled module has and a state dict lacks."""
    shapes = {k: a.shape for k, a in arrays.items()}
    module = candidate.module
    if module is None:
        return recognize(shapes, overrides, config=candidate.config), ()
    parts = {path[len(prefix) :]: s for path, s in module.settings.items() if f"{path}.".startswith(prefix)}
    asked = dataclasses.replace(overrides, image_size=None, raw=False)  # the module's own settings come first
    reading = recognize(shapes, asked, settings=parts)
    if reading.settled:
        return recognize(shapes, overrides, settings=parts), ()
    firsts = {la.name: f"{la.name}.{p}" for la in reading.spec.layers for p in list(la.parameters())[:1]}
    keys = {name: arrays[reading.keys[p]].keys[0] for name, p in firsts.items() if p in reading.keys}
    homes = {name: _home(origins[key], module) for name, key in keys.items()}  # not of computed parameters
    words = []
    if overrides.first_activation is None and module_config.first_activation(module, reading, homes):
        asked = dataclasses.replace(asked, first_activation="on")
        reading = recognize(shapes, asked)
        words.append("an activation after the first Linear")
    if overrides.output is None and (last := module_config.final_activation(module, reading, homes)) is not None:
        before, asked = reading.spec, dataclasses.replace(asked, output=last)
        reading = recognize(shapes, asked)
        words += [f"output {last}"] if before.layers != reading.spec.layers else []
    if overrides.raw:
        reading = recognize(shapes, dataclasses.replace(asked, raw=True))
    agreed = module_config.apply_module_config(module, reading, homes, overrides)
    words += [w] if (w := module_config.describe_changes(agreed.spec, reading.spec)) else []
    return agreed, (f"settings of the pickled module: {', '.join(words)}",) if words else ()


def _home(key: str, module: PickledModule) -> str:
    """Return the path of the module that has a key; a normalization may have put the weight one level deeper."""
    path = key.rpartition(".")[0]
    while path and path not in module.leaves:
        path = path.rpartition(".")[0]
    return path


def _refusal(
    found: StateDictSearch, refusals: list[tuple[Candidate, GanExportError]], overrides: ReadOptions
) -> GanExportError:
    if not found.candidates:
        if found.optimizers:
            return NotRecognizedError("this is an optimizer's state, without weights; give the generator's file")
        return NotRecognizedError(
            "it contains no state dict; save the generator's with torch.save(model.state_dict(), ...)"
        )
    # The refusal of a part that is named a generator says most; that of a file with a critic in it says least.
    likely = max(refusals, key=lambda r: (_LIKELY.index(r[0].role), len(r[0].tensors)))
    unfit = [r for r in refusals if not isinstance(r[1], NotRecognizedError)]  # a flag or layer is wrong
    for _, error in sorted(unfit, key=lambda r: r[0].role == "discriminator"):
        return error
    where = f"{printable(likely[0].path, 60)}: " if likely[0].path else ""
    return NotRecognizedError(f"{where}{likely[1]}", getattr(likely[1], "closest", ()))


def _listed(found: StateDictSearch) -> str:
    names = [f"{printable(c.path, 60) or 'the file itself'} ({len(c.tensors)} tensors)" for c in found.candidates]
    if not names:
        return "it contains no state dict"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"key= can name {', '.join(names[:_SHOWN])}{more}"


def _check_memory(match: _Match, budget: Budget) -> None:
    """Raise BudgetError if tensors that share bytes would make the weights much larger than the file."""
    wanted = [*match.reading.keys.values(), *(k for d in match.reading.derived.values() for k in d.keys)]
    arrays = [match.folded.arrays[k] for k in wanted]
    # Each weight in float32; folding holds three float64 copies of one weight at a time.
    kept = sum(4 * math.prod(a.shape) for a in arrays)
    passing = max((24 * math.prod(a.shape) for a in arrays if len(a.keys) > 1), default=0)
    budget.hold(kept + passing)


def _weights(match: _Match) -> tuple[dict[str, Float32], tuple[str, ...]]:
    """Return the arrays by the spec's names, and the faults of their values."""
    weights: dict[str, Float32] = {}
    faults = []
    for name, shape in match.reading.spec.parameters().items():
        if (derived := match.reading.derived.get(name)) is not None:
            key = derived.keys[0]
            weights[name] = _computed(derived, match.folded.arrays)
        else:
            key = match.reading.keys[name]
            weights[name] = match.folded.arrays[key].load()
        if weights[name].shape != shape:
            raise GanExportError(f"{printable(key, 80)} has the shape {weights[name].shape}; it must be {shape}")
        if bad := _not_finite(weights[name]):
            faults.append(f"{printable(key, 80)}: {bad:,} of {weights[name].size:,} values are NaN or infinite")
    return weights, tuple(faults)


def _computed(derived: Derived, arrays: Mapping[str, Array]) -> Float32:
    with np.errstate(all="ignore"):
        made = derived.compute(*(arrays[key].load().astype(np.float64) for key in derived.keys))
        return np.ascontiguousarray(made, np.float32)


def _not_finite(array: Float32) -> int:
    flat = array.reshape(-1)
    return sum(int(np.count_nonzero(~np.isfinite(flat[i : i + _BLOCK]))) for i in range(0, flat.size, _BLOCK))
