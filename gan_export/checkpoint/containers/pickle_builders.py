"""Build the objects that a checkpoint's pickle may contain: tensors, arrays, and Python's own containers.

Each builder is a function of this module.  It takes the arguments that the pickle has for the original function, and
computes nothing from them.  Any other call, or one in a form that no writer uses, becomes a Record.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gan_export.checkpoint.containers.tensors import (
    ITEMSIZES,
    GlobalRef,
    OpaqueObject,
    Storage,
    Tensor,
    as_tensor,
    contiguous,
)
from gan_export.errors import GanExportError

_STORAGE_DTYPES: dict[str, str] = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
_NUMPY_DTYPES: dict[str, str] = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
}  # fmt: skip


PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
MOST_NAME = 200  # characters of a class's name


def storage_dtype(kind: object) -> str:
    """Return the dtype of `torch.FloatStorage` and similar classes of any device.  Raises GanExportError for others."""
    if isinstance(kind, GlobalRef) and kind.module.split(".")[0] == "torch" and kind.qualname in _STORAGE_DTYPES:
        return _STORAGE_DTYPES[kind.qualname]
    raise GanExportError("a tensor in a storage of unknown type: damaged or forged")


def construct(function: GlobalRef, args: object) -> object:
    """Return the value of `function(*args)`, or a Record of the call.  Raises GanExportError for forged tensors."""
    builder = _BUILDERS.get(str(function))
    if builder is None or not isinstance(args, tuple):
        return OpaqueObject(function, args)
    try:
        return builder(*args)
    except (_UnsupportedCall, TypeError):
        return OpaqueObject(function, args)


def persistent(function: GlobalRef, args: object) -> OpaqueObject | None:
    """Return the object that NVlabs' `torch_utils.persistence` would rebuild, as a record; None for another call.

    Its one argument is a dict: `class_name`, `state` (the object's attributes) and `module_src`, source text that the
    original runs and this reader doesn't.  The record's class is (torch_utils.persistence, class_name).
    """
    if str(function) != PERSISTENT or not isinstance(args, tuple) or len(args) != 1 or not isinstance(args[0], dict):
        return None
    kind, state = args[0].get("class_name"), args[0].get("state")
    if not isinstance(kind, str) or len(kind) > MOST_NAME or not isinstance(state, dict):
        return None
    return OpaqueObject(GlobalRef(function.module, kind), args, state)


def is_allowed(name: GlobalRef) -> bool:
    """Return whether a name has a builder; other names are reported."""
    return str(name) in _BUILDERS or (
        name.module.split(".")[0] == "torch" and (name.qualname in _STORAGE_DTYPES or name.qualname in ITEMSIZES)
    )


def set_state(target: object, state: object) -> None:
    """Apply `target.__setstate__(state)` to a value of this reader."""
    if not isinstance(target, OpaqueObject):
        return  # attributes of a dict or tensor (OrderedDict's _metadata, hooks), which aren't needed
    target.state = state
    if target.name in _NDARRAYS and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, raw = state
        target.tensor = _array(shape, dtype, bool(fortran), raw)


class _UnsupportedCall(Exception):
    """A call in a form that no writer uses."""


def _require(condition: bool) -> None:
    if not condition:
        raise _UnsupportedCall


# -- torch


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise _UnsupportedCall
    return Tensor(storage, storage.dtype, size, stride, offset)  # type: ignore[arg-type]  # Tensor checks


def _tensor_v3(storage: object, offset: object, size: object, stride: object, *rest: object) -> Tensor:
    """Build a tensor of a dtype without its own storage class; rest: requires_grad, backward_hooks, dtype, metadata."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise _UnsupportedCall
    dtype = rest[2] if len(rest) > 2 else None
    if not isinstance(dtype, GlobalRef) or dtype.module != "torch" or dtype.qualname not in ITEMSIZES:
        raise _UnsupportedCall
    return Tensor(storage, dtype.qualname, size, stride, offset)  # type: ignore[arg-type]  # Tensor checks


def _parameter(data: object, *_: object) -> object:
    _require(as_tensor(data) is not None)
    return data


def _from_type(function: object, kind: object, args: object, state: object) -> object:
    """Build the plain tensor of a tensor subclass."""
    if not isinstance(function, GlobalRef):
        raise _UnsupportedCall
    return construct(function, args)


def _device_tensor(data: object, *_: object) -> object:
    tensor = as_tensor(data)
    if tensor is None:
        raise _UnsupportedCall
    return tensor


def _size(shape: object = ()) -> tuple[object, ...]:
    if not isinstance(shape, (tuple, list)):
        raise _UnsupportedCall
    return tuple(shape)


# -- NumPy


def _array(shape: object, dtype: object, fortran: bool, raw: object) -> Tensor | None:
    found = _numpy_dtype(dtype)
    if isinstance(raw, str):
        raw = _latin1(raw)
    if found is None or not isinstance(shape, tuple) or not isinstance(raw, (bytes, memoryview)):
        return None  # an array of objects, text or dates
    name, big = found
    if not all(type(n) is int for n in shape):
        raise GanExportError("an array whose sizes are not integers: damaged or forged")
    storage = Storage(name, len(raw) // ITEMSIZES[name], memoryview(raw), big_endian=big)
    strides = tuple(reversed(contiguous(tuple(reversed(shape))))) if fortran else contiguous(shape)
    return Tensor(storage, name, shape, strides)


def _numpy_dtype(dtype: object) -> tuple[str, bool] | None:
    """Return (dtype, whether it is big endian) of a pickled numpy.dtype."""
    if (
        not isinstance(dtype, OpaqueObject)
        or dtype.name != GlobalRef("numpy", "dtype")
        or not isinstance(dtype.args, tuple)
    ):
        return None
    code = dtype.args[0] if dtype.args else None
    if not isinstance(code, str) or code.lstrip("<>|=") not in _NUMPY_DTYPES:
        return None
    big = isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] == ">"
    return _NUMPY_DTYPES[code.lstrip("<>|=")], big or code.startswith(">")


def _empty_array(*_: object) -> OpaqueObject:
    return OpaqueObject(GlobalRef("numpy", "ndarray"))


def _from_buffer(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> OpaqueObject:
    """Build an array of pickle protocol 5.  axes: of order "K" (NumPy 2.3), the place of each axis in the array."""
    array = OpaqueObject(GlobalRef("numpy", "ndarray"))
    made = _array(shape, dtype, order == "F", raw)
    if made is not None and order == "K" and axes is not None:
        whole = isinstance(axes, tuple) and all(type(a) is int for a in axes)
        if not isinstance(axes, tuple) or not whole or sorted(axes) != list(range(len(made.shape))):
            raise GanExportError("an array whose axes are not those of its shape: damaged or forged")
        shape_of, strides_of = (tuple(values[a] for a in axes) for values in (made.shape, made.strides))
        made = Tensor(made.storage, made.dtype, shape_of, strides_of, made.offset)
    array.tensor = made
    return array


def _scalar(dtype: object, raw: object = None) -> object:
    """Build a Python number from a NumPy scalar."""
    found = _numpy_dtype(dtype)
    data = _latin1(raw) if isinstance(raw, str) else raw
    if found is None or not isinstance(data, bytes) or len(data) != ITEMSIZES[found[0]]:
        raise _UnsupportedCall
    return np.frombuffer(data, np.dtype(found[0]).newbyteorder(">" if found[1] else "<"))[0].item()


# -- Python


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _UnsupportedCall
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise _UnsupportedCall from None


def _ordered(pairs: object = ()) -> dict[object, object]:
    """Build an OrderedDict: empty, or from Python 2's list of pairs."""
    if not isinstance(pairs, (list, tuple)):
        raise _UnsupportedCall
    result: dict[object, object] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], (str, int)):
            raise _UnsupportedCall
        long = len(pair[0]) > 1024 if isinstance(pair[0], str) else abs(pair[0]) >= 2**59
        if long:
            raise _UnsupportedCall  # as pickles._hashable
        result[pair[0]] = pair[1]
    return result


def _default(*_: object) -> dict[object, object]:
    """Build a defaultdict; its items follow in the pickle."""
    return {}


def _counter(items: object = None) -> dict[object, object]:
    if items is not None and not isinstance(items, dict):
        raise _UnsupportedCall
    return dict(items or {})


def _set(elements: object = ()) -> OpaqueObject:
    if not isinstance(elements, (list, tuple)):
        raise _UnsupportedCall
    return OpaqueObject(GlobalRef("builtins", "set"), elements=list(elements))


def _reconstructed(kind: object, base: object = None, state: object = None) -> OpaqueObject:
    """Build the record of copyreg._reconstructor, by which protocols 0 and 1 make objects of any class."""
    if not isinstance(kind, GlobalRef):
        raise _UnsupportedCall
    return OpaqueObject(kind, (state,))


def _new_object(kind: object, *args: object) -> object:
    if not isinstance(kind, GlobalRef):
        raise _UnsupportedCall
    return construct(kind, args)


_NDARRAYS = (GlobalRef("numpy", "ndarray"),)
_BUILDERS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_device_tensor_from_numpy": _device_tensor,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _device_tensor,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.storage._load_from_bytes": lambda *a: OpaqueObject(GlobalRef("torch.storage", "_load_from_bytes"), a),
    "torch.Size": _size,
    "torch.device": lambda *a: OpaqueObject(GlobalRef("torch", "device"), a),
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": lambda *a: OpaqueObject(GlobalRef("numpy", "dtype"), a),
    "numpy.ndarray": lambda *a: OpaqueObject(GlobalRef("numpy", "ndarray"), a),
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "collections.Counter": _counter,
    "builtins.dict": _ordered,
    "__builtin__.dict": _ordered,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "builtins.frozenset": _set,
    "__builtin__.frozenset": _set,
    "builtins.bytearray": _latin1,
    "__builtin__.bytearray": _latin1,
    "builtins.slice": lambda *a: OpaqueObject(GlobalRef("builtins", "slice"), a),
    "builtins.object": lambda *a: OpaqueObject(GlobalRef("builtins", "object"), a),
    "__builtin__.object": lambda *a: OpaqueObject(GlobalRef("builtins", "object"), a),
    "_codecs.encode": _latin1,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    "copyreg.__newobj__": _new_object,
    "copy_reg.__newobj__": _new_object,
}
