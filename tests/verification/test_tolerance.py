"""Bytes that rounding puts on the other side: how many of them parity takes."""

from __future__ import annotations

import numpy as np
import pytest

from gan_export.formats import tolerance
from gan_export.graph.signature import Signature
from gan_export.verification import compare

SIGNATURE = Signature.of_latent(1, "normal", (1, 32, 32))


def judged(pictures: int, off: int) -> compare.BatchComparison:
    """Pictures of zeros, byte 128, of which `off` values lie a millionth below: byte 127."""
    wanted = np.zeros((pictures, 1, 32, 32))
    got = wanted.astype(np.float32)
    got.reshape(-1)[:off] = -1e-6
    return compare.compare_batch({"image": got}, {"image": wanted}, SIGNATURE, tolerance.rule("onnx", "fp32").given())


@pytest.mark.parametrize("pictures", [1, 16, 65, 2000])
def test_chance_is_taken_and_more_is_not(pictures: int) -> None:
    size = pictures * 1024
    most = compare.most_bytes_off(size, 1e-4)
    assert judged(pictures, most).passed
    assert not judged(pictures, most + 1).passed
    assert judged(pictures, most).byte_step == 1


def test_the_share_is_what_counts_in_many_bytes() -> None:
    assert compare.most_bytes_off(100, 1e-4) == 1
    assert compare.most_bytes_off(10**10, 1e-4) < 1.01 * 10**6
    # a runtime of half the share passes a batch of 16 pictures 999 times of 1,000
    rng = np.random.default_rng(0)
    rejected = rng.poisson(0.5e-4 * 16384, 10**5) > compare.most_bytes_off(16384, 1e-4)
    assert rejected.mean() < 1e-3
    # one of ten times the share never does
    assert (rng.poisson(1e-3 * 16384, 10**4) <= compare.most_bytes_off(16384, 1e-4)).mean() < 0.01
