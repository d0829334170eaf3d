"""What came in and what became of it: admissions, faults, dead letters, answers (I03 I27 I28)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from caseway.contracts import decision, report, submission
from caseway.contracts.codec import Event
from caseway.contracts.shard import CaseFaulted, CaseResumed, DeadLetter, InputParked
from caseway.invariants.invariant import At, Report
from caseway.invariants.pairs import Pairs, Side

# What is always answered. A heartbeat may come too early to be worth an event, and a submission
# or a control record may repeat what is known.
ANSWERED = frozenset(
    model.TYPE
    for model in (
        submission.AmendCase,
        submission.WithdrawCase,
        report.ClaimTask,
        report.CompleteTask,
        report.FailTask,
        report.ReleaseTask,
        report.BeginEffect,
        report.ReportEffect,
        decision.DecideGate,
        decision.AskAboutGate,
        decision.DelegateGate,
    )
)


class Accounts:
    """Who was admitted or refused, which cases wait for a fix, which inputs wait for an answer."""

    def __init__(self, report: Report, admissions: Pairs) -> None:
        self.admitted: set[str] = set()
        self.refused: set[str] = set()
        self.faulted: dict[str, set[str]] = {}
        self._asked: dict[str, At] = {}
        self._answered: set[str] = set()
        self._report = report
        self._admissions = admissions

    def take_intake(self, at: At, event: Event) -> None:
        """The next event of an `intake` partition."""
        data = event.data
        if isinstance(data, submission.SubmissionRefused):
            self.refused.add(event.key)
        elif isinstance(data, submission.CaseAdmitted):
            if event.key in self.admitted:
                self._report("I03", event.key, "the case is admitted a second time", at)
                return
            self.admitted.add(event.key)
            self._admissions.cause(event.key, at, event)

    def take_fault(self, at: At, event: Event) -> None:
        """A case that waits, or goes on, in the service of this log."""
        if isinstance(event.data, CaseFaulted):
            self.faulted.setdefault(event.key, set()).add(at.topic)
        elif isinstance(event.data, CaseResumed):
            self.faulted.get(event.key, set()).discard(at.topic)
        elif isinstance(event.data, InputParked) and not self.faulted.get(event.key):
            self._report("I27", event.key, "an input is parked, and the case is not faulted", at)

    def asked(self, kind: str, at: At) -> None:
        """An inbound record that has to be answered."""
        place = f"{at.topic}/{at.partition}/{at.offset}"
        if kind in ANSWERED and place not in self._answered:
            self._asked[place] = at
        self._answered.discard(place)

    def answered(self, causes: Iterable[str]) -> None:
        """The causes of one commit, each with its generation."""
        for cause in causes:
            self._answer(cause.partition("/")[2])

    def dead_letter(self, data: DeadLetter) -> None:
        """A pointer to a record that nobody could interpret."""
        self._answer(f"{data.topic}/{data.partition}/{data.offset}")

    def unanswered(self, positions: dict[str, int]) -> Iterator[At]:
        """What was consumed and never answered; `positions` is how far every input was read."""
        for at in self._asked.values():
            if at.offset < positions.get(f"{at.topic}/{at.partition}", 0):
                yield at

    def _answer(self, place: str) -> None:
        if self._asked.pop(place, None) is None:
            self._answered.add(place)


def judge_admission(report: Report, admitted: Side, opened: Side) -> None:
    """A case is opened as it was admitted."""
    was: Any = admitted[1].data
    at, event = opened
    data: Any = event.data
    if (was.definition, was.facts, was.source) != (data.definition, data.facts, data.source):
        report("I27", event.key, "the case is opened otherwise than it was admitted", at)
