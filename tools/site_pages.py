"""The pages of the site that are generated: commands, formats and families."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
PROGRAMS = ("gan-export", "gan-sample", "gan-bench", "gan-train")


def commands() -> str:
    """Return the page of all commands with their arguments and options, from the typer applications."""
    programs = [line for program in PROGRAMS for line in _program(program)]
    return _written("commands") + "\n".join([*programs, *_reading_flags()])


def formats() -> str:
    """Return the page of the formats."""
    from gan_export.pipeline import table

    return _written("formats") + str(table.markdown())


def families() -> str:
    """Return the page of the families of generators."""
    after = "\nActivations, eps and latents are the defaults of the family's code; evidence in a file can settle them "
    return _written("families") + family_table() + after + "otherwise ([how](../checkpoints.md)).\n"


def family_table() -> str:
    """Return the families as a Markdown table."""
    from gan_export._lib.escape import markdown_text
    from gan_export.recognize.registry import ARCHS

    sys.path.insert(0, str(REFERENCE.parents[1]))
    from tests.exporters.matrix import CORE, EXPORTED  # the parameters of the tests, without their imports

    rows = [
        "| `--arch` | Whose files | Hidden activations | BatchNorm eps | Latents | Tested in |",
        "|---|---|---|---|---|---|",
    ]
    for family in ARCHS:
        if family.name in _WITHOUT_DEFAULTS:
            hidden, eps, prior = "as the code has them", "", "" if family.name in _IMAGES_IN else "normal"
        else:
            slope = family.slope
            hidden = "ELU" if slope == "elu" else f"LeakyReLU {slope:g}" if slope else "ReLU"
            eps, prior = f"{family.bn_eps:g}", family.prior
        source = str(markdown_text(family.source)) + (" (generic)" if family.generic else "")
        cells = (f"`{family.name}`", source, hidden, eps, prior or "images in", _formats(EXPORTED[family.name], CORE))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/formats.md": formats,
    "reference/families.md": families,
}
_IMAGES_IN = ("junyanz_resnet", "junyanz_unet", "rrdb", "srvgg", "srresnet", "gfpgan")
_WITHOUT_DEFAULTS = (
    *_IMAGES_IN, "stylegan2", "stylegan2_rosinality", "stylegan2_lucidrains", "stylegan3", "stylegan_xl", "r3gan",
    "biggan", "biggan_huggingface", "fastgan", "lightweight_gan", "progan", "progan_akanimax", "progan_rosinality",
)  # fmt: skip


def _formats(names: Sequence[str], core: Sequence[str]) -> str:
    """Return the names of formats for a cell; "core" stands for all of `core`."""
    if set(core) <= set(names):
        names = ("core", *(name for name in names if name not in core))
    return ", ".join(names)


def _written(name: str) -> str:
    """Return the part of a page that is written by hand, which comes first."""
    return (REFERENCE / f"{name}.in.md").read_text(encoding="utf-8") + "\n"


def _program(program: str) -> Iterator[str]:
    """Yield the lines of one program: its default command first."""
    import importlib

    import typer

    app = importlib.import_module(f"gan_export.cli.{program.removeprefix('gan-')}").app
    group: Any = typer.main.get_command(app)
    summary, _, examples = (group.help or "").partition("\b")
    yield from ("", f"## {program}", "", _prose(summary), "")
    if examples.strip():
        yield from ("```", *(line.rstrip() for line in examples.strip("\n").splitlines()), "```", "")
    shown = {name: command for name, command in group.commands.items() if not command.hidden}
    (default,) = [name for name in group.commands if name in _DEFAULTS]
    if default not in shown:
        yield from _command(program, group.commands[default], program)
    for name, command in shown.items():
        words = program if name == default else f"{program} {name}"
        yield from _command(words, command, f"{program} {name}")


_DEFAULTS = ("export", "sample", "bench", "run")


def _command(words: str, command: Any, title: str) -> Iterator[str]:
    usage = " ".join(_metavar(p) for p in command.params if p.param_type_name == "argument")
    yield from (f"### {title}", "", f"    {words} {usage} [options]", "", _prose(command.help or ""), "")
    rows = [p for p in command.params if not getattr(p, "hidden", False)]
    own = [p for p in rows if p.name not in _reading()]
    if own:
        yield from _table(own)
    if len(own) < len(rows):
        yield from ("It also takes the [flags that say how a checkpoint is read](#reading).", "")


def _reading() -> frozenset[str]:
    """Return the names of the parameters that all commands that read checkpoints share."""
    import dataclasses

    from gan_export.recognize.options import ReadOptions

    return frozenset(field.name for field in dataclasses.fields(ReadOptions))


def _reading_flags() -> Iterator[str]:
    """Yield the section of these flags."""
    import typer

    from gan_export.cli import export

    (inspect,) = [c for name, c in typer.main.get_command(export.app).commands.items() if name == "inspect"]  # type: ignore[attr-defined]
    yield from ("", "## How a checkpoint is read { #reading }", "")
    yield from (
        "Each command that reads a checkpoint takes these flags. [What each says](../checkpoints.md#what-a-flag-says).",
        "",
    )
    yield from _table([p for p in inspect.params if p.name in _reading()])


def _table(rows: Sequence[Any]) -> Iterator[str]:
    yield from ("| Argument or option | Meaning | Default |", "|---|---|---|")
    for parameter in rows:
        yield f"| {_name(parameter)} | {_cell(parameter.help or '')} | {_default(parameter)} |"
    yield ""


def _metavar(parameter: Any) -> str:
    name = str(parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    return ", ".join(f"`{o}`" for o in sorted(parameter.opts, key=len))


def _default(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "required" if parameter.required else ""
    shown = parameter.show_default if isinstance(parameter.show_default, str) else None
    value = shown or parameter.default
    if value is None or value is False or callable(value) or value == ():
        return "required" if parameter.required else ""
    return _cell(f"`{value}`") if shown is None else _cell(shown)


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|").replace("\n", " ")


def _prose(text: str) -> str:
    """Return text of a help as Markdown: braces and angles are shown as they are."""
    joined = re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())
    return joined.replace("<", "&lt;").replace("*", "\\*").replace("{", "&#123;")
