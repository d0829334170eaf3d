"""Broken invariants as findings of a verification: by name, with their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from caseway.invariants.invariant import INVARIANTS, Violation
from caseway_audit.verify import Code, Finding

# The replay of a log finds these itself, and says more of them.
_OF_THE_LOG = frozenset({"I12", "I16", "I17", "I26"})


def broken_findings(violations: Iterable[Violation], known: Sequence[Finding]) -> Iterator[Finding]:
    """One finding for each invariant and case, the first; none twice for a log that is damaged."""
    damaged = {finding.place for finding in known}
    seen: set[tuple[str, str]] = set()
    for each in violations:
        place = f"{each.where.topic}/{each.where.partition}" if each.where is not None else each.key
        if (each.invariant in _OF_THE_LOG and place in damaged) or (
            (each.invariant, each.key) in seen
        ):
            continue
        seen.add((each.invariant, each.key))
        yield Finding(
            code=Code.INVARIANT,
            place=place,
            offset=each.where.offset if each.where is not None else -1,
            expected=INVARIANTS[each.invariant].sentence,
            found=each.what,
            detail=f"{each.name}, {each.key}",
        )
