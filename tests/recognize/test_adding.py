"""docs/adding-an-architecture.md does what it says: its code is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_export.graph.torch_module import build_module
from gan_export.recognize import ARCHS, recognize

PAGE = Path(__file__).parents[2] / "docs" / "adding-an-architecture.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_adds_a_family() -> None:
    family_source, original_source, plugin_source = blocks()
    names: dict[str, Any] = {}
    exec(compile(family_source, str(PAGE), "exec"), names)
    exec("import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F", names)
    exec("from tests.originals import Original", names)
    exec(compile(original_source, str(PAGE), "exec"), names)
    exec(compile(plugin_source, str(PAGE), "exec"), names)
    assert callable(names["register"])
    (original,) = names["ROWS"]
    for width in (original.width, original.other_width):
        model = original.model(width)
        state = model.state_dict()
        shapes = {k: tuple(v.shape) for k, v in state.items()}
        assert recognize(shapes).spec.arch == "chain", "without it, the generic reading is all there is"
        reading = recognize(shapes, archs=(names["FAMILY"], *ARCHS))
        assert reading.spec.arch == "tower"
        ours = build_module(reading.spec, {p: np.ascontiguousarray(state[k].numpy()) for p, k in reading.keys.items()})
        z = original.latents(2)
        with torch.no_grad():
            torch.testing.assert_close(ours(z), original.draw(model, z), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:draft\.)?([a-z_]+)(?:\(|`)", PAGE.read_text()))))
def test_the_page_names_what_exists(name: str) -> None:
    source = "".join(p.read_text() for p in (PAGE.parents[1] / "gan_export").rglob("*.py"))
    originals = "".join(p.read_text() for p in (PAGE.parents[1] / "tests" / "originals").rglob("*.py"))
    example = "".join(blocks())
    assert re.search(rf"\b{name}\b", source + originals + example), f"{name} is nowhere"
