"""Shared code of the four commands: the default-group pattern, one-line errors, exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from gan_export._lib.extras import explained
from gan_export.cli.say import remark, say
from gan_export.errors import GanExportError, Topic, printable

INTERRUPTED = 130
_NEXT: ContextVar[str] = ContextVar("what to do after an interrupt", default="")
WRONG_USAGE: type[Exception] = cast(Any, typer.BadParameter.__mro__[1])  # UsageError, which typer doesn't export


def default_group(command: str) -> type[TyperGroup]:
    """A group whose default is `command`, unless the first word is a sub-command.

    So `gan-sample g.onnx` and `gan-sample check DIR` both work; the few reserved words take precedence.
    """

    class DefaultGroup(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            wants_help = bool(args) and args[0] in ("--help", "-h")
            if not args and ctx.resilient_parsing:  # the first word is being completed
                return super().parse_args(ctx, args)
            if not wants_help and (not args or args[0] not in self.commands):
                args = [command, *args]
            return super().parse_args(ctx, args)

        def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
            """Return the sub-commands, and what the first argument of the default command can be."""
            first = self.commands[command].params[0].shell_complete(ctx, incomplete)
            return [*super().shell_complete(ctx, incomplete), *(item for item in first if item.type == "plain")]

        def format_usage(self, ctx: Any, formatter: Any) -> None:
            """Write the usage of the default command, which is used most."""
            default = self.commands[command]
            formatter.write_usage(ctx.command_path, " ".join(default.collect_usage_pieces(ctx)))

        def format_options(self, ctx: Any, formatter: Any) -> None:
            """Write the arguments and options of the default command, then the sub-commands."""
            default = self.commands[command]
            default.format_options(ctx, formatter)
            self.format_commands(ctx, formatter)

    return DefaultGroup


def new_app(help: str, default: str) -> typer.Typer:
    """Return a typer application with plain errors, no completion installer, and `default` as its default command."""
    app = typer.Typer(
        cls=default_group(default),
        help=help,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    app.callback()(_group)
    return app


def _group() -> None:
    """Keep an application with one command a group."""


def main(app: typer.Typer, program: str) -> NoReturn:
    """Run `app` as `program`, without a traceback for errors that a user can cause.

    Exit codes: 0 done, 1 a check failed, 2 bad input or an unusable environment, 130 interrupted, 128 + N ended by
    signal N.  GAN_EXPORT_TRACEBACK=1 shows the traceback too, for a bug report.
    """
    if os.environ.get(f"_{program.replace('-', '_').upper()}_COMPLETE"):  # a shell asks for completions
        from typer import completion

        completion.get_completion_inspect_parameters()  # registers the shells
    _NEXT.set("")
    with _ended_as_interrupted() as ending:
        try:
            with explained("this command"):
                code = app(prog_name=program, standalone_mode=False)
        except GanExportError as e:
            _fail(program, str(e), e.exit_code, e.topic)
        except WRONG_USAGE as e:
            _fail(program, _usage(e), 2)
        except (KeyboardInterrupt, typer.Abort):
            _fail(program, *ending.outcome())
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except (OSError, MemoryError) as e:
            _fail(program, describe(e), 2)
        if code == INTERRUPTED:  # typer has caught the interrupt without printing anything
            _fail(program, *ending.outcome())
        sys.exit(code or 0)


def if_interrupted(advice: str) -> None:
    """Add to the line of an interrupted command how its work is continued."""
    _NEXT.set(advice)


def print_program(path: Path) -> None:
    """Print a warning, before the file is run, if it is a program from an unknown source."""
    from gan_export.formats import programs

    if line := programs.note(path):
        say(f"warning: {line}", error=True)


def print_warnings(lines: Iterable[str]) -> None:
    """Print the warnings about a file on standard error."""
    for line in lines:
        say(f"warning: {line}", error=True)


# How pydantic, which typer converts values with, words a value that doesn't fit, and the words of this project.
_WORDED = (
    (re.compile(r"Input should be a valid integer.*"), "must be a whole number"),
    (re.compile(r"Input should be a valid number.*"), "must be a number"),
    (re.compile(r"Input should be greater than or equal to"), "must be at least"),
    (re.compile(r"Input should be less than or equal to"), "must be at most"),
)


def _usage(error: Any) -> str:
    """Return one line for a usage error of typer: the message, and the command that prints the help."""
    message: str = error.format_message().strip().rstrip(".")
    for pattern, plain in _WORDED:
        message = pattern.sub(plain, message)
    help = f"; see `{error.ctx.command_path} -h`" if error.ctx else ""
    return " ".join((message[:1].lower() + message[1:]).split()) + help


class _Ending:
    """A signal handler that turns a terminating signal into a Ctrl-C, so that half-written files are removed.

    Only the first signal counts: `timeout` and others send two, and the second must not interrupt the cleanup.
    """

    def __init__(self) -> None:
        self.number = 0

    def take(self, number: int, frame: object) -> None:
        if not self.number:
            self.number = number
            raise KeyboardInterrupt

    def outcome(self) -> tuple[str, int]:
        """Return the message, with what continues the work, and the exit code."""
        following = f"; {_NEXT.get()}" if _NEXT.get() else ""
        if not self.number:
            return f"interrupted{following}", INTERRUPTED
        return f"ended by {signal.Signals(self.number).name}{following}", 128 + self.number


@contextlib.contextmanager
def _ended_as_interrupted() -> Iterator[_Ending]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, unless the process was started with them ignored, as by nohup."""
    ending, before = _Ending(), {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, ending.take)
    own = os.getpid()

    def forked() -> None:
        if before and os.getpid() != own:
            for number in before:
                signal.signal(number, signal.SIG_DFL)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()


def describe(error: BaseException) -> str:
    """Return one line for an operating-system error: the file and the reason."""
    if isinstance(error, MemoryError):
        return "out of memory; generate fewer or smaller images at once"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def _fail(program: str, message: str, code: int, topic: Topic | None = None) -> NoReturn:
    if os.environ.get("GAN_EXPORT_TRACEBACK"):
        import traceback

        traceback.print_exc()
    say(f"{program}: {printable(message, limit=2000)}", error=True)
    if topic is not None:
        remark(f"  see gan-export help {topic.word}")
    sys.exit(code)
