"""Find the names in a checkpoint that run code if a program unpickles it.

This reader never imports or calls a name, so it doesn't need the list.  The list is there to warn users that a file
may be an attack, before they open it with a program that does call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers.tensors import GlobalRef
from gan_export.errors import GanExportError, HostileFileError, printable

MAX_NAMES = 10_000  # names in one file; a training state has a few dozen
_SHOWN = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules that access the system, or run their arguments.
_ROOTS = _words(
    "os posix nt sys subprocess _posixsubprocess importlib _frozen_importlib _frozen_importlib_external _imp imp "
    "zipimport pkgutil socket _socket ssl ctypes _ctypes cffi shutil runpy pty webbrowser antigravity pickle _pickle "
    "cPickle marshal shelve dill cloudpickle joblib signal asyncio concurrent multiprocessing threading _thread "
    "pdb bdb cProfile timeit pydoc doctest pip ensurepip venv setuptools distutils http urllib urllib2 httplib "
    "requests httpx aiohttp ftplib smtplib telnetlib poplib imaplib xmlrpc socketserver paramiko pexpect "
    "popen2 tempfile fileinput linecache sqlite3 dbm gc inspect faulthandler tracemalloc atexit "
    "winreg _winreg _winapi msvcrt pwd spwd crypt resource mmap fcntl idlelib tkinter turtle"
)
_BUILTINS = _words(
    "eval exec execfile compile __import__ open file setattr delattr globals locals vars dir breakpoint input "
    "raw_input apply reduce reload help exit quit __build_class__"
)
# Names of otherwise common modules: dotted names, and beginnings of dotted names.
_NAMES = _words(
    "_functools.reduce _io.FileIO _io.open _io.open_code _operator.call "
    "_operator.methodcaller code.InteractiveConsole code.InteractiveInterpreter "
    "code.interact codecs.open codeop.CommandCompiler codeop.compile_command commands.getoutput "
    "commands.getstatusoutput copyreg.add_extension dnnlib.tflib.network.Network functools.reduce "
    "io.FileIO io.OpenWrapper io.open io.open_code itertools.starmap logging.config numpy.ctypeslib "
    "numpy.distutils numpy.f2py numpy.fromfile numpy.genfromtxt numpy.load numpy.loadtxt numpy.save "
    "numpy.testing operator.call operator.methodcaller pandas.eval "
    "pandas.read_pickle platform.popen profile.Profile profile.run site.main sympy.sympify test.support "
    "torch._C._jit torch._inductor torch.classes torch.compile torch.distributed.elastic "
    "torch.distributed.launch torch.distributed.rpc torch.hub torch.jit._script torch.jit.frontend "
    "torch.jit.load torch.load torch.multiprocessing torch.ops torch.package torch.serialization.load "
    "torch.testing._internal torch.utils._config_module torch.utils.bottleneck torch.utils.collect_env "
    "torch.utils.cpp_extension torch_utils.persistence trace.Trace types.BuiltinFunctionType types.CodeType "
    "types.FunctionType "
    "types.GeneratorType types.LambdaType types.MethodType types.ModuleType types.coroutine unittest.mock"
)
_LONGEST = max(n.count(".") + 1 for n in _NAMES)
# Modules that a dotted name can reach in the module before it: ("torch", "serialization.os.system").
_WITHIN = _words(
    "os posix nt sys subprocess builtins importlib socket ctypes shutil runpy pty webbrowser pickle marshal"
)


# Functions that return a part of an object; most parts are harmless.
_GETTERS = _words("builtins.getattr __builtin__.getattr operator.attrgetter _operator.attrgetter")


class Names:
    """The names in one file for which this reader builds nothing.

    known: the names so far, in order -> whether they run code if a program unpickles the file
    """

    __slots__ = ("_harmless", "known")

    def __init__(self) -> None:
        self.known: dict[str, bool] = {}
        self._harmless: set[str] = set()  # arguments of getters; each is examined once

    def add(self, name: GlobalRef) -> None:
        """Add a name.  Raises GanExportError for more names than any checkpoint has."""
        if len(self.known) >= MAX_NAMES:
            raise GanExportError(f"it names over {MAX_NAMES:,} classes: forged, or save only the state_dict")
        self.known.setdefault(str(name), runs(name))

    def call(self, function: GlobalRef, args: object, budget: Budget) -> None:
        """Note a call that remains an inert record, if its arguments make it one that runs code."""
        getter = str(function)
        if getter in _GETTERS and isinstance(args, tuple) and not self.known.get(getter):
            given = args[:MAX_WORDS]
            budget.spend(2 + 2 * len(given))
            # Cut first: each lookup in a set compares equal texts in full length.
            words = {a[:MAX_WORD] for a in given if isinstance(a, str)} - self._harmless
            for word in words:
                parts = word.split(".")
                budget.spend(len(parts))
                if any(part.startswith("__") or part in _REACHED for part in parts):
                    self.known[getter] = True
                    return
            self._harmless |= words

    def merge(self, other: Names) -> None:
        """Add the names of another file of the same checkpoint."""
        for name, code in other.known.items():
            self.known[name] = code or self.known.get(name, False)

    @property
    def records(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self.known))

    @property
    def code(self) -> tuple[str, ...]:
        """The names that run code, in the file's order."""
        return tuple(name for name, code in self.known.items() if code)


MAX_WORDS = 8  # arguments of a getter that are examined
MAX_WORD = 200  # characters of each
_REACHED = _BUILTINS | _WITHIN | _words("system popen spawn Popen loads")


def warning(code: Iterable[str]) -> str:
    """Return one line on the names of a file that run code if a program unpickles it."""
    names = list(code)
    shown = ", ".join(printable(n, 80) for n in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"names {shown}{more}, code that runs if a program unpickles the file (nothing was run here); don't load it "
        "elsewhere"
    )


@contextlib.contextmanager
def named_first(names: Names) -> Iterator[None]:
    """Turn a refusal within the block into a HostileFileError that first names the code, if the file has any."""
    try:
        yield
    except HostileFileError:
        raise
    except GanExportError as e:
        if names.code:
            raise HostileFileError(f"{warning(names.code)}; {e}") from None
        raise


def runs(name: GlobalRef) -> bool:
    """Return whether unpickling or calling the name can run code of the file's choice."""
    module, dotted = name.module, f"{name.module}.{name.qualname}"
    root = module.split(".", 1)[0]
    parts, path = name.qualname.split("."), dotted.split(".", _LONGEST)
    return (
        root in _ROOTS
        or (root in ("builtins", "__builtin__", "__builtins__") and (parts[0] in _BUILTINS or len(parts) > 1))
        or any(".".join(path[:n]) in _NAMES for n in range(2, _LONGEST + 1))
        or any(p in _WITHIN for p in parts)
        or (len(parts) > 1 and any(p.startswith("__") for p in parts))
        or "__builtins__" in module.split(".")
    )
