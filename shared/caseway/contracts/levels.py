"""Which event versions may be written at which contract level; readers read every version.

Code that knows a new type or version is deployed everywhere first and goes on writing what the
code before it can read, so a rollback is free. Only when operators raise the level in the
registry is the new form written, and from then on older code waits (`code_too_old`).

Governed is what services write under the registry. Genesis, checkpoints and snapshot markers are
not, nor what strangers send: there the receiver is deployed before the sender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FIRST = 1

# (type, version) → the level from which it may be written; what is not named always may be.
SINCE: dict[tuple[str, int], int] = {}

# (type, version) → the function that makes the data of version - 1 out of it. It undoes the
# upcaster: lowered, lifted and lowered again, the data is the same.
DOWNCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


def known_level() -> int:
    """The highest level whose events this code can read and write."""
    return max(SINCE.values(), default=FIRST)


def version_at(event_type: str, latest: int, level: int) -> int:
    """The newest version of a type that may be written at a level; 0 if none may.

    Example:
        >>> version_at("case.opened", 1, FIRST)
        1
    """
    for version in range(latest, 0, -1):
        if SINCE.get((event_type, version), FIRST) <= level:
            return version
    return 0


def downcast(event_type: str, version: int, latest: int, data: dict[str, Any]) -> dict[str, Any]:
    """Lower `data` from `latest` to `version`, one step at a time."""
    for step in range(latest, version, -1):
        data = DOWNCASTERS[event_type, step](data)
    return data
