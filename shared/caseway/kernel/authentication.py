"""Who sent an inbound record: from a verified signature, never from what the payload says."""

from __future__ import annotations

from caseway.contracts.codec import Event, Raw
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import format_instant
from caseway.contracts.record import instant_of
from caseway.contracts.signing import verify
from caseway.errors import ContractError
from caseway.kernel.processor import Actor, Delivery
from caseway.kernel.registry import Registry

_STRENGTHS = {
    "person": Strength.PERSON_SIGNED,
    "root": Strength.PERSON_SIGNED,
    "agent": Strength.AGENT_SIGNED,
}


def identify(event: Event, raw: Raw, registry: Registry) -> Actor:
    """The actor behind a record.

    Unsigned records come from `submitter:<source>`, unverified: enough to submit where the
    topic's ACL lets the sender write, never enough to report or decide.

    Raises:
        ContractError: SIGNATURE_INVALID, a signature is there but does not prove what it says.
    """
    envelope = event.envelope
    if not envelope.signature:
        return Actor(f"submitter:{envelope.source}", Strength.UNVERIFIED)
    if raw.attributes.get("subject") != event.key:
        raise ContractError(
            "ce_subject must be the record's key, so that the signature covers the case",
            code="SIGNATURE_INVALID",
            where="ce_subject",
        )
    covered = {
        name: text
        for name, text in raw.attributes.items()
        if name not in ("dssematerial", "signedextattrs")
    }
    signers = verify(
        covered, raw.data, envelope.signature, envelope.signed_attributes, registry.verify_key
    )
    if not signers:
        raise ContractError(
            "no key that signed this is known here; register the key first",
            code="SIGNATURE_UNKNOWN",
            where="ce_dssematerial",
        )
    return Actor(signers[0], _STRENGTHS[signers[0].partition(":")[0]], signers)


def misdirected(delivery: Delivery, registry: Registry) -> tuple[str, str] | None:
    """Why a signed wish does not count here or no longer: (code, message), or None.

    Signed content holds namespace and expiry, so that it can't be replayed elsewhere or later.
    """
    data = delivery.event.data
    namespace = getattr(data, "namespace", registry.namespace)
    if namespace != registry.namespace:
        return "NAMESPACE_MISMATCH", f"this is namespace {registry.namespace!r}"
    expires_at = getattr(data, "expires_at", None)
    if expires_at is not None and expires_at < instant_of(delivery.at_ms):
        return "EXPIRED", f"it expired at {format_instant(expires_at)}; sign it again"
    return None
