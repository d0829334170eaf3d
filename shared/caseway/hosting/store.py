"""The port to a store of rows: rows and the positions they came from change together or not.

A store is a copy. Its positions lie beside its rows, so a store that is restored from an old
backup goes on from there, and one whose positions are gone begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from caseway.errors import Unavailable
from caseway.hosting.log import Place
from caseway.kernel.projection import Rows


class PositionsMoved(Unavailable):
    """The store does not stand where this projector left it: nothing was written.

    Another projector wrote, or the store was restored or emptied.
    Operator action: none; the projector reads the positions and goes on from there.
    """

    code = "unavailable.positions_moved"


class Store(Protocol):
    """Rows of one namespace, written by one projector at a time."""

    async def open(self) -> Mapping[Place, int]:
        """Connect, anew if need be, make what tables are missing, and return the positions."""

    async def write(
        self, rows: Rows, before: Mapping[Place, int], after: Mapping[Place, int]
    ) -> None:
        """Write the rows and move these places from `before` to `after`, all or nothing.

        Raises:
            PositionsMoved: the store is not at `before`.
            Unavailable: the outcome is unknown; open again and go on from what it says.
            IntegrityError: the rows contradict those that are there.
        """

    async def close(self) -> None:
        """Give the connection back."""
