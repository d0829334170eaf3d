"""A short cut of `make sim`: some seeds on every run of the tests, and the simulator itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sim.counters import RARE, missing
from tests.sim.performing import COMMIT_FAILURES
from tests.sim.plan import FAULTS, Plan, draw
from tests.sim.running import run, run_seed
from tests.sim.shrinking import literal, shrink

SEEDS = 10


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_rules_hold_whatever_goes_wrong(seed: int) -> None:
    result = run_seed(seed)
    assert not result.code, f"make sim SEED={seed}\n{result.text}"


def test_a_claim_of_75000_in_a_world_without_faults_is_paid() -> None:
    result = run(Plan(seed=1, amount="75000.00"), is_told=True)
    assert not result.code, result.text
    assert result.counts["event: case.closed"] == 1
    assert any("the bank pays 75000.00 USD" in line for line in result.story or ())
    assert not result.struck


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_asked_for_somewhere(kind: str) -> None:
    """That each strikes in a thousand seeds is for `make sim` to say."""
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")]
    asked = any(f'strikes("{kind}")' in source for source in sources)
    assert asked or kind in COMMIT_FAILURES


def test_the_same_seed_is_the_same_story_and_another_is_another() -> None:
    first, again = (run(draw(7), is_told=True, is_digested=True) for _ in range(2))
    assert (first.story, first.digest) == (again.story, again.digest)
    assert run(draw(8), is_digested=True).digest != first.digest


def test_a_failing_plan_is_made_small_and_written_down() -> None:
    """Judged by a rule that holds of nothing: a claim that is paid is a violation."""
    plan = replace(draw(11), amount="75000.00")
    small, result = shrink(plan, "", lambda _text: None)
    assert not result.code
    assert len(small.cases) == 1
    assert not any((small.faults, small.agents, small.people, small.controls))
    assert eval(literal(small), {"Plan": Plan}) == small


def test_a_rare_state_that_never_occurred_is_named() -> None:
    assert missing(Counter(dict.fromkeys(RARE, 1))) == []
    assert missing(Counter(dict.fromkeys(list(RARE)[1:], 1))) == [RARE[next(iter(RARE))]]
