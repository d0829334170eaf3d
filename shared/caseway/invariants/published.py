"""The registry as the watch knows it: every version of everything, by the offset that said it.

What needs the registry as of a position waits here until the registry was read so far. So it is
all the same in which order the partitions are fed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from caseway.contracts import control
from caseway.contracts.codec import Event
from caseway.contracts.control import AgentCard
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.fields import Pin
from caseway.contracts.matrix import AuthorityMatrix
from caseway.invariants.invariant import At, Report
from caseway.kernel.digests import digest_of

T = TypeVar("T")
Versions = dict[str, list[tuple[int, T]]]

# Nobody puts an authority matrix in force alone.
_MATRIX_SIGNERS = 2


class Published:
    """Everything that was ever in force; `position` is the next registry offset to read."""

    def __init__(self, report: Report) -> None:
        self.position = 0
        self.definitions: dict[str, ProcessDefinition] = {}
        self.matrices: dict[str, AuthorityMatrix] = {}
        self._report = report
        self._in_force: Versions[str] = {}
        self._agents: Versions[AgentCard] = {}
        self._roles: Versions[frozenset[str]] = {}
        self._quarantined: Versions[bool] = {}
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    def take(self, event: Event, at: At) -> None:
        """The next fact."""
        fold = _FOLDS.get(type(event.data))
        if fold is not None:
            fold(self, event.data, at)
        self.position = at.offset + 1
        if self._waiting:
            ready = [judge for position, judge in self._waiting if position <= self.position]
            self._waiting = [each for each in self._waiting if each[0] > self.position]
            for judge in ready:
                judge()

    def when(self, position: int, judge: Callable[[], None]) -> None:
        """Judge now, or as soon as the registry was read to this position."""
        if position <= self.position:
            judge()
        else:
            self._waiting.append((position, judge))

    @property
    def unjudged(self) -> int:
        """How much waits for a registry that was not read so far."""
        return len(self._waiting)

    def agent(self, name: str, position: int) -> AgentCard | None:
        """The card of `agent:…` as of a position."""
        return _as_of(self._agents, name.removeprefix("agent:"), position)

    def roles(self, name: str, position: int) -> frozenset[str]:
        """The roles of `person:…` as of a position."""
        return _as_of(self._roles, name.removeprefix("person:"), position) or frozenset()

    def is_quarantined(self, name: str, position: int) -> bool:
        """Whether `agent:…` was in quarantine as of a position."""
        found = _as_of(self._quarantined, name.removeprefix("agent:"), position)
        return found is True

    def is_in_force(self, matrix: Pin, position: int) -> bool:
        """Whether this was the matrix of its name as of a position."""
        return _as_of(self._in_force, matrix.name, position) == matrix.digest

    def _matrix(self, data: control.MatrixPublished, at: At) -> None:
        self._check_pin(data.pin, data.document, at)
        if len(set(data.signers)) < _MATRIX_SIGNERS:
            found = f"{len(set(data.signers))} signed it, and {_MATRIX_SIGNERS} must"
            self._report("I09", f"matrix/{data.pin.name}", found, at)
        self.matrices[data.pin.digest] = data.document
        self._in_force.setdefault(data.pin.name, []).append((at.offset, data.pin.digest))

    def _definition(self, data: control.DefinitionPublished, at: At) -> None:
        self._check_pin(data.pin, data.document, at)
        self.definitions[data.pin.digest] = data.document

    def _check_pin(self, pin: Pin, document: Any, at: At) -> None:
        if digest_of(document) != pin.digest:
            self._report("I09", pin.name, "the pin is not the digest of its document", at)

    def _agent(self, data: control.AgentRegistered, at: At) -> None:
        self._agents.setdefault(data.card.agent_id, []).append((at.offset, data.card))

    def _person(self, data: control.PersonAppointed, at: At) -> None:
        roles = frozenset(data.card.roles)
        self._roles.setdefault(data.card.person_id, []).append((at.offset, roles))

    def _shut(self, data: control.AgentQuarantined, at: At) -> None:
        self._quarantined.setdefault(data.agent_id, []).append((at.offset, True))

    def _freed(self, data: control.AgentReleased, at: At) -> None:
        self._quarantined.setdefault(data.agent_id, []).append((at.offset, False))


def _as_of(versions: Versions[T], name: str, position: int) -> T | None:
    for offset, value in reversed(versions.get(name, ())):
        if offset < position:
            return value
    return None


_FOLDS: dict[type, Callable[[Published, Any, At], None]] = {
    control.MatrixPublished: Published._matrix,
    control.DefinitionPublished: Published._definition,
    control.AgentRegistered: Published._agent,
    control.PersonAppointed: Published._person,
    control.AgentQuarantined: Published._shut,
    control.AgentReleased: Published._freed,
}
