"""The files that make up a module's Python file: itself, and what it imports from its own folder.

The file is not run and nothing heavy is loaded here.
"""

from __future__ import annotations

from modulefinder import ModuleFinder
from pathlib import Path


def sources(file: str | Path) -> dict[str, Path]:
    """Files by the name they are imported by, the file itself first, as "__main__".

    They are found by the import statements, in functions too, of the file and of what it imports from its own folder;
    names that are assembled when the code runs are missed. OSError for a file that cannot be read. For a file that is
    not Python, only the file itself.

    >>> from pathlib import Path
    >>> _ = Path("blocks.py").write_text("width = 4")
    >>> _ = Path("nets.py").write_text("import os\\nimport blocks")
    >>> {name: path.name for name, path in sources("nets.py").items()}
    {'__main__': 'nets.py', 'blocks': 'blocks.py'}
    """
    path = Path(file)
    path.read_bytes()
    finder = ModuleFinder(path=[str(path.parent)])
    try:
        finder.run_script(str(path))
    except (SyntaxError, ValueError):
        return {"__main__": path}
    finder.modules.pop("__main__")
    files = {name: getattr(part, "__file__", None) for name, part in sorted(finder.modules.items())}
    beside = {name: Path(file) for name, file in files.items() if file}
    return {"__main__": path, **beside}
