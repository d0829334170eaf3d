"""A short cut of `make bugbank`: all defects fit, three are found, and nothing without."""

from __future__ import annotations

import pytest

from tests.bugbank.bank import BANK, SUBJECTS
from tests.bugbank.hunting import hunt, hunt_nothing
from tests.bugbank.planting import Defect, Edit, OutOfDate, planted
from tests.sim.plan import draw

QUICK = ("fencing-dropped", "positions-outside", "leaf-order-swapped")


@pytest.mark.parametrize("name", BANK)
def test_a_defect_still_fits_the_product_and_is_taken_out_again(name: str) -> None:
    defect = BANK[name]
    before = [edit.function for edit in defect.edits]
    with planted(defect):
        pass
    assert before == [edit.function for edit in defect.edits]
    assert defect.wrong.endswith(".")
    assert defect.expected


def test_every_subject_has_defects() -> None:
    assert all(SUBJECTS.values())
    assert len(BANK) >= 30


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_defect_is_found(name: str) -> None:
    found = hunt(BANK[name], seeds=5, jobs=1)
    assert found.by, f"not found in {found.seeds} seeds"


def test_nothing_is_found_when_nothing_is_planted() -> None:
    assert hunt_nothing(3, jobs=1) == []


def test_a_defect_whose_words_are_gone_says_so() -> None:
    stale = Defect("stale", "It is gone.", "none", (Edit(draw, "no such words", ""),))
    with pytest.raises(OutOfDate, match="0 times in draw"), planted(stale):
        pass


def test_a_planted_function_is_another_one_only_inside() -> None:
    wrong = Defect("one case", "A city has no cases.", "none", (Edit(draw, "(1, 1, 2, 2,", "(2,"),))
    before = draw.__code__
    with planted(wrong):
        assert draw.__code__ is not before
    assert draw.__code__ is before
