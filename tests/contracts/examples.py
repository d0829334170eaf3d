"""One instance of every event type, made from its model's own types; deterministic."""

from __future__ import annotations

import enum
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event
from caseway.contracts.control import AgentCard, PersonCard
from caseway.contracts.deadline import Timer, TimerKind, TimerRequest
from caseway.contracts.envelope import Envelope, Strength
from caseway_control.documents import load_document

_DATA = Path(__file__).parents[2] / "services/caseway_control/data/insurance"
_AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
_KEY = "ed25519:" + "A" * 43 + "="
_BY_NAME: dict[str, Any] = {
    "sha256": "a" * 64,
    "digest": "b" * 64,
    "inputs_digest": "c" * 64,
    "effect_id": "d" * 64,
    "body_sha256": "e" * 64,
    "states_digest": "f" * 64,
    "root": "1" * 64,
    "task_id": "triage-1",
    "gate_id": "authority-4",
    "timer_id": "lease/triage-1",
    "confidence": "0.93",
    "amount": {"amount": "75000.00", "currency": "USD"},
    "cost": {"amount": "0.05", "currency": "USD"},
    "facts": {"amount": {"amount": "75000.00", "currency": "USD"}, "incident_kind": "fire"},
    "output": {"line": "home"},
    "changes": {"incident_kind": "water"},
    "material": {"payee": "payee-0123456789abcdef"},
    "shows": {"severity": "major"},
    "source": "claims-portal",
    "key": "PC-1017",
    "public_key": _KEY,
    "cancels": ("lease/triage-1",),
    "cancelled": ("lease/triage-1",),
    "frontier": ("2" * 64,),
    "positions": {"intake/0": 42},
    "headers": (("ce_id", "MQ=="),),
    "timers": (
        TimerRequest(
            timer_id="lease/triage-1", kind=TimerKind.LEASE, about="triage-1#1", after_s=60
        ),
    ),
    "armed": (
        Timer(
            timer_id="lease/triage-1",
            kind=TimerKind.LEASE,
            about="triage-1#1",
            due_at=_AT,
            requester="cases",
        ),
    ),
    "rungs": (("vp-claims",), ("ceo", "legal")),
}


def example(name: str) -> Event:
    """An event of this type with every field said."""
    event_type = CATALOG[name]
    envelope = Envelope(
        id="0123456789abcdef0123456789abcdef",
        source="/demo/router",
        type=name,
        version=event_type.version,
        time="2026-11-21T09:30:00.000Z",
        sequence=7,
        cause="g1/intake/3/42",
        correlation="c0ffee",
        hops=2,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        actor="agent:triage-1",
        strength=Strength.AGENT_SIGNED,
        definition="insurance-claim@1#71f385f3b282",
        matrix="claim-settlement@1#0123456789ab",
        registry_position=17,
    )
    return Event("c-ade4f5010e0358d4e78db39a", envelope, _model(event_type.model))


def _model(model: type[BaseModel]) -> Any:
    return model(**{name: _field(model, name) for name in model.model_fields})


def _field(model: type[BaseModel], name: str) -> Any:
    if name == "document":
        stem = {"Definition": "definition", "Matrix": "matrix", "Calendar": "calendar"}
        file = next(file for word, file in stem.items() if word in model.__name__)
        return load_document((_DATA / f"{file}.yaml").read_text("utf-8"), file)
    if name == "card":
        if "Agent" in model.__name__:
            return AgentCard(
                agent_id="triage-1",
                owner="olga",
                pool="claims",
                skills=("claim-triage",),
                public_key=_KEY,
            )
        return PersonCard(person_id="clara", roles=("claims-manager",), public_key=_KEY)
    annotation = model.model_fields[name].annotation
    if name in _BY_NAME and not (name in ("key", "source") and annotation is int):
        return _BY_NAME[name]
    return _value(annotation)


def _value(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0])
    if origin in (Union, types.UnionType):
        return _value(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return (_value(arguments[0]),)
    if origin is dict:
        return {"field": _value(arguments[1])} if arguments[1] is not Any else {"field": "text"}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return next(iter(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model(annotation)
    simple = {bool: True, int: 3, str: "word", datetime: _AT}
    return simple[annotation]
