"""A changed state is what `dataclasses.replace` makes, and the state before stays as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caseway.casefile.state import CaseState, TaskState, TaskStatus, changed
from caseway.contracts.fields import Pin

TASK = TaskState("triage", "triage-1", TaskStatus.OPEN, "0" * 64)
CASE = CaseState(Pin(name="claim", version=1, digest="0" * 64), tasks={"triage": TASK})


def test_it_is_what_replace_makes() -> None:
    after = changed(CASE, token=3, tasks={})
    assert after == replace(CASE, token=3, tasks={})
    assert list(vars(after)) == list(vars(CASE)), "the order of the fields is that of the bytes"
    assert changed(TASK, holder="agent:a") == replace(TASK, holder="agent:a")


def test_the_state_before_stays_as_it_was() -> None:
    changed(CASE, token=3)
    assert CASE.token == 0


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(AssertionError, match="no field of a CaseState"):
        changed(CASE, tokens=3)
