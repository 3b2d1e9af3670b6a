"""A module that a Python file makes, and the weights of a checkpoint put into it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from netassay.errors import ConfigError, ModelError, NetassayError
from netassay.nets.sources import sources

_WRAPPERS = ("", "module.", "model.", "_orig_mod.")  # what wrappers put before the names of weights
FORM = "FILE.py:NAME, the file and the function in it (without arguments) that gives the module"


def module_of(spec: str, kinds: tuple[type, ...] = (nn.Module,), *, or_else: str = "") -> Any:
    """The result of the function that `spec` ("FILE.py:make") names, one of `kinds`.

    The file is imported: its code runs. Modules that it imports from its own folder are imported anew as well.

    Args:
        spec: File and function; or the name of an object in the file that is one of `kinds`.
        kinds: Allowed types.
        or_else: Names of the types besides a module, for errors.

    Returns:
        The module.

    Raises:
        ConfigError: For a file or function that does not exist, fails, or gives something else.
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise ConfigError(f"module = {spec!r}: give {FORM}")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"module = {spec!r}: there is no file {file}; give {FORM}")
    form = importlib.util.spec_from_file_location(path.stem, path)
    if form is None or form.loader is None:
        raise ConfigError(f"module = {spec!r}: {file} is no Python file; give {FORM}")
    code = importlib.util.module_from_spec(form)
    _forget_beside(path)
    sys.path.insert(0, str(path.parent.resolve()))  # where the file finds others beside it
    try:
        form.loader.exec_module(code)
        make = getattr(code, name, None)
        if make is None:
            callables = [key for key, value in vars(code).items() if callable(value) and not key.startswith("_")]
            names = ", ".join(callables) or "no function"
            raise ConfigError(f"module = {spec!r}: {file} has no {name!r}; it has {names}")
        answer = make() if callable(make) and not isinstance(make, kinds) else make
    except NetassayError:
        raise
    except Exception as error:  # of code that is not ours
        raise ConfigError(
            f"module = {spec!r}: {name} of {file} failed ({type(error).__name__}: {error}); it is called without "
            "arguments and must return a torch.nn.Module"
        ) from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    if not isinstance(answer, kinds):
        raise ConfigError(f"module = {spec!r}: {name} gives a {type(answer).__name__}, no torch.nn.Module{or_else}")
    return answer


def _forget_beside(path: Path) -> None:
    """Forgets modules of an earlier import of this file, and those of the same names from another file's folder.

    Otherwise the code that runs would not be that of the files. Modules that can be imported from elsewhere are left
    alone.
    """
    for name, file in sources(path).items():
        module = None if name.partition(".")[0] in sys.stdlib_module_names else sys.modules.get(name)
        if module is not None and name != "__main__":
            top = PathFinder.find_spec(name.partition(".")[0])
            if top is None or not top.origin or Path(top.origin).parent in (file.parent, *file.parents):
                del sys.modules[name]


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts the tensors of a file into a module, whatever wrapper they were saved from; ModelError where they differ."""
    expected = model.state_dict()
    # files of before PyTorch 0.4.1 do not count the batches
    counts = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    wrapped = ({name.removeprefix(prefix): t for name, t in state.items()} for prefix in _WRAPPERS)
    own = next((candidate for candidate in wrapped if set(counts | candidate) == set(expected)), dict(state))
    own = {**counts, **own}
    missing, more = sorted(set(expected) - set(own)), sorted(set(own) - set(expected))
    if missing or more:
        parts = [
            f"{verb} {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
            for verb, names in (("lack", missing), ("have besides", more))
            if names
        ]
        raise ModelError(
            f"{path}: the weights {' and '.join(parts)}, so they are not of the module {type(model).__name__}; give "
            "those that were saved from it"
        )
    for name, tensor in own.items():
        # a lazy layer has no shape before it is fed or loaded
        if not is_lazy(expected[name]) and tensor.shape != expected[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the module {type(model).__name__} takes "
                f"{tuple(expected[name].shape)}; make it with the sizes that the weights were trained with"
            )
    model.load_state_dict(own)
