"""What the tasks of one submission are to do, and what they answer: a folder STORE/.sweeps/TOKEN of JSON files.

A scheduler carries nothing but the path of this folder and the number of a task.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from netassay.errors import StoreError
from netassay.files import write_file
from netassay.runs.folders import is_id
from netassay.sweeps.answer import FAILED, Answer
from netassay.sweeps.versions import versions

ROOM = ".sweeps"
TOKEN = re.compile(r"[0-9a-f]{12}")
_FILE = "orders.json"


@dataclass(frozen=True)
class Orders:
    """The ids of the runs of each task, and how they are performed."""

    folder: Path
    tasks: tuple[tuple[str, ...], ...]
    threads: int
    commit_seconds: float
    versions: dict[str, str]

    @classmethod
    def write(cls, store: Path, tasks: Sequence[Sequence[str]], threads: int, commit_seconds: float) -> Orders:
        """New orders in the store. StoreError where it cannot be written."""
        folder = store.absolute() / ROOM / secrets.token_hex(6)
        orders = cls(folder, tuple(map(tuple, tasks)), threads, commit_seconds, versions())
        values = {key: value for key, value in asdict(orders).items() if key != "folder"}
        write_file(folder / _FILE, json.dumps(values).encode())
        return orders

    @classmethod
    def read(cls, folder: Path) -> Orders:
        """The orders in a folder. StoreError where there are none, or they name what is no run."""
        try:
            values = json.loads((folder / _FILE).read_bytes())
            orders = cls(folder, **{**values, "tasks": tuple(map(tuple, values["tasks"]))})
            if not all(is_id(run) for task in orders.tasks for run in task):
                raise ValueError("it names what is no run")
        except (OSError, ValueError, TypeError, KeyError) as cause:
            raise StoreError(f"{folder / _FILE}: cannot be read ({cause}); start the sweep again") from None
        return orders

    @property
    def store(self) -> Path:
        return self.folder.parent.parent

    @property
    def token(self) -> str:
        return self.folder.name

    def folders(self, number: int) -> list[Path]:
        """Run folders of a task."""
        return [self.store / run for run in self.tasks[number]]

    def arrive(self, number: int) -> None:
        """Says that the task of that number has begun here."""
        words = {"host": socket.gethostname(), "versions": versions()}
        write_file(self.folder / f"task-{number}.json", json.dumps(words).encode())

    def arrival(self, number: int) -> dict[str, str] | None:
        """Versions where the task of that number has begun; None where it never has."""
        try:
            return dict(json.loads((self.folder / f"task-{number}.json").read_bytes())["versions"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def answer(self, folder: Path, cause: str) -> None:
        """Says why a run failed; a run that is done says so itself."""
        if cause:
            write_file(self.folder / f"{folder.name}.json", Answer(FAILED, cause, None).line().encode())

    def cause(self, folder: Path) -> str:
        """Why a run failed, or ""."""
        try:
            return Answer.read((self.folder / f"{folder.name}.json").read_text()).cause
        except (OSError, ValueError, TypeError):
            return ""

    def remove(self) -> None:
        """Takes the folder away, and the room of all orders once it is empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()
