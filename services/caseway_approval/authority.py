"""Who may decide: the row of a gate, the roles that a person brings, and who is kept apart.

The row is found under the matrix in force when the gate opens, and kept. A person's roles are
those of the registry at the moment of the decision, so a revoked role decides nothing more.
Whatever is missing or unknown has a code and goes to people; nothing here falls back to auto.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from caseway.contracts.matrix import SYSTEM, Row
from caseway.contracts.money import Money
from caseway.kernel.matrix import CompiledMatrix, Explanation, NoRow
from caseway.kernel.registry import Registry
from caseway_approval.state import Asked, Bench


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something does not count: a stable code, and what to do instead."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """The row that decides, the table it stands in, and the cells that matched."""

    matrix: CompiledMatrix
    row: Row
    cells: tuple[str, ...]


def find_row(asked: Asked, registry: Registry) -> Found | Refusal:
    """The row of the matrix that is in force now, with somebody to decide on it."""
    matrix = registry.matrices.get(asked.matrix)
    if matrix is None:
        message = f"no matrix {asked.matrix!r} is in force; publish it"
        return Refusal("MATRIX_UNKNOWN", message)
    amount, currency, flags = asked.amount.decimal, asked.amount.currency, frozenset(asked.flags)
    row = matrix.find(amount, currency, flags)
    if isinstance(row, NoRow):
        message = f"{row.detail}; publish a version of {matrix.pin.name!r} that has a row for it"
        return Refusal(row.reason, message)
    if not row.is_auto and not registry.holders_of(row.approver):
        message = f"nobody holds role {row.approver!r} of row {row.name!r}; appoint a person"
        return Refusal("ROLE_EMPTY", message)
    return Found(matrix, row, matrix.matched_cells(row, amount, currency, flags))


def explain(matrix: CompiledMatrix, amount: Money, flags: Iterable[str]) -> Explanation:
    """The whole table for one question, row by row and cell by cell, for a person to read."""
    return matrix.explain(amount.decimal, amount.currency, frozenset(flags))


def owners_of(names: Iterable[str], registry: Registry) -> tuple[str, ...]:
    """The persons who own the agents among these actors, each once."""
    cards = (registry.agents.get(name.removeprefix("agent:")) for name in _agents(names))
    return tuple(dict.fromkeys(f"person:{card.owner}" for card in cards if card is not None))


def kept_apart(bench: Bench, person: str, registry: Registry) -> str:
    """The rule that keeps this person from deciding; "" if none does.

    Owners count as of the opening and as of now: handing an agent over frees nobody.
    """
    if person == bench.requester:
        return "the requester never decides"
    if person in bench.preparers:
        return "a preparer never decides"
    owned = owners_of((bench.requester, *bench.preparers), registry)
    if person in bench.owners or person in owned:
        return "the owner of an agent that prepared or requested it never decides"
    return ""


def roles_held(bench: Bench, person: str, registry: Registry) -> tuple[str, ...]:
    """The roles of the current level that a person holds now and has not handed to another."""
    handed = {role for role, giver, _ in bench.delegations if giver == person}
    roles = registry.roles_of(person.removeprefix("person:"))
    return tuple(role for role in bench.roles if role in roles - handed - {SYSTEM})


def free_for(bench: Bench, role: str, registry: Registry) -> tuple[str, ...]:
    """Who could fill this role of the current level now, whatever else they have approved."""
    names = (f"person:{name}" for name in registry.holders_of(role))
    return tuple(
        name
        for name in names
        if role in roles_held(bench, name, registry) and not kept_apart(bench, name, registry)
    )


def lacks_authority(bench: Bench, person: str, registry: Registry) -> Refusal:
    """The refusal of a person without a role of the current level: what is needed, what is held."""
    for role, giver, taker in bench.delegations:
        if giver == person:
            return Refusal("AUTHORITY", f"you handed role {role!r} of this gate to {taker}")
    has = ", ".join(sorted(registry.roles_of(person.removeprefix("person:")))) or "none"
    need = " and ".join(bench.outstanding)
    message = f"need {need} (row {bench.row}, level {bench.level}), has {has}; ask one who holds it"
    return Refusal("AUTHORITY", message)


def _agents(names: Iterable[str]) -> Iterable[str]:
    return (name for name in names if name.startswith("agent:"))
