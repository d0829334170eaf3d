"""What every event says about itself: CloudEvents 1.0 attributes in Kafka binary mode.

Attribute names are CloudEvents' own or its registered extensions where one exists; those that
Caseway had to add (`hops`, `authstrength`, `registryposition`, `definition`, `matrix`, `skill`,
`agent`) stand in this file alone. Time is the time of the causing record, never a clock's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Strength(StrEnum):
    """How an actor's identity is known, weakest first."""

    UNVERIFIED = "unverified"
    DOOR_ATTESTED = "door-attested"
    AGENT_SIGNED = "agent-signed"
    PERSON_SIGNED = "person-signed"
    SYSTEM = "system"


# header name → Envelope field, in the order in which headers are written. `subject` is the key.
ATTRIBUTES: dict[str, str] = {
    "ce_id": "id",
    "ce_source": "source",
    "ce_time": "time",
    "ce_sequence": "sequence",
    "ce_causationid": "cause",
    "ce_correlationid": "correlation",
    "ce_hops": "hops",
    "ce_traceparent": "traceparent",
    "ce_authid": "actor",
    "ce_authstrength": "strength",
    "ce_definition": "definition",
    "ce_matrix": "matrix",
    "ce_registryposition": "registry_position",
    "ce_skill": "skill",
    "ce_agent": "agent",
    "ce_dssematerial": "signature",
    "ce_signedextattrs": "signed_attributes",
}


class Envelope(NamedTuple):
    """The context of one event.

    `time` is RFC 3339 UTC text; `cause` the coordinates `generation/topic/partition/offset` of
    the record that led to this one; `sequence` counts the events of one case in one log from 1
    (0: not counted); `definition` and `matrix` are pins `name@version#digest`;
    `registry_position` is how far the writer had read the registry; `skill` and `agent` address
    an offer.
    """

    id: str
    source: str
    type: str
    version: int
    time: str = ""
    sequence: int = 0
    cause: str = ""
    correlation: str = ""
    hops: int = 0
    traceparent: str = ""
    actor: str = ""
    strength: Strength = Strength.UNVERIFIED
    definition: str = ""
    matrix: str = ""
    registry_position: int = 0
    skill: str = ""
    agent: str = ""
    signature: str = ""
    signed_attributes: str = ""
