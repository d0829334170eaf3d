"""Admits facts: what a submitter sends, and what a task reports, against their typed fields.

Everything wrong is told at once, so that a sender corrects it at once; never with the value,
because the value may be what must not be in a log. Admitted facts are plain JSON in one form
(text in NFC, an absent fact left out), so equal facts have equal digests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from caseway.contracts.definition import Fact
from caseway.errors import ContractError
from caseway.kernel.fact_values import read_value, refused
from caseway.kernel.machine import Machine

# The deepest fact is a list of references: three levels. More is an attack on somebody's stack.
DEPTH_MAX = 8
# A hundred references with their fields are five hundred values.
VALUES_MAX = 2000
# Only a name of this shape is repeated in a message: any other may hold what is not ours to keep.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


class FactsInvalid(ContractError):
    """Facts that do not fit their definition: all errors, the first of them as the message.

    Operator action: none for the service; correct the sender.
    """

    def __init__(self, errors: Iterable[ContractError], *, code: str | None = None) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(str(first), code=code or first.code, where=first.where)


def admit_facts(machine: Machine, submitted: Any) -> dict[str, Any]:
    """The facts a case opens with: validated, normalised, with defaults.

    Raises:
        FactsInvalid: with the code of its first error.
    """
    facts = _admitted(machine, submitted)
    missing = [
        refused("FIELD_MISSING", f"/{name}", "is missing; the process needs it")
        for name, fact in machine.facts.items()
        if fact.required and name not in facts.values and name not in facts.unfit
    ]
    facts.raise_any(missing)
    defaults = {name: getattr(fact, "default", None) for name, fact in machine.facts.items()}
    everything = {**defaults, **facts.values}
    return {name: everything[name] for name in machine.facts if everything[name] is not None}


def admit_changes(machine: Machine, changes: Any) -> dict[str, Any]:
    """The changes of an amendment, validated like facts; a fact is changed, never removed.

    Raises:
        FactsInvalid: with the code of its first error.
    """
    facts = _admitted(machine, changes)
    nulls = [
        refused("FIELD_MISSING", f"/{name}", "is null; a fact can be changed, not removed")
        for name in facts.nulls
    ]
    if changes == {}:
        nulls = [refused("FIELD_MISSING", "", "no fact is changed; name at least one")]
    facts.raise_any(nulls)
    return facts.values


def amend_facts(
    machine: Machine, current: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts of a case after an amendment.

    Raises:
        FactsInvalid: with the code of its first error.
    """
    return {**current, **admit_changes(machine, changes)}


def admit_outputs(machine: Machine, task: str, output: Any) -> dict[str, Any]:
    """The facts that a task's result writes: all of its outputs and nothing else.

    Raises:
        FactsInvalid: RESULT_SCHEMA; each of its errors has its own code and path.
    """
    expected = machine.task(task).output
    facts = _Admission(machine.facts, "is not an output of this task")
    facts.read(output, expected)
    missing = [
        refused("FIELD_MISSING", f"/{name}", "is missing; a result has every output of its task")
        for name in expected
        if name not in facts.values and name not in facts.unfit
    ]
    facts.raise_any(missing, code="RESULT_SCHEMA")
    return facts.values


def _admitted(machine: Machine, submitted: Any) -> _Admission:
    facts = _Admission(machine.facts, "is found out by a task, not sent")
    facts.read(submitted, [n for n, fact in machine.facts.items() if fact.origin == "submission"])
    return facts


class _Admission:
    """One reading of facts: what fits, and everything that does not."""

    def __init__(self, facts: Mapping[str, Fact], not_allowed: str) -> None:
        self.values: dict[str, Any] = {}
        self.unfit: set[str] = set()
        self.nulls: list[str] = []
        self._facts = facts
        self._not_allowed = not_allowed
        self._errors: list[ContractError] = []

    def read(self, sent: Any, allowed: Collection[str]) -> None:
        """Sort what was sent; unknown names come first, because they explain missing ones."""
        if (out_of_bounds := _out_of_bounds(sent)) is not None:
            self._errors.append(out_of_bounds)
            self.unfit.update(self._facts)
            return
        self._errors += [self._unexpected(name, allowed) for name in sent if name not in allowed]
        for name in allowed:
            if sent.get(name) is None:
                self.nulls += [name] if name in sent else []
                continue
            try:
                self.values[name] = read_value(self._facts[name], sent[name], f"/{name}")
            except ContractError as error:
                self._errors.append(error)
                self.unfit.add(name)

    def raise_any(self, more: list[ContractError], *, code: str | None = None) -> None:
        if errors := [*self._errors, *more]:
            raise FactsInvalid(errors, code=code)

    def _unexpected(self, name: str, allowed: Collection[str]) -> ContractError:
        if name in self._facts:
            return refused("FIELD_FORBIDDEN", f"/{name}", f"{self._not_allowed}; leave it out")
        close = get_close_matches(name, list(allowed), 1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected {', '.join(allowed)}"
        return refused("UNKNOWN_FIELD", f"/{name}", f"is not a fact of this process; {hint}")


def _out_of_bounds(sent: Any) -> ContractError | None:
    """Refuse what is no object, too deep, too much, or has names that no message may repeat."""
    if not isinstance(sent, dict):
        return refused("FIELD_TYPE", "", "facts are an object of names and values; send one")
    pending: list[tuple[dict[str, Any] | list[Any], str, int]] = [(sent, "", 1)]
    count = 0
    while pending:
        value, where, depth = pending.pop()
        if depth > DEPTH_MAX:
            return refused("TOO_DEEP", where, f"is nested more than {DEPTH_MAX} deep; flatten it")
        count += len(value)
        if count > VALUES_MAX:
            return refused("TOO_MANY", where, f"holds more than {VALUES_MAX} values; send fewer")
        if isinstance(value, dict) and not all(_is_name(key) for key in value):
            what = "has a field whose name is not letters, digits, _ or -; rename it"
            return refused("UNKNOWN_FIELD", where, what)
        items = value.items() if isinstance(value, dict) else enumerate(value)
        pending += [
            # The place of a fact is told exactly; what lies deeper is told as its fact.
            (item, where or f"/{key}", depth + 1)
            for key, item in items
            if isinstance(item, dict | list)
        ]
    return None


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and _NAME.fullmatch(key) is not None
