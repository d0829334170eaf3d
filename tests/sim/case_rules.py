"""What holds of every case, told from the `cases` log: one life, one holder, one payment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.sim.reading import Line

if TYPE_CHECKING:
    from tests.sim.checker import Public, Violate

# The machine of the insurance claim as its picture shows it; amendments lead back besides.
EDGES = {
    ("", "intake"),
    ("intake", "assessment"),
    ("assessment", "settlement"),
    ("assessment", "documents"),
    ("documents", "assessment"),
    ("settlement", "authority"),
    ("authority", "payment"),
    ("authority", "declined"),
    ("authority", "assessment"),
    ("payment", "paid"),
    ("payment", "authority"),
}
SKILLS = {
    "triage": "claim-triage",
    "assess": "claim-assessment",
    "cover": "claim-assessment",
    "settle": "claim-settlement",
    "pay": "claim-payment",
}
OUTCOMES = {"paid", "declined", "withdrawn"}
AFTER_THE_END = {"report.refused", "wish.refused"}


@dataclass
class Task:
    """A task that is not over; `holder` while somebody holds its lease."""

    queue: str = ""
    holder: str = ""
    token: int = 0


@dataclass
class Case:
    """What the log has said of one case so far."""

    phase: str = ""
    round: int = 0
    token: int = 0
    partition: int = 0
    outcome: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    amended_by: str = ""
    visited: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    waiting: tuple[str, int] | None = None
    requests: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    consumed: dict[tuple[str, int], str] = field(default_factory=dict)
    permits: dict[str, dict[str, Any]] = field(default_factory=dict)
    open_effect: str = ""
    done: list[str] = field(default_factory=list)


class CaseRules:
    """All cases."""

    def __init__(self, public: Public, violate: Violate) -> None:
        self._public, self._violate_ = public, violate
        self.cases: dict[str, Case] = defaultdict(Case)
        self.admitted: dict[str, dict[str, Any]] = {}
        self.decided: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._line: Line

    def admit(self, line: Line) -> None:
        """An event of the intake log."""
        self._line = line
        if line.type == "case.admitted":
            self._require(line.key not in self.admitted, "I03 idempotency", "admitted twice")
            self.admitted[line.key] = line.data

    def hear(self, line: Line) -> None:
        """An event of the cases log."""
        self._line = line
        case = self.cases[line.key]
        if case.outcome:
            self._require(line.type in AFTER_THE_END, "I21 terminal", f"after {case.outcome}")
        rule = _RULES.get(line.type)
        if rule is not None:
            rule(self, case, line.data)

    def check_never_stuck(self, keys: set[str]) -> None:
        """After a commit every open case has a live task or a gate that waits."""
        for key in keys:
            case = self.cases[key]
            if not (case.outcome or case.tasks or case.waiting):
                self._require(False, "I04 never stuck", f"{key} has neither task nor gate")

    def check_quarantine(self, partition: int, position: int) -> None:
        """After a commit no lease of its partition is held by an agent that is shut out by then."""
        for key, case in self.cases.items():
            for task_id, task in case.tasks.items() if case.partition == partition else ():
                kind, _, name = task.holder.partition(":")
                shut = kind == "agent" and self._public.is_quarantined(name, position)
                self._require(not shut, "I19 quarantine", f"{name} still holds {task_id} of {key}")

    # -- life -------------------------------------------------------------------------------------

    def _opened(self, case: Case, data: dict[str, Any]) -> None:
        self._require(self._line.key in self.admitted, "admission", "opened, never admitted")
        self._require(case.round == 0 and not case.phase, "I03 idempotency", "opened twice")
        case.partition, case.facts = self._line.partition, dict(data["facts"])

    def _entered(self, case: Case, data: dict[str, Any]) -> None:
        edge = (case.phase, data["phase"])
        went_back = case.amended_by == self._line.cause and data["phase"] in case.visited
        self._require(edge in EDGES or went_back, "I21 transitions", f"{edge[0]} to {edge[1]}")
        self._require(data["round"] == case.round + 1, "I21 transitions", "a round was left out")
        case.phase, case.round = data["phase"], data["round"]
        case.visited.append(case.phase)
        if data["phase"] == "payment":
            approvals = [how for how in case.consumed.values() if how == "approve"]
            self._require(bool(approvals), "I06 authority", "payment without an approval")

    def _amended(self, case: Case, data: dict[str, Any]) -> None:
        self._require(not case.open_effect, "I21 transitions", "amended after the permit")
        case.amended_by = self._line.cause
        case.facts.update(data["changes"])

    def _closed(self, case: Case, data: dict[str, Any]) -> None:
        outcome = data["outcome"]
        self._require(outcome in OUTCOMES, "I21 transitions", f"outcome {outcome}")
        self._require(not case.open_effect, "payment", f"closed as {outcome} with an open effect")
        self._require(bool(case.done) == (outcome == "paid"), "payment", f"{outcome}, {case.done}")
        self._require(not case.tasks and not case.waiting, "I21 terminal", "something was open")
        case.outcome = outcome

    # -- tasks ------------------------------------------------------------------------------------

    def _task_opened(self, case: Case, data: dict[str, Any]) -> None:
        case.tasks[data["task_id"]] = Task(queue=data["queue"])

    def _granted(self, case: Case, data: dict[str, Any]) -> None:
        task_id, holder, token = data["task_id"], data["holder"], data["token"]
        task = case.tasks.setdefault(task_id, Task())
        self._require(not task.holder, "I18 one holder", f"{task_id}: {task.holder} and {holder}")
        self._require(token > case.token, "I18 one holder", f"token {token} after {case.token}")
        case.token = task.token = token
        task.holder = holder
        kind, _, name = holder.partition(":")
        position = int(self._line.headers["ce_registryposition"])
        if kind == "agent":
            self._require(not task.queue, "I20 capability", f"{holder} took a person's task")
            skill = SKILLS.get(task_id.rpartition("-")[0])
            self._require(skill in self._public.skills[name], "I20 capability", holder)
            shut = self._public.is_quarantined(name, position)
            self._require(not shut, "I19 quarantine", f"{holder} was given {task_id}")
        else:
            roles = self._public.roles_of(name, position)
            self._require(task.queue in roles, "I20 capability", f"{holder} from {task.queue}")

    def _completed(self, case: Case, data: dict[str, Any]) -> None:
        self._of_holder(case, data)
        sender = self._line.headers["ce_authid"]
        self._require(sender == data["holder"], "I18 one holder", f"{sender} completed it")
        case.facts.update(data["output"])
        del case.tasks[data["task_id"]]

    def _of_holder(self, case: Case, data: dict[str, Any]) -> None:
        task = case.tasks.get(data["task_id"], Task())
        good = task.token == data["token"] and task.holder
        self._require(good, "I18 one holder", f"{data['task_id']}: token {data['token']} is stale")

    def _attempt_ended(self, case: Case, data: dict[str, Any]) -> None:
        self._of_holder(case, data)
        self._public.counts[f"attempt ended: {data['code']}"] += 1
        case.tasks[data["task_id"]].holder = ""

    def _escalated(self, case: Case, data: dict[str, Any]) -> None:
        task = case.tasks.setdefault(data["task_id"], Task())
        self._require(bool(data["queue"]), "I04 never stuck", "escalated to nobody")
        task.queue = data["queue"]
        if data["code"] != "SLA_BREACHED":
            task.holder = ""
        self._public.counts[f"escalated: {data['code']}"] += 1

    def _cancelled(self, case: Case, data: dict[str, Any]) -> None:
        case.tasks.pop(data["task_id"], None)

    # -- gates ------------------------------------------------------------------------------------

    def _requested(self, case: Case, data: dict[str, Any]) -> None:
        name = (data["gate_id"], data["revision"])
        self._require(name not in case.requests, "I01 decision once", f"{name} asked twice")
        self._require(case.waiting is None, "I01 decision once", "two gates wait")
        case.requests[name] = data
        case.waiting = name

    def _consumed(self, case: Case, data: dict[str, Any]) -> None:
        name = (data["gate_id"], data["revision"])
        self._require(case.waiting == name, "I01 decision once", f"{name} does not wait")
        decided = self.decided.get((self._line.key, *name))
        if decided is None:
            self._require(False, "I01 decision once", f"{name} was never decided")
            return
        said = (decided["choice"], decided["by"], decided["digest"])
        same = said == (data["choice"], data["by"], data["digest"])
        self._require(same, "I01 decision once", f"{name} consumed as something else")
        asked = case.requests[name]["digest"]
        self._require(asked == data["digest"], "I01 decision once", f"{name} on other facts")
        case.consumed[name] = data["choice"]
        case.waiting = None

    def _voided(self, case: Case, data: dict[str, Any]) -> None:
        name = (data["gate_id"], data["revision"])
        self._require(case.waiting == name, "I01 decision once", f"{name} voided, waits not")
        case.waiting = None

    # -- effects ----------------------------------------------------------------------------------

    def _permitted(self, case: Case, data: dict[str, Any]) -> None:
        self._of_holder(case, data)
        effect, name = data["effect_id"], (data["gate_id"], data["revision"])
        self._require(effect not in case.permits, "I02 one permit", f"{effect} permitted twice")
        self._require(not case.open_effect, "I02 one permit", "two effects are open")
        self._require(not case.done, "I02 one permit", "permitted after it was done")
        approved = case.consumed.get(name) == "approve" and name == max(case.requests, key=_age)
        self._require(approved, "I06 authority", f"permit on {name}, which does not stand")
        asked = case.requests[name]
        self._require(data["amount"] == asked["amount"], "I06 authority", "another amount")
        payee = asked["material"]["payee"]
        self._require(data["payee"] == payee, "I06 authority", "another payee than approved")
        suspected = case.facts.get("fraud_reported") or case.facts.get("fraud_suspected")
        self._require("fraud" in asked["flags"] or not suspected, "I06 authority", "fraud unseen")
        now = (case.facts.get("settlement"), case.facts.get("payee"))
        self._require(now == (asked["amount"], payee), "I06 authority", "the facts are others now")
        halted = self._public.is_halted(int(self._line.headers["ce_registryposition"]))
        self._require(not halted, "I30 halt", "permitted while halted")
        case.permits[effect] = data
        case.open_effect = effect

    def _doubted(self, case: Case, data: dict[str, Any]) -> None:
        self._require(data["effect_id"] == case.open_effect, "payment", "doubt about another")
        case.tasks[data["task_id"]].holder = ""

    def _settled(self, case: Case, data: dict[str, Any]) -> None:
        self._require(data["effect_id"] == case.open_effect, "payment", "settled another effect")
        if data["outcome"] == "done":
            case.done.append(data["effect_id"])
            case.open_effect = ""
        elif data["by"].startswith("person:"):
            case.open_effect = ""

    def _require(self, holds: object, code: str, text: str) -> None:
        if not holds:
            line = self._line
            self._violate_(code, f"{line.key} {line.type} {line.place}@{line.offset}: {text}")


def _age(name: tuple[str, int]) -> tuple[int, int]:
    return int(name[0].rpartition("-")[2]), name[1]


_RULES: dict[str, Callable[[CaseRules, Case, dict[str, Any]], None]] = {
    "case.opened": CaseRules._opened,
    "phase.entered": CaseRules._entered,
    "case.amended": CaseRules._amended,
    "case.closed": CaseRules._closed,
    "task.opened": CaseRules._task_opened,
    "task.granted": CaseRules._granted,
    "task.completed": CaseRules._completed,
    "lease.extended": CaseRules._of_holder,
    "attempt.ended": CaseRules._attempt_ended,
    "task.escalated": CaseRules._escalated,
    "task.cancelled": CaseRules._cancelled,
    "gate.requested": CaseRules._requested,
    "gate.consumed": CaseRules._consumed,
    "gate.voided": CaseRules._voided,
    "effect.permitted": CaseRules._permitted,
    "effect.doubted": CaseRules._doubted,
    "effect.settled": CaseRules._settled,
}
