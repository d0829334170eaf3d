"""The `approvals` log: rows, benches, decisions, rungs (I01 I06-I10 I29).

Every gate revision is judged by the document that its opening names, and every person by the
roles they held when they spoke.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caseway.contracts import decision
from caseway.contracts.codec import Event
from caseway.contracts.decision import GateOpened
from caseway.contracts.matrix import SYSTEM
from caseway.invariants.invariant import At, Report
from caseway.invariants.pairs import Pairs, gate_of
from caseway.invariants.published import Published
from caseway.invariants.verdicts import Speaker, judge_auto, judge_roles, judge_speaker


@dataclass(slots=True)
class Bench:
    """The newest revision of one gate; `handed` is who has which role of whom at this level."""

    revision: int
    status: str
    opened: GateOpened | None = None
    level: int = 0
    alarm: int = 0
    endorsed: dict[str, str] = field(default_factory=dict)
    handed: dict[tuple[str, str], str] = field(default_factory=dict)


class Gates:
    """Every gate of the logs that were fed."""

    def __init__(self, published: Published, report: Report, pairs: Mapping[str, Pairs]) -> None:
        self.benches: dict[tuple[str, str], Bench] = {}
        self._published = published
        self._report = report
        self._pairs = pairs

    def take(self, at: At, event: Event) -> None:
        """The next event of an `approvals` partition."""
        fold = _FOLDS.get(type(event.data))
        if fold is not None:
            data: Any = event.data
            fold(self, self.benches.get((event.key, data.gate_id)), data, at, event)

    # -- openings -----------------------------------------------------------------------------

    def _opened(self, bench: Bench | None, data: decision.GateOpened, at: At, event: Event) -> None:
        self._begin(bench, data, at, event)
        self.benches[event.key, data.gate_id] = Bench(data.revision, "open", data)
        position = event.envelope.registry_position

        def judge() -> None:
            if not self._published.is_in_force(data.matrix, position):
                found = f"{data.gate_id} opens under {data.matrix}, which is not in force"
                self._report("I09", event.key, found, at)

        self._published.when(position, judge)
        self._pairs["requests"].effect(gate_of(event), at, event)

    def _unmatched(
        self, bench: Bench | None, data: decision.GateUnmatched, at: At, event: Event
    ) -> None:
        self._begin(bench, data, at, event)
        self.benches[event.key, data.gate_id] = Bench(data.revision, "unmatched")

    def _begin(self, bench: Bench | None, data: Any, at: At, event: Event) -> None:
        if bench is None or (bench.status == "unmatched" and bench.revision == data.revision):
            return
        if data.revision <= bench.revision or bench.status in ("open", "unmatched"):
            found = f"{data.gate_id} revision {data.revision} opens after {bench.revision}"
            self._report("I09", event.key, f"{found}, which is {bench.status}", at)

    def _open(self, bench: Bench | None, data: Any, at: At, event: Event) -> Bench | None:
        """The bench, if this revision is open; what comes after its end changes it."""
        if bench is not None and bench.revision == data.revision and bench.opened is not None:
            if bench.status == "open":
                return bench
            is_second = bench.status == "decided" and isinstance(data, decision.GateDecided)
            found = f"{event.envelope.type} of {data.gate_id}, which is {bench.status}"
            self._report("I01" if is_second else "I09", event.key, found, at)
        else:
            found = f"{event.envelope.type} of {data.gate_id} revision {data.revision}"
            self._report("I09", event.key, f"{found}, which is not open", at)
        return None

    # -- who speaks ---------------------------------------------------------------------------

    def _speaks(
        self, bench: Bench, person: str, role: str, at: At, event: Event, rule: str = "I06"
    ) -> None:
        if bench.opened is not None:
            speaker = Speaker(person, role, rule, bench.opened)
            judge_speaker(self._published, self._report, speaker, at, event)

    def _endorsed(
        self, bench: Bench | None, data: decision.DecisionEndorsed, at: At, event: Event
    ) -> None:
        open_ = self._open(bench, data, at, event)
        if open_ is None:
            return
        self._speaks(open_, data.by, data.role, at, event)
        if data.role in open_.endorsed or data.by in open_.endorsed.values():
            self._report("I07", event.key, f"{data.by} counts twice in {data.gate_id}", at)
        open_.endorsed[data.role] = data.by

    def _delegated(
        self, bench: Bench | None, data: decision.GateDelegated, at: At, event: Event
    ) -> None:
        open_ = self._open(bench, data, at, event)
        if open_ is None:
            return
        self._speaks(open_, data.to, data.role, at, event, "I08")
        self._speaks(open_, data.by, data.role, at, event, "I08")
        givers, takers = {by for by, _ in open_.handed}, set(open_.handed.values())
        # Who holds two roles may hand each to another; a role handed, or taken, stays where it is.
        given = (data.by, data.role)
        if given in open_.handed or data.by in takers or data.to in {*givers, data.by}:
            found = f"{data.by} hands {data.role!r} of {data.gate_id} on to {data.to} a second time"
            self._report("I08", event.key, found, at)
        open_.handed[given] = data.to

    def _decided(
        self, bench: Bench | None, data: decision.GateDecided, at: At, event: Event
    ) -> None:
        open_ = self._open(bench, data, at, event)
        self._pairs["takings"].cause(gate_of(event), at, event)
        if open_ is None or open_.opened is None:
            return
        opened, open_.status = open_.opened, "decided"
        if (data.matrix, data.row, data.digest) != (opened.matrix, opened.row, opened.digest):
            found = f"{data.gate_id} is decided by another row, matrix or digest than it opened on"
            self._report("I09", event.key, found, at)
        if SYSTEM in data.by or not all(name.startswith("person:") for name in data.by):
            judge_auto(self._published, self._report, at, event)
            return
        if len(set(data.by)) != len(data.by) or len(data.by) != len(data.roles):
            self._report("I07", event.key, f"one person counts twice in {data.gate_id}", at)
        for person, role in zip(data.by, data.roles, strict=False):
            if open_.endorsed.get(role) != person:
                self._speaks(open_, person, role, at, event)
        judge_roles(self._published, self._report, open_.level, at, event)

    # -- rungs --------------------------------------------------------------------------------

    def _escalated(
        self, bench: Bench | None, data: decision.GateEscalated, at: At, event: Event
    ) -> None:
        open_ = self._open(bench, data, at, event)
        if open_ is None or open_.opened is None:
            return
        rungs = open_.opened.rungs
        if data.level != open_.level + 1 or data.level > len(rungs):
            found = f"{data.gate_id} goes from level {open_.level} to {data.level}"
            self._report("I29", event.key, found, at)
        elif data.roles != rungs[data.level - 1]:
            self._report("I29", event.key, f"level {data.level} is not {data.roles}", at)
        open_.level, open_.endorsed, open_.handed = data.level, {}, {}

    def _overdue(
        self, bench: Bench | None, data: decision.GateOverdue, at: At, event: Event
    ) -> None:
        open_ = self._open(bench, data, at, event)
        if open_ is None or open_.opened is None:
            return
        if open_.level != len(open_.opened.rungs) or data.alarm != open_.alarm + 1:
            found = f"alarm {data.alarm} of {data.gate_id} at level {open_.level}"
            self._report("I29", event.key, f"{found} follows alarm {open_.alarm}", at)
        open_.alarm = data.alarm

    def _retired(
        self, bench: Bench | None, data: decision.GateRetired, at: At, event: Event
    ) -> None:
        if bench is None or bench.revision != data.revision or bench.status == "decided":
            self._report("I09", event.key, f"{data.gate_id} is retired, and is not waiting", at)
        if bench is not None:
            bench.status = "retired"


_FOLDS: dict[type, Callable[[Gates, Bench | None, Any, At, Event], None]] = {
    decision.GateOpened: Gates._opened,
    decision.GateUnmatched: Gates._unmatched,
    decision.DecisionEndorsed: Gates._endorsed,
    decision.GateDelegated: Gates._delegated,
    decision.GateDecided: Gates._decided,
    decision.GateEscalated: Gates._escalated,
    decision.GateOverdue: Gates._overdue,
    decision.GateRetired: Gates._retired,
}
