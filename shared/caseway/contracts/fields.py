"""Field types that every contract shares: frozen models, sealed fields, references, instants.

A classified field travels sealed and anything over 64 KiB as a reference, in every topic, from
the first day: what was once written to an immutable log in the clear cannot be taken back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)


class Contract(BaseModel):
    """The base of every model on a topic: frozen, and an unknown key is an error."""

    # Validators are built at first use: no process needs all, and building them takes a quarter of
    # its start.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant carries its offset, e.g. 2026-11-21T09:00:00Z")
    return value.astimezone(UTC)


def format_instant(value: datetime) -> str:
    """RFC 3339 in UTC to the millisecond, the precision of a broker's append time.

    Example:
        >>> format_instant(datetime(2026, 11, 21, 9, tzinfo=UTC))
        '2026-11-21T09:00:00.000Z'
    """
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime, AfterValidator(_aware), PlainSerializer(format_instant, return_type=str)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
CaseId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
JsonObject = dict[str, Any]


class Sealed(Contract):
    """A classified value, encrypted under the key of one case and subject (AES-256-GCM).

    Erasing destroys the key; the ciphertext, and every hash over it, stands.
    """

    key_id: Identifier
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
    ciphertext: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]{24,65536}$")]


class Reference(Contract):
    """A claim check (CloudEvents `dataref`): where the bytes lie, and the hash that proves them."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]
    media_type: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-zA-Z0-9.+-]{1,80}$")]


class Pin(Contract):
    """One immutable version of a definition, matrix or calendar: its name, number and digest."""

    name: Identifier
    version: Annotated[int, Field(ge=1)]
    digest: Sha256

    def __str__(self) -> str:
        return f"{self.name}@{self.version}#{self.digest[:12]}"
