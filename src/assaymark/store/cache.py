"""Cache of model answers, by content: one SQLite file shared by every run of a user.

A row is (model fingerprint, capability, key of the content) -> float32 vector or list of texts. Several processes may read
and write at a time (write-ahead log, 30 s of patience); a killed process leaves every finished `put_many` behind and nothing
half done. Losing the cache costs time, never a result: whatever goes wrong with the file disables it with one warning.

Keep it on a local disk: the write-ahead log needs shared memory and does not work over network file systems.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["SCHEMA_VERSION", "CacheSize", "CachedAnswers", "ModelCache"]

SCHEMA_VERSION = 1
"""Layout of the file. Grows only when what is there changes its form, so that an update of Assaymark keeps the cache: a new
table is added to a file that lacks it, and passed over by an Assaymark that does not know it."""

_PATIENCE = 30.0  # seconds that a writer waits for another
_KEYS_PER_QUERY = 10_000  # below SQLite's limit of 32,766 parameters
_TABLES = """
CREATE TABLE IF NOT EXISTS spaces (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, capability TEXT NOT NULL, UNIQUE (model, capability));
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES spaces (id), key BLOB NOT NULL, width INTEGER NOT NULL,
    value BLOB NOT NULL, UNIQUE (space, key));
"""
_TEXTS = """CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES spaces (id), key BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (space, key))"""

_INSERT_ANSWERS = "INSERT OR IGNORE INTO answers (space, key, width, value) VALUES (?, ?, ?, ?)"
_INSERT_TEXTS = "INSERT OR IGNORE INTO texts (space, key, value) VALUES (?, ?, ?)"

Array = npt.NDArray[np.float32]
T = TypeVar("T")


class CachedAnswers(NamedTuple):
    """`values`: shape (n_keys, width), NaN where absent (width is 0 if nothing was found). `found`: bool, shape (n_keys,)."""

    values: Array
    found: npt.NDArray[np.bool_]


class CacheSize(NamedTuple):
    entries: int
    bytes: int


class ModelCache:
    """Answers of models on disk.

    Parameters
    ----------
    path : path
        The file; it and its folder are made when missing.

    Notes
    -----
    Pickles as its path: every process opens a connection of its own, also after a fork. Threads share one behind a lock.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._reset()

    def _reset(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._spaces: dict[tuple[str, str], int] = {}
        self._disabled = False

    def __reduce__(self) -> tuple[type[ModelCache], tuple[Path]]:
        return ModelCache, (self.path,)

    def __repr__(self) -> str:
        return f"ModelCache({str(self.path)!r})"

    @property
    def enabled(self) -> bool:
        """False once the file could not be used; the run goes on without it."""
        return not self._disabled

    def get_many(self, model: str, capability: str, keys: Sequence[bytes]) -> CachedAnswers:
        """Answers of a model for many keys, in their order; O(n log N)."""
        nothing = CachedAnswers(np.empty((len(keys), 0), dtype=np.float32), np.zeros(len(keys), dtype=bool))
        return self._attempt(lambda connection: self._read(connection, model, capability, keys), nothing)

    def put_many(self, model: str, capability: str, keys: Sequence[bytes], values: Array) -> None:
        """Keep answers, shape (n_keys, width), in one transaction; what is there already stays."""
        rows = np.ascontiguousarray(values, dtype="<f4")
        if rows.ndim != 2 or len(rows) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many rows of values; their shape is {rows.shape}")
        self._attempt(lambda connection: self._write(connection, model, capability, keys, rows), None)

    def get_texts(self, model: str, capability: str, keys: Sequence[bytes]) -> list[list[str] | None]:
        """Answers in words of a model for many keys, in their order; None where absent."""
        nothing: list[list[str] | None] = [None] * len(keys)
        return self._attempt(lambda connection: self._read_texts(connection, model, capability, keys), nothing)

    def put_texts(self, model: str, capability: str, keys: Sequence[bytes], texts: Sequence[Sequence[str]]) -> None:
        """Keep a list of texts for each key, in one transaction; what is there already stays."""
        if len(texts) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many lists of texts; there are {len(texts)}")
        rows = [(key, json.dumps(list(said)).encode()) for key, said in zip(keys, texts, strict=True)]
        self._attempt(lambda connection: self._insert(connection, model, capability, _INSERT_TEXTS, rows), None)

    def size(self) -> CacheSize:
        """Number of answers and bytes that they take (content, without the overhead of the file)."""
        query = "SELECT COUNT(*), COALESCE(SUM(LENGTH(value) + LENGTH(key)), 0) FROM "

        def measure(connection: sqlite3.Connection) -> CacheSize:
            tables = [connection.execute(query + table).fetchone() for table in ("answers", "texts")]
            return CacheSize(*map(sum, zip(*tables, strict=True)))

        return self._attempt(measure, CacheSize(0, 0))

    def prune(self, *, keep_bytes: int) -> int:
        """Delete the oldest answers until at most `keep_bytes` are left, and shrink the file. Returns how many were deleted.

        Texts go last: they cost most to compute again.
        """
        return self._attempt(lambda connection: self._prune(connection, keep_bytes), 0)

    def close(self) -> None:
        """Close this process's connection; the next use opens it again."""
        if self._connection is not None and self._process == os.getpid():
            with self._lock:
                self._connection.close()
                self._connection = None

    def _attempt(self, use: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self._process != os.getpid():
            self._reset()  # after a fork: the parent's connection and lock must not be touched
        if self._disabled:
            return otherwise
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                return use(self._connection)
            except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
                if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
                    raise
                self._disable(error)
                return otherwise

    def _disable(self, error: Exception) -> None:
        self._disabled = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        warnings.warn(
            f"model cache {self.path} is not used any more ({error}); the run goes on and computes every answer",
            RuntimeWarning,
            stacklevel=4,
        )

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            _create_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _space(self, connection: sqlite3.Connection, model: str, capability: str) -> int | None:
        known = self._spaces.get((model, capability))
        if known is None:
            query = "SELECT id FROM spaces WHERE model = ? AND capability = ?"
            row = connection.execute(query, (model, capability)).fetchone()
            if row is None:
                return None
            known = self._spaces[model, capability] = int(row[0])
        return known

    def _read(self, connection: sqlite3.Connection, model: str, capability: str, keys: Sequence[bytes]) -> CachedAnswers:
        blobs = self._blobs(connection, model, capability, "answers", keys)
        width = len(next(iter(blobs.values()))) // 4 if blobs else 0
        blobs = {key: blob for key, blob in blobs.items() if len(blob) == 4 * width}  # a damaged row counts as absent
        found = np.fromiter((key in blobs for key in keys), dtype=bool, count=len(keys))
        values = np.full((len(keys), width), np.nan, dtype=np.float32)
        if blobs:
            joined = b"".join(blobs[key] for key in keys if key in blobs)
            values[found] = np.frombuffer(joined, dtype="<f4").reshape(-1, width)
        return CachedAnswers(values, found)

    def _read_texts(
        self, connection: sqlite3.Connection, model: str, capability: str, keys: Sequence[bytes]
    ) -> list[list[str] | None]:
        blobs = self._blobs(connection, model, capability, "texts", keys)
        return [_texts_of(blobs.get(key)) for key in keys]

    def _blobs(
        self, connection: sqlite3.Connection, model: str, capability: str, table: str, keys: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        space = self._space(connection, model, capability)
        blobs: dict[bytes, bytes] = {}
        for start in range(0, len(keys) if space is not None else 0, _KEYS_PER_QUERY):
            chunk = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, value FROM {table} WHERE space = ? AND key IN ({marks})"
            blobs.update(connection.execute(query, (space, *chunk)))
        return blobs

    def _write(self, connection: sqlite3.Connection, model: str, capability: str, keys: Sequence[bytes], rows: Array) -> None:
        width = rows.shape[1]
        entries = ((key, width, row.tobytes()) for key, row in zip(keys, rows, strict=True))
        self._insert(connection, model, capability, _INSERT_ANSWERS, entries)

    def _insert(
        self, connection: sqlite3.Connection, model: str, capability: str, statement: str, entries: Iterable[tuple[Any, ...]]
    ) -> None:
        with _Transaction(connection):
            if self._space(connection, model, capability) is None:
                connection.execute("INSERT OR IGNORE INTO spaces (model, capability) VALUES (?, ?)", (model, capability))
            space = self._space(connection, model, capability)
            connection.executemany(statement, ((space, *entry) for entry in entries))

    def _prune(self, connection: sqlite3.Connection, keep_bytes: int) -> int:
        deleted = 0
        with _Transaction(connection):
            texts = connection.execute("SELECT COALESCE(SUM(LENGTH(value) + LENGTH(key)), 0) FROM texts").fetchone()[0]
            for table, kept in (("answers", max(0, keep_bytes - texts)), ("texts", keep_bytes)):
                held = f"SELECT id, SUM(LENGTH(value) + LENGTH(key)) OVER (ORDER BY id DESC) AS held FROM {table}"
                last = connection.execute(f"SELECT MAX(id) FROM ({held}) WHERE held > ?", (kept,)).fetchone()[0]
                if last is not None:
                    deleted += connection.execute(f"DELETE FROM {table} WHERE id <= ?", (last,)).rowcount
        if deleted:
            connection.execute("VACUUM")
        return deleted


def _texts_of(blob: bytes | None) -> list[str] | None:
    """The stored list; a damaged row counts as absent."""
    try:
        stated = json.loads(blob) if blob is not None else None
    except ValueError:
        return None
    is_whole = isinstance(stated, list) and all(isinstance(text, str) for text in stated)
    return stated if is_whole else None


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT: takes the write lock first, so that waiting for another writer cannot end in a deadlock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self.connection.in_transaction:  # a full disk has already rolled back
            self.connection.execute("ROLLBACK" if kind else "COMMIT")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the journal mode. SQLite answers "locked" at once when two processes switch a new file, so wait here."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _create_tables(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise sqlite3.DatabaseError(f"its layout is version {version}, this Assaymark reads {SCHEMA_VERSION}; delete the file")
    # Looked up first: the statement alone would wait for the write lock each time the file is opened.
    if version and connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'texts'").fetchone():
        return
    with _Transaction(connection):
        for statement in (*_TABLES.split(";"), _TEXTS):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
