"""Group commit: one thread takes whatever waits and commits it with one flush.

There is no timer: at rest a commit costs one flush, under load everything that came during the
last flush shares the next. Each caller's part stays all or nothing: a fenced one is left out
before it touched anything; when the file refuses, nobody's part is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from caseway.contracts.record import Record
from caseway.errors import Fenced, Unavailable
from caseway.hosting.sqlite_file import Session, trouble

T = TypeVar("T")

# How soon a change by another process is seen; asking SQLite costs microseconds.
_LOOK_S = 0.005


@dataclass(slots=True)
class _Job:
    """One caller's part of a transaction."""

    work: Callable[[Session], Any]
    future: asyncio.Future[Any]

    def answer(self, result: Any) -> None:
        """Tell the caller, unless it went away."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class GroupCommit:
    """The writer thread, seen from the event loop that started it.

    `settled` hears on the loop of every commit, before its callers do, and of every change that
    others made: the records appended, and whether the file holds more than those.
    """

    def __init__(self, session: Session, settled: Callable[[Sequence[Record], bool], None]) -> None:
        self._session = session
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Whoever puts a job in under this lock gets an answer, however the thread ends.
        self._lock = threading.Lock()
        self._is_closed = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sqlite-commits", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[Session], T]) -> T:
        """Run `work` in the next transaction; returns once that is durable.

        Raises:
            Fenced: `work` raised it, before it did anything else.
            Unavailable: nothing is known of the outcome.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        with self._lock:
            if self._is_closed:
                raise Unavailable("the log is closed")
            self._jobs.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Commit what waits, then end the thread and its connection."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._jobs.put(None)
        await self._ended.wait()
        self._thread.join()

    # -- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        group: list[_Job] = []
        try:
            self._session.is_changed_by_others()
            is_last = False
            while not is_last:
                group, is_last = self._take()
                if group:
                    self._tell(self._settle, group, *self._transact(group))
                elif not is_last and self._has_news():
                    self._tell(self._settled, (), True)
                group = []
        finally:
            # Also after a fault of ours in a job: callers get doubt, never silence.
            with self._lock:
                self._is_closed = True
            while not self._jobs.empty():
                job = self._jobs.get()
                group += [job] if job is not None else []
            with contextlib.suppress(apsw.Error):  # a checkpoint that failed; the next open has it
                self._session.close()
            self._tell(self._abandon, group)

    def _take(self) -> tuple[list[_Job], bool]:
        """All that waits, and whether it is the last there will be."""
        try:
            waiting = [self._jobs.get(timeout=_LOOK_S)]
        except queue.Empty:
            return [], False
        while not self._jobs.empty():
            waiting.append(self._jobs.get())
        return [job for job in waiting if job is not None], None in waiting

    def _has_news(self) -> bool:
        try:
            return self._session.is_changed_by_others()
        except apsw.Error:
            return True  # the readers meet the same trouble, and tell their callers

    def _transact(self, group: list[_Job]) -> tuple[list[Any], list[Record], bool]:
        results: list[Any] = []
        try:
            is_foreign = self._session.begin()
            for job in group:
                try:
                    results.append(job.work(self._session))
                except Fenced as refusal:
                    results.append(refusal)
            return results, self._session.commit(), is_foreign
        except apsw.Error as error:
            self._session.roll_back()
            return [trouble("commit", error) for _ in group], [], True

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who would care
            self._loop.call_soon_threadsafe(callback, *arguments)

    # -- on the loop --------------------------------------------------------------------------

    def _settle(
        self, group: list[_Job], results: list[Any], appended: list[Record], is_foreign: bool
    ) -> None:
        self._settled(appended, is_foreign)
        for job, result in zip(group, results, strict=True):
            job.answer(result)

    def _abandon(self, group: list[_Job]) -> None:
        for job in group:
            job.answer(Unavailable("the log was closed, or its writer failed, meanwhile"))
        self._ended.set()
