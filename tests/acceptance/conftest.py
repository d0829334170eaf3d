"""A fleet of services on the session's broker, stopped at the end of each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from caseway_control.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path, broker: Any) -> Iterator[Fleet]:
    """A namespace of its own, not yet founded."""
    made = Fleet(tmp_path, broker.bootstrap, f"t{uuid.uuid4().hex[:8]}")
    yield made
    made.stop()


@pytest.fixture
async def running(fleet: Fleet) -> AsyncIterator[Any]:
    """The log of a founded, published namespace whose five services run."""
    log = fleet.log()
    await fleet.found(log)
    fleet.start_all()
    await fleet.publish(log)
    yield log
    await log.close()
