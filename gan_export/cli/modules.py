"""--module, --kwargs, --pythonpath and --signature: a user's class instead of a recognized checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_export._lib import plaindata
from gan_export.cli import tables
from gan_export.cli.say import say
from gan_export.errors import GanExportError, Topic, linked, printable
from gan_export.recognize.options import ReadOptions

if TYPE_CHECKING:
    from gan_export.checkpoint.user_module import UserModule
    from gan_export.graph.signature import Signature


@linked(Topic.MODULES)
def read(
    file: Path,
    target: str,
    overrides: ReadOptions,
    *,
    kwargs: str | None,
    search: Sequence[Path],
    signature: Path | None,
    strict: bool,
) -> UserModule:
    """Import the class that `target` names, and load FILE's weights into it.

    strict: refuse a file that names code to run; the file is never run.
    Raises GanExportError for flags of recognition other than --key, which have no meaning for a class.
    """
    from gan_export import checkpoint
    from gan_export.checkpoint import user_module

    flags = {name for name in overrides.explicit() if name != "key"}
    if flags:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(flags))
        raise GanExportError(f"{named} is for checkpoints that gan-export recognizes, not for --module; leave it out")
    for folder in search:
        if not folder.is_dir():
            raise GanExportError(f"--pythonpath {printable(str(folder))}: no such folder")
    user = user_module.from_class(
        file,
        target,
        kwargs=_kwargs(kwargs),
        search=search,
        key=overrides.key,
        signature=_signature(signature),
    )
    if strict:
        checkpoint.refuse_code(user.source)
    tables.warn_of_code(user.source)
    return user


@linked(Topic.MODULES)
def refuse_alone(kwargs: str | None, search: Sequence[Path] | None, signature: Path | None) -> None:
    """Raise GanExportError for a flag that needs --module."""
    for flag, value in (("--kwargs", kwargs), ("--pythonpath", search), ("--signature", signature)):
        if value:
            raise GanExportError(f"{flag} goes with --module pkg.mod:Class; name the class too, or leave it out")


def print_assumed(user: UserModule) -> None:
    """Print the settings that were found by trial, and the flags that set them."""
    if user.assumed:
        line = "; ".join(user.assumed)
        say(f"assumed: {printable(line, limit=1000)} (--signature)", error=True)


def _kwargs(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        data = plaindata.from_json(text)
    except ValueError as e:
        raise GanExportError(f"--kwargs is not JSON: {printable(str(e))}") from None
    if not isinstance(data, dict):
        raise GanExportError('--kwargs is an object of JSON, such as {"nz": 100}')
    return data


def _signature(path: Path | None) -> Signature | None:
    from gan_export.graph.signature import Signature

    if path is None:
        return None
    try:
        data = plaindata.from_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GanExportError(f"{printable(str(path))}: no such file") from None
    except (OSError, ValueError) as e:
        raise GanExportError(f"{printable(str(path))} can't be read as TOML: {printable(str(e))}") from None
    try:
        return Signature.from_data(data)
    except GanExportError as e:
        raise GanExportError(f"{printable(str(path))}: {e}") from None
