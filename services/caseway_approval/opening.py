"""Opens a gate, or sends it to a queue of people; replaces a revision, and retires a gate."""

from __future__ import annotations

from caseway.contracts.case import GateRequested
from caseway.contracts.decision import Choice, GateDecided, GateOpened, GateRetired, GateUnmatched
from caseway.contracts.fields import Contract
from caseway.contracts.matrix import SYSTEM
from caseway.errors import ContractError
from caseway.kernel.registry import Registry
from caseway_approval.authority import Found, Refusal, find_row, owners_of
from caseway_approval.promises import Promise, promise
from caseway_approval.state import Asked, Gate, Gates, Unmatched

# People who keep matrices, roles and calendars: a gate waits here until they mend what is missing.
QUEUE = "authority-desk"


def request(
    state: Gates | None, data: GateRequested, at_ms: int, registry: Registry
) -> tuple[Contract, ...]:
    """Open what was asked for, once; a newer revision retires the older one."""
    known = state.gates.get(data.gate_id) if state is not None else None
    if known is not None and known.revision >= data.revision:
        return ()
    asked = Asked(
        gate_id=data.gate_id,
        revision=data.revision,
        digest=data.digest,
        matrix=data.matrix,
        amount=data.amount,
        flags=data.flags,
        preparers=data.preparers,
        requester=data.requester,
    )
    older: tuple[Contract, ...] = ()
    if known is not None and known.is_waiting:
        older = (retire(known, f"revision {data.revision} replaces it"),)
    return (*older, *_judge(asked, at_ms, registry))


def rejudge(before: Unmatched, at_ms: int, registry: Registry) -> tuple[Contract, ...]:
    """Ask again for the row of a gate that had none, after the registry changed.

    It is said again only if the reason is another one, so the desk reads what is missing now.
    """
    events = _judge(before.asked, at_ms, registry)
    first = events[0]
    if isinstance(first, GateUnmatched) and (first.code, first.message) == (
        before.code,
        before.message,
    ):
        return ()
    return events


def retire(gate: Gate, reason: str) -> GateRetired:
    """Nothing can decide this revision any more; its timer is cancelled."""
    timer_id = gate.bench.timer_id if gate.bench is not None else ""
    cancels = (timer_id,) if timer_id else ()
    return GateRetired(gate_id=gate.gate_id, revision=gate.revision, reason=reason, cancels=cancels)


def _judge(asked: Asked, at_ms: int, registry: Registry) -> tuple[Contract, ...]:
    found = find_row(asked, registry)
    if isinstance(found, Refusal):
        return (_unmatched(asked, found),)
    if found.row.is_auto:
        return _auto(asked, found, registry)
    try:
        promised = promise(found.row.sla, found.matrix, at_ms, registry)
    except ContractError as error:
        return (_unmatched(asked, Refusal(error.code, str(error))),)
    return (_opened(asked, found, promised, registry),)


def _opened(asked: Asked, found: Found, promised: Promise | None, registry: Registry) -> GateOpened:
    timers = (promised.timer(asked.gate_id, asked.revision, 0),) if promised is not None else ()
    return GateOpened(
        gate_id=asked.gate_id,
        revision=asked.revision,
        digest=asked.digest,
        matrix=found.matrix.pin,
        row=found.row.name,
        cells=found.cells,
        roles=(found.row.approver,),
        rungs=found.row.escalates_to,
        sla=str(found.row.sla),
        due_at=promised.due_at if promised is not None else None,
        preparers=asked.preparers,
        requester=asked.requester,
        owners=owners_of((asked.requester, *asked.preparers), registry),
        timers=timers,
    )


def _auto(asked: Asked, found: Found, registry: Registry) -> tuple[Contract, ...]:
    """Opened and decided in one step: no person, no time, and the row on record all the same."""
    decided = GateDecided(
        gate_id=asked.gate_id,
        revision=asked.revision,
        digest=asked.digest,
        choice=Choice.APPROVE,
        by=(SYSTEM,),
        roles=(SYSTEM,),
        level=0,
        reason=f"row {found.row.name} needs nobody",
        row=found.row.name,
        matrix=found.matrix.pin,
    )
    return (_opened(asked, found, None, registry), decided)


def _unmatched(asked: Asked, why: Refusal) -> GateUnmatched:
    return GateUnmatched(
        gate_id=asked.gate_id,
        revision=asked.revision,
        digest=asked.digest,
        matrix=asked.matrix,
        amount=asked.amount,
        flags=asked.flags,
        preparers=asked.preparers,
        requester=asked.requester,
        code=why.code,
        queue=QUEUE,
        message=why.message,
    )
