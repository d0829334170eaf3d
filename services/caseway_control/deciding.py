"""A person at a gate: what is shown, what may be chosen, and the signed decision on just that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caseway.client import EXPIRY, Client
from caseway.contracts import topics
from caseway.contracts.case import GateRequested
from caseway.contracts.decision import (
    Choice,
    DecideGate,
    DecisionEndorsed,
    DecisionRefused,
    GateDecided,
    GateOpened,
)
from caseway.contracts.record import instant_of
from caseway.contracts.signing import SigningKey
from caseway.errors import ConfigError
from caseway_approval.state import Gate, GateStatus
from caseway_control.docket import Docket, docket_of
from caseway_control.following import answers, ends
from caseway_control.keys import key_path, load_key
from caseway_control.reading import Progress, events_of_case, registry_of
from caseway_control.spaces import Space
from caseway_control.wiring import now_ms

Ask = Callable[[str], str]
_WORDS = {"a": Choice.APPROVE, "r": Choice.REJECT, "s": Choice.SEND_BACK}


@dataclass(frozen=True, slots=True)
class Result:
    """What approval made of the decision."""

    is_accepted: bool
    text: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """One gate of one case, as read from the logs a moment ago."""

    space: Space
    generation: str
    docket: Docket
    gate: Gate
    asked: GateRequested
    opened: GateOpened

    @classmethod
    async def open(
        cls, space: Space, case_id: str, gate_id: str | None, progress: Progress
    ) -> Desk:
        """The gate of this case that waits.

        Raises:
            ConfigError: CASE_UNKNOWN, GATE_NONE, GATE_UNMATCHED or GATE_WHICH.
        """
        registry = await registry_of(space.log)
        events = await events_of_case(space.log, registry.generation, case_id, progress)
        docket = docket_of(case_id, events)
        gate = _waiting(docket, gate_id)
        asked, opened = docket.asked[gate.gate_id], docket.opened[gate.gate_id]
        return cls(space, registry.generation, docket, gate, asked, opened)

    def signer(self, person: str, file: str | None) -> SigningKey:
        """The key of the person who decides.

        Raises:
            ConfigError: KEY_MISSING, KEY_KIND, KEY_FILE or FILE_*.
        """
        key_id = f"person:{person.removeprefix('person:')}"
        path = Path(file) if file is not None else None
        if path is None and self.space.home is not None:
            path = key_path(self.space.home.keys, key_id)
            path = path if path.exists() else None
        if path is None:
            raise ConfigError(
                f"there is no key for {key_id!r} here; name its file with --key", code="KEY_MISSING"
            )
        key = load_key(path, "person")
        if key.key_id != key_id:
            raise ConfigError(
                f"{path}: is the key of {key.key_id!r}; give the one of {key_id!r}", code="KEY_KIND"
            )
        return key

    def choice(
        self, given: list[str], reason: str, *, ask: Ask | None
    ) -> tuple[Choice, str] | None:
        """What is chosen, and why; asked for where a person can answer. None: nothing.

        Raises:
            ConfigError: CHOICE, or REASON_REQUIRED.
        """
        if len(given) > 1:
            raise ConfigError(
                "--approve, --reject and --send-back exclude each other; keep one", code="CHOICE"
            )
        if given:
            choice = Choice(given[0])
        elif ask is None:
            raise ConfigError(
                "nothing is chosen; add --approve, --reject or --send-back", code="CHOICE"
            )
        else:
            word = ask("[a]pprove, [r]eject, [s]end back, or nothing").strip().lower()[:1]
            if word not in _WORDS:
                return None
            choice = _WORDS[word]
        if choice is not Choice.APPROVE and not reason.strip():
            reason = ask("why").strip() if ask is not None else ""
            if not reason:
                raise ConfigError(
                    f"{choice.value} needs a reason that others can act on; add --reason",
                    code="REASON_REQUIRED",
                )
        elif given and ask is not None and ask(f"{choice.value}? [y/N]").strip().lower() != "y":
            return None
        return choice, reason

    async def decide(self, key: SigningKey, choice: tuple[Choice, str], timeout_s: float) -> Result:
        """Send the decision and wait for what approval makes of it.

        Raises:
            Unavailable: NO_ANSWER; the decision is durable and will be judged.
        """
        log = self.space.log
        wish = DecideGate(
            namespace=self.space.namespace,
            gate_id=self.gate.gate_id,
            revision=self.gate.revision,
            digest=self.gate.digest,
            choice=choice[0],
            reason=choice[1],
            expires_at=instant_of(now_ms()) + EXPIRY,
        )
        client = Client(log, self.space.namespace, keys=[key])
        draft = client.draft(topics.DECISIONS.name, self.docket.case_id, wish)
        since = await ends(log, topics.APPROVALS, [draft.partition])
        ((offset, _),) = await log.append([draft])
        sent = [((draft.topic, draft.partition), offset)]
        found: Result | None = None
        async for answer in answers(log, self.generation, sent, since, timeout_s):
            found = _result(self.docket.case_id, [event.data for event in answer.events])
        assert found is not None, "every sent record is answered, or the wait fails"
        return found


def _waiting(docket: Docket, gate_id: str | None) -> Gate:
    gates = docket.waiting_gates()
    if gate_id is not None:
        gates = [gate for gate in gates if gate.gate_id == gate_id]
    if not gates:
        stands = (
            f"closed as {docket.state.outcome}" if docket.state and docket.is_closed else "open"
        )
        raise ConfigError(
            f"case {docket.case_id!r} ({stands}) has no gate that waits; see `caseway history`",
            code="GATE_NONE",
        )
    if len(gates) > 1:
        names = ", ".join(gate.gate_id for gate in gates)
        raise ConfigError(f"several gates wait: {names}; name one with --gate", code="GATE_WHICH")
    gate = gates[0]
    if gate.status is GateStatus.UNMATCHED and gate.unmatched is not None:
        raise ConfigError(
            f"gate {gate.gate_id!r} has no row yet: {gate.unmatched.code}: "
            f"{gate.unmatched.message}",
            code="GATE_UNMATCHED",
        )
    return gate


def _result(case_id: str, events: list[Any]) -> Result:
    for data in events:
        if isinstance(data, DecisionRefused):
            refused = {"verdict": "refused", "code": data.code, "message": data.message}
            return Result(
                False, f"refused: {data.code}: {data.message}", {**refused, "case": case_id}
            )
    for data in events:
        if isinstance(data, GateDecided):
            text = f"recorded: {data.choice.value} by {' and '.join(data.by)} (row {data.row})"
            body: dict[str, Any] = {
                "verdict": "decided",
                "choice": data.choice.value,
                "by": list(data.by),
            }
            return Result(True, text, {**body, "case": case_id})
        if isinstance(data, DecisionEndorsed):
            left = " and ".join(data.outstanding)
            text = f"endorsed as {data.role}; {left} still to come"
            body = {"verdict": "endorsed", "outstanding": list(data.outstanding), "by": [data.by]}
            return Result(True, text, {**body, "case": case_id})
    text = "not recorded: the same decision was there before, or its signature proves nothing here"
    return Result(False, text, {"verdict": "nothing", "case": case_id})
