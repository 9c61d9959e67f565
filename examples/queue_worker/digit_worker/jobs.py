"""JobQueue: jobs, their results and the dead letters, in a SQLite file that any number of workers share.

The worker calls ``receive``, ``complete``, ``give_back``, ``try_later`` and ``bury``. With SQS these are
ReceiveMessage, DeleteMessage after the result is stored elsewhere, ChangeMessageVisibility twice, and SendMessage to a
dead-letter queue; with RabbitMQ basic_get, basic_ack, basic_nack twice, the second time to a queue with a delay, and a
dead-letter exchange.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, body BLOB, tries INTEGER DEFAULT 0, visible REAL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, result TEXT);
CREATE TABLE IF NOT EXISTS dead_letters (id TEXT PRIMARY KEY, body BLOB, reason TEXT);
"""


class Job(NamedTuple):
    """A job that a worker has received.

    Attributes:
        id: what its result is stored under.
        body: the document of whoever added it.
        tries: how often it was received, this time included.
        receipt: when the lease ends; a job that has another receipt by then belongs to another worker.
    """

    id: str
    body: bytes
    tries: int
    receipt: float


class JobQueue:
    """Jobs that are delivered at least once: until a worker has stored the result, or has given up.

    Each worker opens the file for itself; one thread at a time uses the object.
    """

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._database.executescript(TABLES)

    def add(self, job_id: str, body: bytes) -> None:
        """Add a job. A job with this id that waits already stays as it is."""
        self._database.execute("INSERT OR IGNORE INTO jobs (id, body) VALUES (?, ?)", (job_id, body))

    def receive(self, limit: int, lease: float) -> list[Job]:
        """Take jobs that nobody has a lease for, the oldest first.

        A job that was tried before comes alone: if it brings its worker down, no other job is counted as tried.
        """
        now = time.time()
        with self._transaction():
            rows = self._database.execute(
                "SELECT id, body, tries FROM jobs WHERE visible <= ? ORDER BY number LIMIT ?", (now, limit)
            ).fetchall()
            rows = rows[:1] if rows and rows[0][2] else [row for row in rows if not row[2]]
            jobs = [Job(job_id, body, tries + 1, now + lease) for job_id, body, tries in rows]
            self._database.executemany(
                "UPDATE jobs SET tries = ?, visible = ? WHERE id = ?",
                [(job.tries, job.receipt, job.id) for job in jobs],
            )
        return jobs

    def complete(self, job: Job, result: Mapping[str, object]) -> None:
        """Store the result and remove the job, both or neither. A second result of a job replaces the first.

        A result that comes after another worker has given up takes the job from the dead letters.
        """
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (job.id, json.dumps(result)))
            for table in ("jobs", "dead_letters"):
                self._database.execute(f"DELETE FROM {table} WHERE id = ?", (job.id,))

    def give_back(self, job: Job) -> None:
        """Return a job as if it had not been received."""
        self._database.execute(
            "UPDATE jobs SET tries = tries - 1, visible = 0 WHERE id = ? AND visible = ?", (job.id, job.receipt)
        )

    def try_later(self, job: Job, delay: float) -> None:
        """Return a job; it can be received again after some seconds."""
        self._database.execute(
            "UPDATE jobs SET visible = ? WHERE id = ? AND visible = ?", (time.time() + delay, job.id, job.receipt)
        )

    def bury(self, job: Job, reason: str) -> None:
        """Move a job to the dead letters."""
        with self._transaction():
            deleted = self._database.execute("DELETE FROM jobs WHERE id = ? AND visible = ?", (job.id, job.receipt))
            if deleted.rowcount:
                self._database.execute(
                    "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?)", (job.id, job.body, reason)
                )

    def revive(self) -> None:
        """Make jobs of the dead letters, once the reason is gone."""
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO jobs (id, body) SELECT id, body FROM dead_letters")
            self._database.execute("DELETE FROM dead_letters")

    def waiting(self) -> dict[str, int]:
        """The tries of the jobs that are neither answered nor buried, by id."""
        return dict(self._database.execute("SELECT id, tries FROM jobs"))

    def results(self) -> dict[str, dict[str, object]]:
        """The results so far, by id."""
        return {job_id: json.loads(text) for job_id, text in self._database.execute("SELECT id, result FROM results")}

    def dead_letters(self) -> dict[str, str]:
        """The reasons of the dead letters, by id."""
        return dict(self._database.execute("SELECT id, reason FROM dead_letters"))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
