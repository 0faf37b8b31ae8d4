"""Which names a checkpoint has no use for.

Nothing that a file names is ever imported or called here, so this list protects no one on this path: it is
there to say plainly that a file is an attack, before its reader opens it with something that does call.
"""

from __future__ import annotations

from gan_export.checkpoint.values import Name
from gan_export.errors import HostileFileError, printable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules of which no checkpoint names anything.
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
    "eval exec execfile compile __import__ open file getattr setattr delattr globals locals vars dir breakpoint input "
    "raw_input map filter apply reduce reload help exit quit __build_class__ memoryview super classmethod staticmethod "
    "property callable"
)
# Of modules that otherwise are common: whole dotted names, or what others begin with.
_NAMES = _words(
    "_functools.reduce _io.FileIO _io.open _io.open_code _operator.attrgetter _operator.call "
    "_operator.itemgetter _operator.methodcaller code.InteractiveConsole code.InteractiveInterpreter "
    "code.interact codecs.open codeop.CommandCompiler codeop.compile_command commands.getoutput "
    "commands.getstatusoutput copyreg.add_extension functools.partialmethod functools.reduce "
    "io.FileIO io.OpenWrapper io.open io.open_code itertools.starmap logging.config numpy.ctypeslib "
    "numpy.distutils numpy.f2py numpy.fromfile numpy.genfromtxt numpy.load numpy.loadtxt numpy.save "
    "numpy.testing operator.attrgetter operator.call operator.itemgetter operator.methodcaller pandas.eval "
    "pandas.read_pickle platform.popen profile.Profile profile.run site.main sympy.sympify test.support "
    "torch._C._jit torch._inductor torch.classes torch.compile torch.distributed.elastic "
    "torch.distributed.launch torch.distributed.rpc torch.hub torch.jit._script torch.jit.frontend "
    "torch.jit.load torch.load torch.multiprocessing torch.ops torch.package torch.serialization.load "
    "torch.testing._internal torch.utils._config_module torch.utils.bottleneck torch.utils.collect_env "
    "torch.utils.cpp_extension trace.Trace types.BuiltinFunctionType types.CodeType types.FunctionType "
    "types.GeneratorType types.LambdaType types.MethodType types.ModuleType types.coroutine unittest.mock"
)
_LONGEST = max(n.count(".") + 1 for n in _NAMES)
# Reached through a dotted name ("torch", "serialization.os.system"): what these modules have imported.
_WITHIN = _words(
    "os posix nt sys subprocess builtins importlib socket ctypes shutil runpy pty webbrowser pickle marshal"
)


def check_name(name: Name) -> None:
    """Raises HostileFileError for a name that no checkpoint has a use for."""
    module, dotted = name.module, f"{name.module}.{name.qualname}"
    root = module.split(".", 1)[0]
    parts, path = name.qualname.split("."), dotted.split(".", _LONGEST)
    hostile = (
        root in _ROOTS
        or (root in ("builtins", "__builtin__", "__builtins__") and (parts[0] in _BUILTINS or len(parts) > 1))
        or any(".".join(path[:n]) in _NAMES for n in range(2, _LONGEST + 1))
        or any(p in _WITHIN for p in parts)
        or (len(parts) > 1 and any(p.startswith("__") for p in parts))
        or "__builtins__" in module.split(".")
    )
    if hostile:
        raise HostileFileError(
            f"names {printable(dotted, 80)}, which no checkpoint has a use for: it would run code in a program that "
            "unpickles it (nothing of it was run here); don't load it elsewhere"
        )
