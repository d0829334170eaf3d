"""The desk of these tests: the shipped claim, its agents and people, and a scripted world.

`World` follows one case through the router alone. It keeps the timers that events set and
cancel, as the watchdog does, and knows what was offered, as the agents do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from caseway.casefile.state import CaseState, TaskState
from caseway.contracts import control, report
from caseway.contracts.case import CaseAmended, CaseClosed, GateRequested
from caseway.contracts.control import AgentCard
from caseway.contracts.deadline import SlaBreached, Timed, TimerFired, TimerKind, TimerRequest
from caseway.contracts.decision import Choice, GateDecided
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import Contract, JsonObject
from caseway.contracts.matrix import AuthorityMatrix, Row
from caseway.contracts.record import instant_of, millis_of
from caseway.contracts.submission import AmendmentAdmitted, CaseAdmitted, WithdrawalAdmitted
from caseway.kernel.machine import compile_definition
from caseway.kernel.matrix import compile_matrix
from caseway.kernel.processor import Actor
from caseway.kernel.registry import Registry
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_control.documents import load_document
from caseway_router.service import CARD

SECOND = 1_000
EXPIRES = "2027-01-01T00:00:00Z"
KEY = "ed25519:" + "A" * 43 + "="
SUBMITTER = Actor("submitter:portal", Strength.UNVERIFIED)
PEOPLE = {
    "dora": ("claims-desk",),
    "dan": ("claims-desk", "claims-manager"),
    "mia": ("claims-manager",),
    "pat": ("payments-desk",),
}
AGENTS = {
    "triage-1": ("claims", "claim-triage"),
    "triage-2": ("claims", "claim-triage"),
    "assessor-1": ("claims", "claim-assessment"),
    "settler-1": ("claims", "claim-settlement"),
    "cashier-1": ("payments", "claim-payment"),
    "cashier-2": ("payments", "claim-payment"),
}
FACTS: JsonObject = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-60303ae22b998861",
    "amount": {"amount": "75000.00", "currency": "USD"},
    "incident_kind": "collision",
    "fraud_reported": False,
    "fraud_suspected": False,
}
PAYEE = "person-aaaabbbbccccdddd"
RESULTS: dict[str, JsonObject] = {
    "triage": {"line": "motor", "fraud_suspected": False},
    "assess": {"severity": "major", "evidence_complete": True},
    "settle": {"settlement": {"amount": "75000.00", "currency": "USD"}},
    "request": {"evidence": []},
}
PAID: JsonObject = {"payment_reference": "pay-1"}


def definition() -> ProcessDefinition:
    path = files("caseway_control") / "data" / "insurance" / "definition.yaml"
    document = load_document(path.read_text(encoding="utf-8"), path.name)
    assert isinstance(document, ProcessDefinition)
    return document


@cache
def authority() -> AuthorityMatrix:
    path = files("caseway_control") / "data" / "insurance" / "matrix.yaml"
    document = load_document(path.read_text(encoding="utf-8"), path.name)
    assert isinstance(document, AuthorityMatrix)
    return document


def card(name: str, pool: str, *skills: str) -> AgentCard:
    return AgentCard(agent_id=name, owner="ann", pool=pool, skills=skills, public_key=KEY)


def agents(*names: str) -> dict[str, AgentCard]:
    return {name: card(name, *AGENTS[name]) for name in names or AGENTS}


@cache
def office(*names: str, document: ProcessDefinition | None = None) -> Registry:
    """Definition and people in force, and these agents, or all."""
    documents = (document or definition(), authority())
    return registry_of(*documents, persons=PEOPLE, agents=agents(*names))


def nobody() -> Registry:
    return registry_of(definition(), authority(), persons=PEOPLE)


def admitted(facts: JsonObject = FACTS, document: ProcessDefinition | None = None) -> CaseAdmitted:
    return CaseAdmitted(
        definition=compile_definition(document or definition()).pin,
        source="portal",
        key="PC-1017",
        body_sha256="a" * 64,
        facts=facts,
        submitted_at=instant_of(0),
    )


def amendment(**changes: Any) -> AmendmentAdmitted:
    return AmendmentAdmitted(changes=changes, reason="corrected")


def withdrawal() -> WithdrawalAdmitted:
    return WithdrawalAdmitted(reason="settled elsewhere")


@dataclass(frozen=True)
class World:
    """One case and what surrounds the router; immutable, so a story branches at any point."""

    story: Given[CaseState]
    timers: dict[str, tuple[int, TimerRequest]] = field(default_factory=dict)

    @property
    def state(self) -> CaseState:
        assert self.story.state is not None
        return self.story.state

    @property
    def events(self) -> tuple[Contract, ...]:
        return self.story.said_events

    @property
    def types(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def task(self) -> TaskState:
        """The one task that is not done."""
        (found,) = [task for task in self.state.tasks.values() if task.status != "done"]
        return found

    @property
    def holder(self) -> str:
        return self.task.holder

    @property
    def digest(self) -> str:
        return self.task.inputs_digest

    @property
    def request(self) -> GateRequested:
        return [event for event in self.story.history if isinstance(event, GateRequested)][-1]

    def hear(self, data: Contract, actor: str | Actor = "", **changes: Any) -> World:
        """One record comes; the timers it leads to run from now."""
        story = self.story.when(data, actor=actor, **changes)
        timers = dict(self.timers)
        for event in story.said_events:
            if isinstance(event, Timed):
                wanted = {timer.timer_id: timer for timer in event.timers}
                for name in event.cancels:
                    timers.pop(name, None)
                for name, timer in wanted.items():
                    due = millis_of(timer.due_at) if timer.due_at else story.at_ms
                    timers[name] = (due + (timer.after_s or 0) * SECOND, timer)
            if isinstance(event, CaseClosed):
                timers = {}
        return World(story, timers)

    def report(self, model: Any, actor: str = "", /, **fields: Any) -> World:
        """A report of the holder on the one open task, unless fields say another."""
        task_fields: dict[str, Any] = {}
        open_tasks = [task for task in self.state.tasks.values() if task.status != "done"]
        if len(open_tasks) == 1:
            (task,) = open_tasks
            task_fields = {"task_id": task.task_id, "token": max(task.token, 1)}
            task_fields |= {"inputs_digest": task.inputs_digest, "effect_id": task.effect_id}
            actor = actor or task.holder
        defaults = {"namespace": NAMESPACE, "expires_at": EXPIRES, **task_fields, **fields}
        known = {name: value for name, value in defaults.items() if name in model.model_fields}
        return self.hear(model(**known), actor)

    def claim(self, actor: str, **fields: Any) -> World:
        return self.report(report.ClaimTask, actor, **fields)

    def complete(self, actor: str = "", **fields: Any) -> World:
        name = self.task.task if "output" not in fields else ""
        made = {"output": RESULTS.get(name, {}), "confidence": "0.95", **fields}
        return self.report(report.CompleteTask, actor, **made)

    def fail(self, *, again: bool = True, **fields: Any) -> World:
        made = {"code": "no-answer", "detail": "timeout", "is_retryable": again}
        return self.report(report.FailTask, **{**made, **fields})

    def release(self, **fields: Any) -> World:
        return self.report(report.ReleaseTask, **{"reason": "busy", **fields})

    def beat(self, **fields: Any) -> World:
        return self.report(report.HeartbeatTask, **fields)

    def begin(self, **fields: Any) -> World:
        return self.report(report.BeginEffect, **fields)

    def outcome(self, outcome: str, **fields: Any) -> World:
        output = PAID if outcome == "done" else {}
        return self.report(report.ReportEffect, **{"outcome": outcome, "output": output, **fields})

    def decide(self, choice: Choice = Choice.APPROVE, **fields: Any) -> World:
        """Approval decided the gate as it was last asked for."""
        asked = self.request
        matrix = compile_matrix(authority())
        row = matrix.find(asked.amount.decimal, asked.amount.currency, frozenset(asked.flags))
        assert isinstance(row, Row)
        made: dict[str, Any] = {
            "gate_id": asked.gate_id,
            "revision": asked.revision,
            "digest": asked.digest,
            "choice": choice,
            "by": ("system",) if row.is_auto else ("person:mia",),
            "roles": (row.approver,),
            "level": 0,
            "reason": "seen",
            "row": row.name,
            "matrix": matrix.pin,
        }
        return self.hear(GateDecided(**{**made, **fields}))

    def wait(self, seconds: float) -> World:
        return replace(self, story=replace(self.story, at_ms=self.story.at_ms + int(seconds * 1e3)))

    def fire(self, name: str = "") -> World:
        """The next timer comes due, or the one of this name."""
        assert self.timers, "nothing is timed"
        name = name or min(self.timers, key=lambda key: (self.timers[key][0], key))
        due_ms, timer = self.timers[name]
        left = {key: value for key, value in self.timers.items() if key != name}
        now = replace(self.story, at_ms=max(self.story.at_ms, due_ms))
        return World(now, left).hear(fired(timer, due_ms))

    def under(self, registry: Registry) -> World:
        return replace(self, story=self.story.under(registry))

    def told(self, fact: Contract, registry: Registry) -> World:
        """A registry fact is broadcast."""
        return self.hear(fact, topic="registry", registry=registry)

    def registered(self, *names: str) -> World:
        registry = registry_of(agents=agents(*names), base=self.story.registry)
        world = self.under(registry)
        for name in names:
            fact = control.AgentRegistered(card=registry.agents[name], signers=())
            world = world.told(fact, registry)
        return world

    def quarantined(self, name: str) -> World:
        base = self.story.registry
        registry = replace(base, quarantined={**base.quarantined, name: "odd"})
        fact = control.AgentQuarantined(agent_id=name, reason="odd", signers=())
        return self.told(fact, registry)

    def freed(self, name: str) -> World:
        base = self.story.registry
        left = {key: why for key, why in base.quarantined.items() if key != name}
        fact = control.AgentReleased(agent_id=name, reason="mended", signers=())
        return self.told(fact, replace(base, quarantined=left))

    def halted(self) -> World:
        fact = control.NamespaceHalted(reason="stop", signers=())
        return self.told(fact, replace(self.story.registry, is_halted=True))

    def resumed(self) -> World:
        fact = control.NamespaceResumed(reason="go", signers=())
        return self.told(fact, replace(self.story.registry, is_halted=False))


def fired(timer: TimerRequest, due_ms: int) -> Contract:
    """What the watchdog says of a timer that came due."""
    due = instant_of(due_ms)
    if timer.kind is TimerKind.SLA:
        return SlaBreached(
            timer_id=timer.timer_id,
            about=timer.about,
            breached_at=due,
            detected_at=due,
            requester="cases",
        )
    return TimerFired(
        timer_id=timer.timer_id,
        kind=timer.kind,
        about=timer.about,
        due_at=due,
        detected_at=due,
        requester="cases",
    )


def opened(registry: Registry | None = None, **facts: Any) -> World:
    """A case in its first phase."""
    world = World(Given(CARD, registry or office()))
    return world.hear(admitted({**FACTS, **facts}), SUBMITTER)


def assessed(registry: Registry | None = None) -> World:
    return opened(registry).complete()


def queued() -> World:
    """A case in which a person has to ask for documents."""
    output = {"severity": "minor", "evidence_complete": False}
    return assessed().complete(output=output)


def at_gate(**facts: Any) -> World:
    return opened(**facts).complete().complete().complete()


def paying() -> World:
    """An approved case whose payment is granted to a cashier."""
    return at_gate().decide()


def permitted() -> World:
    return paying().begin()


def amended(world: World) -> list[Contract]:
    """What an amendment led to, after the amendment itself."""
    first, *rest = world.events
    assert isinstance(first, CaseAmended)
    return rest
