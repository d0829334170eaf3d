"""The catalogue and its document say the same, and a breach is said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from caseway.invariants.invariant import INVARIANTS, At, Mark, Violation

DOCUMENT = Path(__file__).parents[3] / "docs/reliability.md"
WORDS = {
    Mark.SIMULATOR: "simulator",
    Mark.CHAOS: "chaos",
    Mark.VERIFY: "verify",
    Mark.RUNTIME: "runtime",
}


@pytest.mark.parametrize("name", INVARIANTS)
def test_every_invariant_has_its_row_in_the_document(name: str) -> None:
    each = INVARIANTS[name]
    where = ", ".join(WORDS[mark] for mark in each.marks)
    row = f"| {name} | {each.name} | {each.sentence} | {where} | {each.running or 'none'} |"
    assert row in DOCUMENT.read_text(encoding="utf-8").splitlines()


def test_the_document_names_no_invariant_that_is_not_in_the_catalogue() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line[2:5] for line in lines if line.startswith("| I")] == list(INVARIANTS)


def test_a_violation_says_its_name_its_case_what_is_wrong_and_where() -> None:
    found = Violation("I01", "c-1", "a second decision", At("approvals", 2, 17))
    assert str(found) == "I01 decision once: c-1: a second decision (approvals/2@17)"
