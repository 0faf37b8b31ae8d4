"""Find what scripts save beside a generator's weights: its settings, and the network that gives its styles."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers.tensors import OpaqueObject, Tensor
from gan_export.recognize.state_dict import Config

_CONFIGS = ("config", "conf")
LARGEST = 1 << 59  # of a setting: a larger integer has no float, or no decimal digits
_MOST = 200  # settings, and characters of a name or a word
_VECTORIZERS = {"G": "S", "GE": "SE"}  # of lucidrains' stylegan2: a generator -> what gives its w
_TAKES_W = "blocks.0.to_style1.weight"


def config_of(table: Mapping[object, object], budget: Budget) -> Config:
    """Return the numbers and words of a dict's `config`, or `conf`, by name; of a list or a dict, the length."""
    found: dict[str, int | float | str | bool | None] = {}
    for name in _CONFIGS:
        value = table.get(name)
        settings = value.attributes() if isinstance(value, OpaqueObject) else value
        if not isinstance(settings, dict) or len(settings) > _MOST:
            continue
        budget.spend(2 * len(settings))
        for key, setting in settings.items():
            if not isinstance(key, str) or len(key) > _MOST:
                continue
            if isinstance(setting, list | dict):
                found[key] = len(setting)
            elif isinstance(setting, str):
                found[key] = setting[:_MOST]
            elif isinstance(setting, int) and abs(setting) >= LARGEST:
                found[key] = math.inf
            elif setting is None or isinstance(setting, int | float):
                found[key] = setting
    return found


def with_vectorizer(head: str, groups: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Return the tensors of the network `head`, and as `S.` those of the network that gives its w."""
    above, dot, name = head.rpartition(".")
    takes = name in _VECTORIZERS and _TAKES_W in groups[head]
    beside = groups.get(f"{above}{dot}{_VECTORIZERS[name]}") if takes else None
    return {**groups[head], **{f"S.{key}": t for key, t in (beside or {}).items()}}
