"""What a stranger may have put in place of a run: each damages the folder of a finished one."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

HOSTILE: dict[str, Callable[[Path], None]] = {}
"""Name of a damage -> what does it to a run's folder."""
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def _damage(function):
    HOSTILE[function.__name__] = function
    return function


def sql(statements: str, *values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        connection = sqlite3.connect(folder / "run.sqlite")
        try:
            if values:
                connection.execute(statements, values)
            else:
                connection.executescript(statements)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    return change


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
HOSTILE |= {
    "endless view": sql(
        f"DROP TABLE metrics; CREATE VIEW metrics AS {ENDLESS} "
        "SELECT i AS step, 'loss' AS name, '' AS part, 0.5 AS value FROM n"
    ),
    "endless status": sql(
        f"DROP TABLE status; CREATE VIEW status AS {ENDLESS} "
        "SELECT 1 AS id, 'finished' AS state, max(i) AS step, '' AS message, 0.5 AS seconds, '' AS updated FROM n"
    ),
    "endless facts": sql(f"DROP TABLE facts; CREATE VIEW facts AS {ENDLESS} SELECT i AS key, i AS value FROM n"),
    "trigger": sql("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM metrics; END"),
    "further table": sql("CREATE TABLE more (x)"),
    "other column": sql("ALTER TABLE tables ADD COLUMN more TEXT"),
    "no tables": sql("DROP TABLE tables"),
    "text for a step": sql("UPDATE status SET step = 'many'"),
    "bytes for a message": sql("UPDATE status SET message = x'00ff'"),
    "text for seconds": sql("UPDATE status SET seconds = 'long'"),
    "unknown state": sql("UPDATE status SET state = ?", ESCAPE),
    "no status": sql("DELETE FROM status"),
    "escapes in the message": sql("UPDATE status SET message = ?", ESCAPE),
    "bytes in an event": sql("UPDATE events SET text = x'00ff'"),
    "text for the step of an event": sql("UPDATE events SET step = 'late'"),
    "escapes in an event": sql("UPDATE events SET text = ?", ESCAPE),
    "text for the step of a metric": sql("INSERT INTO metrics VALUES ('a', 'loss', '', 0.5)"),
    "bytes for a metric": sql("INSERT INTO metrics VALUES (999, x'ff', '', 0.5)"),
    "text for a value": sql("INSERT INTO metrics VALUES (999, 'loss', '', 'low')"),
    "escapes in a metric": sql("INSERT INTO metrics VALUES (999, ?, '', 0.5)", ESCAPE),
    "text that is not UTF-8": sql("UPDATE status SET message = CAST(x'ff' AS TEXT)"),
    "table outside": sql("UPDATE tables SET file = '../../outside.parquet'"),
    "table of the system": sql("UPDATE tables SET file = '/etc/hostname'"),
    "endless table": sql("UPDATE tables SET file = '/dev/zero'"),
    "checkpoint outside": sql("UPDATE checkpoints SET file = '/etc/hostname'"),
    "escapes in a table's name": sql("UPDATE tables SET name = ? WHERE name = 'metrics'", ESCAPE),
    "config that is a list": sql("UPDATE facts SET value = '[]' WHERE key = 'config'"),
    "config without keys": sql("UPDATE facts SET value = '{}' WHERE key = 'config'"),
    "config of another run": sql(
        "UPDATE facts SET value = json_set(value, '$.width', 7) WHERE key = 'config'",
    ),
    "config of other types": sql(
        "UPDATE facts SET value = ? WHERE key = 'config'",
        json.dumps({"study": "edge", "width": "wide", "steps": None}),
    ),
    "config of nests": sql("UPDATE facts SET value = ? WHERE key = 'config'", '{"a":' + "[" * 900 + "]" * 900 + "}"),
    "config of deep nests": sql("UPDATE facts SET value = ? WHERE key = 'config'", "[" * 90_000),
    "config of many keys": sql(
        "UPDATE facts SET value = ? WHERE key = 'config'", json.dumps({f"key{i}": i for i in range(20_000)})
    ),
    "config of a long number": sql("UPDATE facts SET value = ? WHERE key = 'config'", '{"a": ' + "9" * 5000 + "}"),
    "escapes in the config": sql(
        "UPDATE facts SET value = ? WHERE key = 'config'",
        json.dumps({"study": "edge", "seed": ESCAPE, ESCAPE: 1}),
    ),
    "study of escapes": sql("UPDATE facts SET value = ? WHERE key = 'study'", json.dumps(ESCAPE)),
    "study that is no text": sql("UPDATE facts SET value = '{}' WHERE key = 'study'"),
    "unknown study": sql("UPDATE facts SET value = '\"weather\"' WHERE key = 'study'"),
    "number for a digest": sql("UPDATE facts SET value = '5' WHERE key = 'digest'"),
    "no created": sql("DELETE FROM facts WHERE key = 'created'"),
    "newer schema": sql("UPDATE facts SET value = '99' WHERE key = 'schema'"),
    "environment that is no JSON": sql("UPDATE facts SET value = '{' WHERE key = 'environment'"),
    "facts of a checkpoint that are no JSON": sql("UPDATE checkpoints SET facts = '{'"),
    "facts of a checkpoint that are a list": sql("UPDATE checkpoints SET facts = '[]'"),
}


@_damage
def no_database(folder):
    (folder / "run.sqlite").write_bytes(b"no database" * 500)


@_damage
def cut_database(folder):
    os.truncate(folder / "run.sqlite", (folder / "run.sqlite").stat().st_size // 2)


@_damage
def pages_that_lead_in_circles(folder):
    """Every inner page of the metrics, or else every page but the first, is a copy of another."""
    data = bytearray((folder / "run.sqlite").read_bytes())
    for start in range(8192, len(data) - 4095, 4096):
        data[start : start + 4096] = data[4096:8192]
    (folder / "run.sqlite").write_bytes(data)


def _replaced(path, make):
    path.unlink(missing_ok=True)
    make(path)


def _table(folder):
    return next((folder / "tables").glob("*.parquet"))


@_damage
def database_is_a_pipe(folder):
    _replaced(folder / "run.sqlite", os.mkfifo)


@_damage
def database_is_a_link(folder):
    (folder / "run.sqlite").rename(folder / "other.sqlite")
    (folder / "run.sqlite").symlink_to("other.sqlite")


@_damage
def database_is_sparse(folder):
    _replaced(folder / "run.sqlite", lambda path: (path.touch(), os.truncate(path, 1 << 40)))


@_damage
def database_has_a_sparse_end(folder):
    os.truncate(folder / "run.sqlite", 1 << 40)


@_damage
def wal_is_a_pipe(folder):
    os.mkfifo(folder / "run.sqlite-wal")


@_damage
def journal_is_a_pipe(folder):
    os.mkfifo(folder / "run.sqlite-journal")


@_damage
def digest_is_a_pipe(folder):
    _replaced(folder / "run.sqlite.sha256", os.mkfifo)


@_damage
def digest_is_endless(folder):
    _replaced(folder / "run.sqlite.sha256", lambda path: path.symlink_to("/dev/zero"))


@_damage
def lock_is_a_pipe(folder):
    _replaced(folder / "lock", os.mkfifo)


@_damage
def table_is_a_pipe(folder):
    _replaced(_table(folder), os.mkfifo)


@_damage
def table_is_a_link_to_zeros(folder):
    _replaced(_table(folder), lambda path: path.symlink_to("/dev/zero"))


@_damage
def table_is_sparse(folder):
    os.truncate(_table(folder), 1 << 40)


@_damage
def tensors_are_a_link(folder):
    (folder / "tensors").rename(folder.parent / f".elsewhere-{folder.name}")
    (folder / "tensors").symlink_to(folder.parent / f".elsewhere-{folder.name}")


@_damage
def table_of_noise_with_the_right_digest(folder):
    noise = hashlib.sha256(b"noise").digest() * 40
    for path in (folder / "tables").glob("*.parquet"):
        path.write_bytes(b"PAR1" + noise + b"PAR1")
    sql("UPDATE tables SET sha256 = ?", hashlib.sha256(b"PAR1" + noise + b"PAR1").hexdigest())(folder)


@_damage
def tensors_of_noise_with_the_right_digest(folder):
    noise = hashlib.sha256(b"noise").digest() * 40
    for path in (folder / "tensors").glob("*.safetensors"):
        path.write_bytes(noise)
    sql("UPDATE checkpoints SET sha256 = ?, bytes = ?", hashlib.sha256(noise).hexdigest(), len(noise))(folder)
