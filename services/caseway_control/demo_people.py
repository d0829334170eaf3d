"""Demo people: they read the public approvals log and decide what is theirs, one gate at a time."""

from __future__ import annotations

from collections.abc import Mapping

from caseway.client import Client
from caseway.contracts.codec import decode, type_of
from caseway.contracts.decision import Choice, GateEscalated, GateOpened
from caseway.contracts.matrix import SYSTEM
from caseway.contracts.topics import APPROVALS
from caseway.hosting.log import Log, Place
from caseway_control.keys import DEMO_PERSONS

_HEARS = frozenset({GateOpened.TYPE, GateEscalated.TYPE})
_FETCH_S = 0.5


class DemoApprovers:
    """Every demo person at a desk of their own, approving what the matrix sends to their role."""

    def __init__(
        self,
        log: Log,
        clients: Mapping[str, Client],
        *,
        reason: str = "The evidence supports the settlement.",
    ) -> None:
        self._log = log
        self._clients = clients
        self._reason = reason
        self._by_role = {role: who for who, roles in DEMO_PERSONS.items() for role in roles}
        self._opened: dict[tuple[str, str, int], GateOpened] = {}
        self.decided = 0

    async def run(self, *, start: Mapping[Place, int] | None = None) -> None:
        """Decide until cancelled."""
        places = [(APPROVALS.name, number) for number in range(self._log.shards)]
        begin = start or dict.fromkeys(places, 0)
        feed = await self._log.feed()
        try:
            await feed.seek(begin)
            while True:
                for records in (await feed.fetch(_FETCH_S)).values():
                    for record in records:
                        if type_of(record) in _HEARS:
                            event = decode(record, is_sole_writer=True)
                            await self._hear(event.key, event.data)
        finally:
            await feed.close()

    async def _hear(self, case_id: str, data: object) -> None:
        if isinstance(data, GateOpened):
            self._opened[case_id, data.gate_id, data.revision] = data
            roles = data.roles
        else:
            assert isinstance(data, GateEscalated)
            roles = data.roles
        opened = self._opened.get((case_id, data.gate_id, data.revision))
        if opened is None:
            return
        for role in roles:
            if role != SYSTEM and role in self._by_role:
                await self._approve(case_id, opened, self._by_role[role])

    async def _approve(self, case_id: str, gate: GateOpened, person: str) -> None:
        client = self._clients[person]
        await client.decide(
            case_id, gate.gate_id, gate.revision, gate.digest, Choice.APPROVE, self._reason
        )
        self.decided += 1
