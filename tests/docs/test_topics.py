"""The sections that explain errors: each exists under its anchor, `gan-export help` prints it, and errors name it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export.cli import pages
from gan_export.errors import GanExportError, Topic, UnavailableError, linked
from gan_export.training import recipe
from tests.conftest import Command


@pytest.mark.parametrize("topic", Topic)
def test_each_topic_is_a_section(topic: Topic) -> None:
    text = pages.section(topic)
    assert text.startswith("#")
    assert len(text.split()) > 20
    assert "](" not in text, "a link that a terminal can't follow"
    assert f"#{topic.anchor}" not in text


def test_help_lists_the_topics_and_prints_one(command: Command) -> None:
    listed = command("gan-export", "help")
    assert listed.code == 0, listed
    assert all(f" {topic.word} " in listed.out for topic in Topic)
    shown = command("gan-export", "help", "mismatch")
    assert shown.code == 0, shown
    assert shown.out.startswith("If it doesn't match")
    assert "A failed export writes nothing" in shown.out
    assert shown.out.endswith("from docs/guides/verify.md, a page of the source repository\n")
    wrong = command("gan-export", "help", "mismatches")
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)


def test_an_error_keeps_the_first_topic_that_it_gets() -> None:
    def leaves(error: Exception) -> Topic | None:
        with pytest.raises(GanExportError) as left, linked(Topic.RUNS), linked(Topic.RECIPES):
            raise error
        return left.value.topic

    assert leaves(GanExportError("x")) == Topic.RECIPES
    assert leaves(GanExportError("x", topic=Topic.STYLES)) == Topic.STYLES
    assert leaves(UnavailableError("x")) == Topic.MISSING
    with pytest.raises(GanExportError, match="no-such-recipe") as left:
        recipe.load("no-such-recipe/g.toml")
    assert left.value.topic is None, "a missing file needs no page"
    again = pickle.loads(pickle.dumps(GanExportError("x", topic=Topic.STYLES)))
    assert (str(again), again.topic) == ("x", Topic.STYLES)


def test_the_commands_name_the_section(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3, 4, 5)}, tmp_path / "other.pth")
    (tmp_path / "recipe.toml").write_text("[train]\nepoch = 3\n")
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8))
    for words, topic in (
        (("gan-export", "onnx", tmp_path / "other.pth"), Topic.REFUSED),
        (("gan-export", "onnx", tmp_path / "a.npz"), Topic.REFUSED),
        (("gan-export", "onnx", classic_pth, "--slope", "7"), Topic.FLAGS),
        (("gan-export", "onnx", classic_pth, "--psi", "0.5"), Topic.FLAGS),
        (("gan-export", "onnx", classic_pth, "--key", "netG"), Topic.NETWORKS),
        (("gan-export", "inspect", classic_pth, "--strict"), Topic.UNSETTLED),
        (("gan-export", "onnx", classic_pth, "--method", "trace"), Topic.FORMATS),
        (("gan-export", "onnx", classic_pth, "--module", "Tower"), Topic.MODULES),
        (("gan-train", tmp_path / "recipe.toml"), Topic.RECIPES),
        (("gan-train", "resume", tmp_path), Topic.RUNS),
        (("gan-sample", "check", tmp_path), Topic.DATASET_CHECK),
        (("gan-sample", classic_pth, "--psi", "x"), Topic.STYLES),
        (("gan-bench", "--suite", "quik"), Topic.SUITES),
        (("gan-bench", "compare", tmp_path / "recipe.toml", tmp_path / "recipe.toml"), Topic.BENCH_RESULTS),
        (("gan-export", "onnx", tmp_path / "missing.pth"), None),
        (("gan-sample", classic_pth, "-n", "0"), None),
    ):
        result = command(*words)
        assert result.code == 2, result
        line, *more = result.err.splitlines()
        assert line.startswith(f"{words[0]}: "), result
        assert more == ([] if topic is None else [f"  see gan-export help {topic.word}"]), result
