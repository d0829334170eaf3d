"""Reads the registry once for a whole process and shows it to every shard, in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right

from caseway.contracts.codec import Event, decode
from caseway.contracts.topics import REGISTRY
from caseway.errors import Unavailable
from caseway.hosting.log import Log, Place
from caseway.kernel.registry import Registry, advance

_PLACE: Place = (REGISTRY.name, 0)
# The registry changes a few times a day; a change is seen at the latest after this, and at once
# by whoever passes a barrier or meets a record that was written under it.
_LOOK_S = 0.5
# Longer than a transaction may stay open: after that its writer is gone and the log is asked anew.
_CATCH_UP_S = 15.0


class RegistryReader:
    """Every state of the registry by position; shards share the immutable views."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = 0
        self._entries: list[tuple[Event, Registry]] = []
        self._positions: list[int] = []
        self._lock = asyncio.Lock()
        self._grew = asyncio.Event()
        self._answered_s = time.monotonic()

    @property
    def current(self) -> Registry:
        """The newest view."""
        return self._entries[-1][1] if self._entries else Registry()

    @property
    def silent_s(self) -> float:
        """For how long the log has answered no question about its end; `watch` asks all the time.

        A reader at rest can't tell a log without news from one that is gone.
        """
        return time.monotonic() - self._answered_s

    @property
    def grew(self) -> asyncio.Event:
        """Set whenever there is something new; whoever waits clears nothing but takes `after`."""
        return self._grew

    def after(self, position: int) -> list[tuple[Event, Registry]]:
        """The registry events from a position on, each with the view after it."""
        return self._entries[bisect_right(self._positions, position) :]

    async def at(self, position: int) -> Registry:
        """The view as of a position; at least the one after the genesis.

        Raises:
            Unavailable: GENESIS_MISSING, or the registry did not come so far in time.
        """
        await self.reach(max(position, 1))
        index = bisect_right(self._positions, max(position, self._positions[0])) - 1
        return self._entries[index][1]

    async def barrier(self) -> int:
        """A position not smaller than the registry's end was when this was called."""
        end = await self._log.end(_PLACE)
        self._answered_s = time.monotonic()
        if end > self._next:
            await self._read_to(end)
        return self.current.position

    async def reach(self, position: int) -> None:
        """Read on until the view is at this position."""
        if not self._entries:
            await self.barrier()  # an empty registry is said to be one, and not waited for
        if not self._entries:
            raise Unavailable(
                "the registry has no genesis; run `caseway init`", code="GENESIS_MISSING"
            )
        if self.current.position < position:
            await self._read_to(position)

    async def watch(self) -> None:
        """Look for changes for ever; a log that does not answer is asked again."""
        while True:
            # The shards meet the same outage and say so; this one only looks again.
            with contextlib.suppress(Unavailable, TimeoutError):
                await self.barrier()
            await asyncio.sleep(_LOOK_S)

    async def _read_to(self, end: int) -> None:
        """Read until the next offset to read is at least `end`.

        A commit is answered before its marker is written: its record lies below the end and can't
        be read yet, so whoever stops before the end judges by a registry that lacks it.
        """
        async with self._lock, asyncio.timeout(_CATCH_UP_S):
            while self._next < end:
                before = self._next
                chunk = await self._log.scan(_PLACE, self._next)
                for record in chunk.records:
                    event = decode(record, is_sole_writer=True)
                    view = advance(self.current, event, record.offset + 1)
                    self._entries.append((event, view))
                    self._positions.append(view.position)
                    self._next = view.position  # so that a record unread yet folds nothing twice
                self._next = chunk.next_offset
                if chunk.records:
                    self._grew.set()
                    self._grew = asyncio.Event()
                if self._next == before:
                    await asyncio.sleep(0.02)  # an open transaction holds the end back
