"""Lifts one version of an event's data to the next; pure, and the stored bytes never change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.errors import ContractError


def _complete_v1_to_v2(data: dict[str, Any]) -> dict[str, Any]:
    """`confidence` was a JSON number; exact decimal text compares the same on every machine."""
    confidence = data.get("confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise ContractError(
            "/confidence: is not a number from 0 to 1", code="CONFIDENCE_RANGE", where="/confidence"
        )
    if not 0 <= confidence <= 1:
        raise ContractError(
            "/confidence: is outside 0..1", code="CONFIDENCE_RANGE", where="/confidence"
        )
    return {**data, "confidence": f"{confidence:.6f}"}


# (type, version) → the function that lifts it to version + 1.
UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("task.complete", 1): _complete_v1_to_v2,
}


def upcast(event_type: str, version: int, latest: int, data: dict[str, Any]) -> dict[str, Any]:
    """Lift `data` from `version` to `latest`, one step at a time.

    Example:
        >>> upcast("task.complete", 1, 2, {"confidence": 0.93})
        {'confidence': '0.930000'}
    """
    for step in range(version, latest):
        data = UPCASTERS[event_type, step](data)
    return data
