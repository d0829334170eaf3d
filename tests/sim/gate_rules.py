"""What holds of every gate: decided once, by who may, on what was asked, in time or higher up."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.sim.reading import Line, millis

if TYPE_CHECKING:
    from tests.sim.case_rules import CaseRules
    from tests.sim.checker import Public, Violate

HOUR_MS = 3_600_000
# The authority of the insurance claim, written down a second time: the least amount of each row.
ROWS: tuple[tuple[str, str, tuple[str, ...], tuple[tuple[str, ...], ...], int], ...] = (
    ("500000.01", "catastrophic", ("chief-claims-officer",), (("ceo", "legal"),), 0),
    ("100000.00", "major", ("vp-claims",), (("chief-claims-officer",),), 72),
    ("25000.00", "large", ("claims-manager",), (("vp-claims",),), 48),
    ("5000.00", "standard", ("senior-adjuster",), (("claims-manager",),), 24),
    ("0.00", "auto", ("system",), (), 0),
)
FRAUD = ("fraud-referral", ("special-investigations-unit",), (("vp-claims", "legal"),), 24)


@dataclass
class Gate:
    """One revision of a gate, as approval speaks of it."""

    row: str
    roles: tuple[str, ...]
    rungs: tuple[tuple[str, ...], ...]
    due_ms: int
    apart: frozenset[str]
    level: int = 0
    alarm: int = 0
    is_over: bool = False
    gave_away: set[tuple[str, str]] = field(default_factory=set)


def row_of(amount: str, flags: list[str]) -> tuple[str, tuple[str, ...], Any, int]:
    """Who decides: name, roles, rungs above, and the hours they have (0: not in hours)."""
    if "fraud" in flags:
        return FRAUD
    value = Decimal(amount)
    return next(tuple(rest) for least, *rest in ROWS if value >= Decimal(least))  # type: ignore[return-value]


class GateRules:
    """All gates of all cases."""

    def __init__(self, public: Public, cases: CaseRules, violate: Violate) -> None:
        self._public, self._cases, self._violate = public, cases, violate
        self.gates: dict[tuple[str, str, int], Gate] = {}
        self.decided: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._line: Line

    def hear(self, line: Line) -> None:
        """An event of the approvals log."""
        self._line = line
        rule = _RULES.get(line.type)
        if rule is not None:
            rule(self, (line.key, line.data["gate_id"], line.data["revision"]), line.data)

    def _opened(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        asked = self._cases.cases[name[0]].requests.get(name[1:])
        if asked is None:
            self._require(False, "I01 decision once", "opened, but never asked for")
            return
        self._require(name not in self.gates, "I01 decision once", "opened twice")
        self._require(asked["digest"] == data["digest"], "I01 decision once", "on other facts")
        row, roles, rungs, hours = row_of(asked["amount"]["amount"], asked["flags"])
        found = (data["row"], tuple(data["roles"]), tuple(map(tuple, data["rungs"])))
        self._require(found == (row, roles, rungs), "I06 authority", f"{found} for {row}")
        due_ms = millis(data["due_at"]) if data["due_at"] else 0
        if hours:
            since = millis(self._line.headers["ce_time"])
            self._require(due_ms == since + hours * HOUR_MS, "promise", f"not {hours} hours")
        self._check_watched(data)
        apart = {asked["requester"], *asked["preparers"], *data["owners"]}
        self.gates[name] = Gate(row, roles, rungs, due_ms, frozenset(apart))

    def _escalated(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        gate = self.gates[name]
        self._require(data["level"] == gate.level + 1, "I29 escalation", "a level was left out")
        self._require(not gate.is_over, "I29 escalation", "of a gate that is over")
        gate.level, gate.roles = data["level"], tuple(data["roles"])
        self._require(gate.roles == gate.rungs[gate.level - 1], "I29 escalation", "other roles")
        self._late(gate, data)
        gate.gave_away.clear()
        if gate.level == len(gate.rungs):
            self._public.counts["top rung reached"] += 1

    def _overdue(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        gate = self.gates[name]
        self._require(gate.level == len(gate.rungs), "I29 escalation", "alarm below the top")
        self._require(data["alarm"] == gate.alarm + 1, "I29 escalation", "an alarm left out")
        gate.alarm = data["alarm"]
        self._late(gate, data)

    def _late(self, gate: Gate, data: dict[str, Any]) -> None:
        breached, detected = millis(data["breached_at"]), millis(data["detected_at"])
        self._require(breached == gate.due_ms, "I29 escalation", "breach of another promise")
        self._require(detected >= breached, "I05 timers", "breached before it was due")
        gate.due_ms = millis(data["due_at"])
        self._check_watched(data)

    def _check_watched(self, data: dict[str, Any]) -> None:
        """A promise that no timer watches over is broken in silence."""
        due_at = data["due_at"]
        watched = not due_at or any(timer["due_at"] == due_at for timer in data["timers"])
        self._require(watched, "I29 escalation", f"no timer for what is due at {due_at}")

    def _delegated(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        gate = self.gates[name]
        roles = self._roles(data["to"])
        self._require(data["role"] in roles, "I08 delegation", f"{data['to']} lacks the role")
        self._require(data["to"] not in gate.apart, "I07 four eyes", f"{data['to']} prepared it")
        gate.gave_away.add((data["by"], data["role"]))
        self._require(self._is_filled(gate, gate.roles), "I08 delegation", "too few are left")

    def _is_filled(
        self, gate: Gate, roles: tuple[str, ...], taken: frozenset[str] = frozenset()
    ) -> bool:
        """Whether each of these roles has a person of its own who may still decide."""
        if not roles:
            return True
        able = (
            person
            for person in (f"person:{name}" for name in self._public.roles)
            if person not in gate.apart | taken
            and (person, roles[0]) not in gate.gave_away
            and roles[0] in self._roles(person)
        )
        return any(self._is_filled(gate, roles[1:], taken | {person}) for person in able)

    def _decided(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        gate = self.gates[name]
        self._require(name not in self.decided, "I01 decision once", "decided twice")
        self._require(not gate.is_over, "I01 decision once", "decided after it was retired")
        self._require(data["digest"] == self._asked(name)["digest"], "I01 decision once", "digest")
        by, roles = data["by"], tuple(data["roles"])
        at = (data["level"], data["row"])
        self._require(at == (gate.level, gate.row), "I06 authority", f"{at} for {gate.row}")
        if data["choice"] == "approve":
            self._require(roles == gate.roles, "I06 authority", f"{roles}, need {gate.roles}")
        self._require(set(roles) <= set(gate.roles), "I06 authority", f"{roles} decided")
        if roles == ("system",):
            amount = Decimal(self._asked(name)["amount"]["amount"])
            flags = self._asked(name)["flags"]
            self._require(amount < 5_000 and not flags, "I10 auto", f"{amount} {flags}")
        else:
            self._check_people(gate, by, roles)
        gate.is_over = True
        self.decided[name] = data
        if self._cases.cases[name[0]].waiting != name[1:]:
            self._public.counts["overtaken"] += 1

    def _check_people(self, gate: Gate, by: list[str], roles: tuple[str, ...]) -> None:
        self._require(len(set(by)) == len(roles), "I07 four eyes", f"{by} for {roles}")
        self._require(self._line.headers["ce_authid"] in by, "I07 four eyes", "another's word")
        for person, role in zip(by, roles, strict=True):
            self._require(person.startswith("person:"), "I10 auto", f"{person} decided")
            self._require(person not in gate.apart, "I07 four eyes", f"{person} prepared it")
            given = (person, role) in gate.gave_away
            self._require(not given, "I08 delegation", f"{person} gave it away")
            if person == self._line.headers["ce_authid"]:
                held = self._roles(person)
                self._require(role in held, "I06 authority", f"{person} is no {role}")

    def _retired(self, name: tuple[str, str, int], data: dict[str, Any]) -> None:
        gate = self.gates.get(name)
        if gate is not None:
            self._require(not gate.is_over, "I01 decision once", "retired after it was over")
            gate.is_over = True

    def _asked(self, name: tuple[str, str, int]) -> dict[str, Any]:
        return self._cases.cases[name[0]].requests[name[1:]]

    def _roles(self, person: str) -> frozenset[str]:
        position = int(self._line.headers["ce_registryposition"])
        return self._public.roles_of(person.removeprefix("person:"), position)

    def _require(self, holds: object, code: str, text: str) -> None:
        if not holds:
            line = self._line
            self._violate(code, f"{line.key} {line.type} {line.place}@{line.offset}: {text}")


_RULES: dict[str, Any] = {
    "gate.opened": GateRules._opened,
    "gate.escalated": GateRules._escalated,
    "gate.overdue": GateRules._overdue,
    "gate.delegated": GateRules._delegated,
    "gate.decided": GateRules._decided,
    "gate.retired": GateRules._retired,
}
