"""Reads committed records of the embedded log: from memory where it keeps up, else from the file.

What this process commits is offered here; a place that is paused for long, far behind, or written
to by another process is read from the file again, so no more than a bounded number is held.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

from caseway.contracts.record import Record
from caseway.hosting.log import Place
from caseway.hosting.sqlite_file import READ_RECORDS_MAX, Reader

# What is held for one place that nobody fetches; beyond it the file is read again.
_READY_RECORDS_MAX = 2_000


class SqliteFeed:
    """Committed records of many partitions."""

    def __init__(self, reader: Reader, feeds: set[SqliteFeed], linger_s: float) -> None:
        self._reader = reader
        self._feeds = feeds
        self._feeds.add(self)
        self._linger_s = linger_s
        self._next: dict[Place, int] = {}
        self._ready: dict[Place, list[Record]] = {}
        # Used as a queue, so that no place waits for ever behind a busier one.
        self._behind: dict[Place, None] = {}
        self._paused: set[Place] = set()
        self._woken = asyncio.Event()

    def offer(self, by_place: Mapping[Place, list[Record]], is_foreign: bool) -> None:
        """Take what was just committed, where it follows what we have; else read the file."""
        if is_foreign:
            self._behind |= dict.fromkeys(self._next)
        for place, records in by_place.items():
            expected = self._next.get(place)
            if expected is None or records[-1].offset < expected:
                continue
            follows = records[0].offset == expected and place not in self._behind
            if follows and len(self._ready.get(place, ())) < _READY_RECORDS_MAX:
                self._ready.setdefault(place, []).extend(records)
                self._next[place] = records[-1].offset + 1
            else:
                self._behind[place] = None
        if self._behind or self._ready:
            self._woken.set()

    async def seek(self, positions: Mapping[Place, int]) -> None:
        """Read these from there on."""
        await self.drop(positions)
        self._next.update(positions)
        self._behind |= dict.fromkeys(positions)
        self._woken.set()

    async def drop(self, places: Iterable[Place]) -> None:
        """Forget these."""
        for place in places:
            self._next.pop(place, None)
            self._ready.pop(place, None)
            self._behind.pop(place, None)
            self._paused.discard(place)

    def pause(self, places: Iterable[Place]) -> None:
        """Hand nothing out for these."""
        self._paused |= set(places) & set(self._next)

    def resume(self, places: Iterable[Place]) -> None:
        """Hand out again."""
        self._paused -= set(places)
        self._woken.set()

    async def fetch(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """What is there, or what comes within the timeout."""
        if self._linger_s and not self._behind:
            await asyncio.sleep(self._linger_s)  # for more to come; nothing is taken yet
        found = self._take()
        if not found:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not found:
                        self._woken.clear()
                        await self._woken.wait()
                        found = self._take()
        return found

    def _take(self) -> dict[Place, Sequence[Record]]:
        """All that is ready, and about one read's worth from the file."""
        room = READ_RECORDS_MAX
        for place in [p for p in self._behind if p not in self._paused]:
            if room <= 0:
                break
            records = self._reader.records(place, self._next[place])
            room -= len(records)
            del self._behind[place]
            if records:
                self._ready.setdefault(place, []).extend(records)
                self._next[place] = records[-1].offset + 1
            if len(records) == READ_RECORDS_MAX:
                self._behind[place] = None
        return {p: self._ready.pop(p) for p in list(self._ready) if p not in self._paused}

    async def close(self) -> None:
        """Stop reading."""
        self._feeds.discard(self)
