"""Arrays of NumPy's .npy files; arrays of Python objects are taken apart without executing anything."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from netassay.errors import DataError, first_line
from netassay.inputs import refuse_odd_file

MOST_OBJECTS = 10_000_000


class _Name(NamedTuple):
    """A global that the stream names; it is never looked up."""

    words: str


class _Call(NamedTuple):
    """A call that the stream asks for; nothing is called."""

    maker: str
    arguments: tuple[Any, ...]


# the globals that NumPy's own array writer names, in NumPy 1 and 2
_KNOWN = {f"{core}.multiarray _reconstruct": "reconstruct" for core in ("numpy.core", "numpy._core")} | {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_MARK = _Name("mark")


def read_array(path: Path) -> np.ndarray:
    """Numbers or fixed-width text of a .npy file, mapped where it holds numbers; DataError for any other."""
    refuse_odd_file(path)
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise ValueError("it is a zip archive, as .npz files are")
        return np.load(path, mmap_mode="r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # headers are read by Python's own parser, which raises many kinds
        raise DataError(f"{path}: is not an array of numbers in NumPy's .npy format ({first_line(error)})") from error


def read_words(path: Path) -> np.ndarray:
    """Text, numbers and None of a .npy file as an object array of any shape; bytes are decoded as UTF-8.

    Arrays of objects are a pickle stream, which could run any code. It is taken apart by its opcodes alone: those
    by which NumPy writes an array of text, numbers and None are followed, without importing or calling anything;
    all others are refused. Raises DataError for these and for damaged files.
    """
    refuse_odd_file(path)
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
            if not dtype.hasobject:
                array = read_array(path).astype(object)
                return _decoded(path, array)
            values = _values(path, file, shape)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    array = np.empty(len(values), object)
    array[:] = values
    return _decoded(path, array.reshape(shape))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except Exception as error:  # headers are read by Python's own parser, which raises many kinds
        raise DataError(f"{file.name}: is not an array in NumPy's .npy format ({first_line(error)})") from error
    return shape, dtype


def _values(path: Path, file: BinaryIO, shape: tuple[int, ...]) -> list[Any]:
    """The list of objects in the state of the one array that the stream describes."""
    built = _follow(path, file)
    try:
        (call, (version, inner_shape, kind, _fortran, values)) = built
        fits = (
            call.maker == "reconstruct"
            and call.arguments[0] == _Name("ndarray")
            and version == 1
            and kind[0].maker == "dtype"
            and kind[0].arguments[0] in ("O8", "O4", "O")
            and tuple(inner_shape) == tuple(shape)
            and isinstance(values, list)
            and len(values) == int(np.prod(shape, dtype=np.int64))
        )
    except (TypeError, ValueError, AttributeError, IndexError):
        fits = False
    if not fits:
        raise DataError(f"{path}: does not describe an array of objects of shape {shape}; {_ADVICE}")
    if odd := next((v for v in values if not isinstance(v, str | bytes | int | float | None)), None):
        raise DataError(f"{path}: holds {odd!r:.60}; allowed are text, numbers and None; {_ADVICE}")
    return values


def _follow(path: Path, file: BinaryIO) -> Any:
    """The value that the stream ends with, calls left as `_Call`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, offset in pickletools.genops(file):
            if len(stack) > MOST_OBJECTS or len(memo) > MOST_OBJECTS:
                raise DataError(f"{path}: holds more than {MOST_OBJECTS:,} objects")
            if opcode.name == "STOP":
                return stack.pop()
            act = _ACTS.get(opcode.name)
            if act is None:
                raise DataError(f"{path}: opcode {opcode.name} at byte {offset} is not part of an array; {_ADVICE}")
            act(stack, memo, argument)
    except DataError:
        raise
    except _Refused as refused:
        raise DataError(f"{path}: names {refused}, which could run code; {_ADVICE}") from None
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: the objects of the array are damaged or cut ({error}); {_ADVICE}") from error
    raise DataError(f"{path}: the objects of the array are cut; {_ADVICE}")


_ADVICE = "write it again as an array of text: numpy.save(path, array.astype(str))"


class _Refused(Exception):
    pass


def _push(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(argument)


def _constant(value: Any) -> Callable[[list[Any], dict[int, Any], Any], None]:
    return lambda stack, memo, argument: stack.append(value)


def _nothing(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    pass


def _global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    if argument is None:  # STACK_GLOBAL takes module and name from the stack
        name, module = stack.pop(), stack.pop()
        argument = f"{module} {name}"
    if argument not in _KNOWN:
        raise _Refused(repr(argument)[:80])
    stack.append(_Name(_KNOWN[argument]))


def _put(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    memo[len(memo) if argument is None else argument] = stack[-1]


def _get(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(memo[argument])


def _above_mark(stack: list[Any]) -> list[Any]:
    mark = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[mark + 1 :]
    del stack[mark:]
    return items


def _tuple_of(count: int) -> Callable[[list[Any], dict[int, Any], Any], None]:
    def act(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        if len(stack) < count:
            raise IndexError("the stack is empty")
        items = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(items)

    return act


def _marked_tuple(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(tuple(_above_mark(stack)))


def _list(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    # a list that is filled later is the same object in the memo
    stack.append([])


def _marked_list(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(_above_mark(stack))


def _append(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    item = stack.pop()
    _as_list(stack[-1]).append(item)


def _appends(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    items = _above_mark(stack)
    _as_list(stack[-1]).extend(items)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("the target is not a list")
    return value


def _reduce(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    arguments, maker = stack.pop(), stack.pop()
    if not isinstance(maker, _Name) or not isinstance(arguments, tuple):
        raise TypeError("a call of an unknown maker")
    if maker.words == "encode":
        # how Python 2 protocols hold bytes: encode(text, "latin1")
        text, encoding = arguments
        if encoding != "latin1":
            raise TypeError(f"an encoding {encoding!r:.20}")
        stack.append(text.encode("latin1"))
    else:
        stack.append(_Call(maker.words, arguments))


def _build(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    state, call = stack.pop(), stack.pop()
    stack.append((call, state))


_ACTS: dict[str, Callable[[list[Any], dict[int, Any], Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _global),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), _push),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "MARK": _constant(_MARK),
    "EMPTY_TUPLE": _constant(()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": _marked_tuple,
    "EMPTY_LIST": _list,
    "LIST": _marked_list,
    "APPEND": _append,
    "APPENDS": _appends,
    "REDUCE": _reduce,
    "BUILD": _build,
}


def _decoded(path: Path, array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    for index, value in enumerate(flat):
        if isinstance(value, bytes):
            try:
                flat[index] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: value {index} is {value!r:.40}, which is not UTF-8") from error
    return array
