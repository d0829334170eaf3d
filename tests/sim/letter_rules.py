"""What holds between an event and what it follows from: it says what its sender signed, in time.

A service reads a letter and says an event. Whoever holds both can tell whether the event speaks
for the one who signed the letter, of what it was about, before it expired, and under a registry
that is no older than the letter itself or than what its writer had seen.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.sim.reading import Line, millis

if TYPE_CHECKING:
    from tests.sim.checker import Public, Violate

INBOUND = ("submissions", "agent-reports", "decisions", "control")
# These are judged by a registry that was read to its end after they had been fetched.
_BARRED = ("agent-reports", "decisions", "control")
# A wish that comes to nothing may be as old and as wrong as it likes.
_REFUSALS = ("refused", "faulted", "parked")
# What an event repeats of the letter it follows from.
_ECHOED = ("gate_id", "revision", "digest", "choice", "task_id", "token", "effect_id")


class _Cause(NamedTuple):
    line: Line
    registry_end: int


class LetterRules:
    """Every record that something may follow from, with the registry as it was visible then."""

    def __init__(self, public: Public, violate: Violate) -> None:
        self._public, self._violate = public, violate
        # What the sender of every case that was admitted had written.
        self.admitted: dict[str, dict[str, Any]] = {}
        self._causes: dict[str, _Cause] = {}
        self._granted: dict[tuple[str, str], str] = {}
        self._registry_end = 0

    def note(self, line: Line) -> None:
        """Any record that became visible."""
        if line.topic == "registry":
            self._registry_end = line.offset + 1
            self._check_operators(line)
        elif "." not in line.topic and line.topic != "audit":
            name = f"{line.topic}/{line.partition}/{line.offset}"
            self._causes[name] = _Cause(line, self._registry_end)

    def hear(self, line: Line) -> None:
        """An event of a whole batch, held against its cause."""
        if line.type == "task.granted":
            self._granted[line.key, line.data["task_id"]] = line.data["inputs_digest"]
        cause = self._causes.get(line.cause.partition("/")[2])
        if cause is None:
            return  # a registry fact, or the watchdog's clock
        said, position = cause.line, int(line.headers.get("ce_registryposition", 0))
        if said.topic not in INBOUND:
            seen = int(said.headers.get("ce_registryposition", 0))
            self._require(position >= seen, line, "registry fell", f"{seen} was known, {position}")
            return
        if said.topic in _BARRED:
            late = f"read to {position}, and {cause.registry_end} was there"
            self._require(position >= cause.registry_end, line, "barrier", late)
        self._check_sender(line, said)
        if line.type == "case.admitted":
            self.admitted[line.key] = said.data
        if line.type.endswith(_REFUSALS):
            return
        expires_at = said.data.get("expires_at")
        if expires_at:
            in_time = millis(line.headers["ce_time"]) <= millis(expires_at)
            self._require(in_time, line, "expiry", f"its cause expired at {expires_at}")
        self._check_words(line, said)

    def _check_sender(self, line: Line, said: Line) -> None:
        """Whoever an event names as its sender signed its cause; without a signature nobody did."""
        named = line.headers.get("ce_authid", "")
        if not said.headers.get("ce_dssematerial"):
            self._require(named.startswith("submitter:"), line, "sender", f"{named} did not sign")
            return
        signers = _signers(said)
        self._require(named in signers, line, "sender", f"{named} is none of {signers}")

    def _check_operators(self, line: Line) -> None:
        """What changes the registry was signed by operators; by two, what could make one of them.

        The facts of the founding follow from nothing, and are part of the genesis.
        """
        cause = self._causes.get(line.cause.partition("/")[2])
        if cause is None:
            return
        position, named = int(line.headers["ce_registryposition"]), set(line.data["signers"])
        for name in named:
            roles = self._public.roles_of(name.removeprefix("person:"), position)
            may = name.startswith("root:") or "operator" in roles
            self._require(may, line, "operators", f"{name} is none")
        signed = named <= _signers(cause.line)
        self._require(signed, line, "operators", f"{sorted(named)} did not all sign it")
        needed = 1 + (line.type == "matrix.published")
        if line.type == "person.appointed":
            card = line.data["card"]
            roles = self._public.roles_of(card["person_id"], position) | set(card["roles"])
            needed = 1 + ("operator" in roles)
        self._require(len(named) >= needed, line, "operators", f"{len(named)} of {needed} signed")

    def is_repetition(self, place: str) -> bool:
        """Whether a submission says, word for word, what its case was admitted with."""
        said = self._causes[place].line
        return self.admitted.get(said.key) == said.data

    def _check_words(self, line: Line, said: Line) -> None:
        for name in _ECHOED:
            if name in said.data and name in line.data and self._is_answer(line, said):
                same = said.data[name] == line.data[name]
                self._require(same, line, "words", f"{name} is not what was signed")
        if line.type in ("task.completed", "effect.permitted") and "inputs_digest" in said.data:
            granted = self._granted.get((line.key, line.data["task_id"]))
            same = said.data["inputs_digest"] == granted
            self._require(same, line, "words", "it stands on other facts than were granted")

    @staticmethod
    def _is_answer(line: Line, said: Line) -> bool:
        """The first answer speaks of the letter; what follows from it has its own subject."""
        names = ("gate_id",) if said.topic == "decisions" else ("task_id",)
        return line.type not in _CONSEQUENCES and all(name in said.data for name in names)

    def _require(self, holds: bool, line: Line, code: str, text: str) -> None:
        if not holds:
            self._violate(code, f"{line.key} {line.type} {line.place}@{line.offset}: {text}")


def _signers(said: Line) -> set[str]:
    """The keys that signed a letter; none if it is not even of the right form."""
    try:
        signatures = json.loads(b64decode(said.headers.get("ce_dssematerial", "")))["signatures"]
        return {signature["keyid"] for signature in signatures}
    except (Error, ValueError, KeyError, TypeError):
        return set()


# What a letter leads to beyond itself: the next task, the next gate, the end.
_CONSEQUENCES = {
    "task.granted",
    "task.opened",
    "task.cancelled",
    "task.escalated",
    "phase.entered",
    "gate.requested",
    "gate.voided",
    "case.closed",
}
