"""A spec as plain data: read back equal, and refused where it is damaged."""

from __future__ import annotations

import copy
import json
import random

import pytest

from gan_export.errors import GanExportError
from gan_export.recognize import GeneratorSpec, recognize
from tests.originals import ORIGINALS
from tests.recognize.test_detect import SMALL

SPECS = {o.name: recognize(SMALL[o.name], o.overrides).spec for o in ORIGINALS}


@pytest.mark.parametrize("name", list(SPECS))
def test_json_gives_an_equal_spec(name: str) -> None:
    assert GeneratorSpec.from_json(json.loads(json.dumps(SPECS[name].to_json()))) == SPECS[name]


@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [(1, "kernel", 4.0), (1, "kernel", True), (1, "stride", "1"), (1, "bias", 1), (2, "eps", float("inf")),
     (3, "kind", "gelu"), (0, "shape", [100.0, 1, 1]), (1, "inputs", "seed"), (1, "name", 7), (1, "kernel", 2**70)],
)  # fmt: skip
def test_fields_of_another_type_are_refused(layer: int, field: str, value: object) -> None:
    data = copy.deepcopy(SPECS["classic"].to_json())
    data["layers"][layer][field] = value
    with pytest.raises(GanExportError):
        GeneratorSpec.from_json(data)


def test_damaged_specs_end_in_a_spec_or_a_refusal() -> None:
    junk = [None, True, -1, 0, 2.5, "", "z", "\n\x1b", [], [1, 2], {}, 10**30, float("nan"), ["z", "z"]]
    for seed in range(1000):
        draw = random.Random(seed)
        data = copy.deepcopy(SPECS[draw.choice(list(SPECS))].to_json())
        for _ in range(draw.randint(1, 3)):
            place = draw.choice([data, *(la for la in data["layers"] if isinstance(la, dict))])
            key = draw.choice([k for k in place if k != "layers"] or ["x"])
            match draw.randrange(3):
                case 0:
                    place[key] = draw.choice(junk)
                case 1:
                    place.pop(key, None)
                case 2:
                    draw.shuffle(data["layers"])
        try:
            spec = GeneratorSpec.from_json(data)
        except GanExportError as e:
            assert "\n" not in str(e), seed  # noqa: PT017
            continue
        assert GeneratorSpec.from_json(spec.to_json()) == spec
