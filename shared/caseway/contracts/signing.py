"""Signatures over events: CloudEvents `verifiability` with DSSE envelopes and Ed25519 keys.

What is signed is never re-serialised: a verifier checks the received payload bytes first, and
only then compares the digests in them with digests over what it received. The list of signed
extensions lies inside the signed payload; the event attribute `signedextattrs` is a claim that
is checked against it. Whatever no key covers, `Verified.keep` drops.

`time` counts to the second. Extension values count as the text given, so an instant among them
is written to the second in UTC, and a binary extension cannot be signed. An absent attribute
and an empty one are the same thing (the extension's own rule).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from caseway.errors import ContractError

PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1"

# The order is part of the signature: the digest list is built in it.
_REQUIRED = ("id", "source", "specversion", "type")
CORE_ATTRIBUTES = (*_REQUIRED, "datacontenttype", "dataschema", "subject", "time")
_NOT_AN_EXTENSION = frozenset({*CORE_ATTRIBUTES, "dssematerial"})

# Bounds on what a stranger makes us parse and verify: 16 signatures cost under 2 ms, and 16 of
# the largest signatures in sight (ML-DSA) still fit into the text.
SIGNATURES_MAX = 16
MATERIAL_CHARS_MAX = 131_072

_EXTENSION_NAME = re.compile(r"[a-z0-9]+")
_KEY_ID = re.compile(r"[!-~]{1,128}")
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.\d+)?(?:[Zz]|([+-]\d\d:\d\d))?")

# The y coordinates of the eight points of small order. Under such a "key" one signature fits
# many or all messages, so its holder could deny, or anybody forge, what it signed.
_FIELD = 2**255 - 19
_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_WEAK = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})


@lru_cache(maxsize=4096)
def _loaded(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """An Ed25519 public key; its text is `ed25519:` and base64.

    Raises:
        ContractError: KEY_INVALID.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise _bad_key(f"a key of {len(self.raw)} bytes; expected 32")
        y = int.from_bytes(self.raw, "little") & (2**255 - 1)
        if y >= _FIELD or y in _WEAK:
            raise _bad_key("a weak or non-canonical point; expected a key made at random")

    @classmethod
    def from_text(cls, text: str) -> VerifyKey:
        """Read `ed25519:<base64>`; one key has exactly one text, so texts may be compared."""
        kind, _, encoded = text.partition(":")
        try:
            raw = b64decode(encoded, validate=True)
        except ValueError:
            raw = b""
        if kind != "ed25519" or b64encode(raw).decode() != encoded:
            raise _bad_key("a key in another form; expected 'ed25519:' and 44 base64 characters")
        return cls(raw)

    @property
    def text(self) -> str:
        """The one text form of this key."""
        return "ed25519:" + b64encode(self.raw).decode()

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether the holder of this key made `signature` over exactly these bytes."""
        try:
            _loaded(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key with the id it signs under; neither shown nor compared by seed.

    Raises:
        ContractError: KEY_INVALID.
    """

    key_id: str
    seed: InitVar[bytes]
    verify_key: VerifyKey = field(init=False)
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self, seed: bytes) -> None:
        if not _KEY_ID.fullmatch(self.key_id):
            raise _bad_key("a key id outside 1 to 128 visible ASCII characters")
        if len(seed) != 32:
            raise _bad_key(f"a seed of {len(seed)} bytes; expected 32")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        object.__setattr__(self, "_private", private)
        object.__setattr__(self, "verify_key", VerifyKey(private.public_key().public_bytes_raw()))

    @property
    def public_text(self) -> str:
        """The text form of the public half."""
        return self.verify_key.text

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature; the same for the same message, always."""
        return self._private.sign(message)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification proved: whose keys signed, and which extensions they cover.

    Empty key ids mean that no known key signed; then nothing is covered.
    """

    key_ids: tuple[str, ...]
    extensions: tuple[str, ...]

    def keep(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """Only the attributes that a signature covers; the rest anybody may have added."""
        if not self.key_ids:
            return {}
        covered = {*CORE_ATTRIBUTES, *self.extensions}
        return {name: value for name, value in attributes.items() if name in covered}


class _Material(NamedTuple):
    body: bytes  # the signed bytes as received
    digest: bytes
    extensions: tuple[str, ...]
    signatures: tuple[tuple[str, bytes], ...]


def sign(
    attributes: Mapping[str, str],
    data: bytes,
    extensions: Sequence[str],
    keys: Sequence[SigningKey],
) -> str:
    """The `dssematerial` of an event, signed by every key.

    Attribute names are those of CloudEvents, without the prefix of a binding. An extension
    that is listed but absent is signed as absent: nobody can add it later.

    Raises:
        ContractError: SIGNATURE_INVALID, where a verifier would have to refuse the result.
    """
    ids = {key.key_id for key in keys}
    if not 1 <= len(keys) <= SIGNATURES_MAX or len(ids) != len(keys):
        raise _refusal("", f"{len(keys)} signing keys; expected 1 to {SIGNATURES_MAX}, ids unique")
    body = _body(signed_digest(attributes, data, extensions), extensions)
    message = pre_authentication(PAYLOAD_TYPE, body)
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": b64encode(body).decode(),
        "signatures": [
            {"keyid": key.key_id, "sig": b64encode(key.sign(message)).decode()} for key in keys
        ],
    }
    return b64encode(json.dumps(envelope, separators=(",", ":")).encode()).decode()


def verify(
    attributes: Mapping[str, str],
    data: bytes,
    dssematerial: str,
    signedextattrs: str,
    keys: Callable[[str], VerifyKey | None],
) -> tuple[str, ...]:
    """The ids of the known keys that signed this event, in the order of their signatures.

    `signedextattrs` names, separated by commas, the extensions that the event claims or the
    receiver needs to be covered. Empty when no known key signed: the caller refuses that.

    Raises:
        ContractError: SIGNATURE_INVALID; see `examine`.
    """
    return examine(attributes, data, dssematerial, signedextattrs, keys).key_ids


def examine(
    attributes: Mapping[str, str],
    data: bytes,
    dssematerial: str,
    signedextattrs: str,
    keys: Callable[[str], VerifyKey | None],
) -> Verified:
    """Verify an event as `verify` does and say also which extensions are covered.

    A key counts once, however many ids lead to it; a signature by an unknown key is ignored.

    Raises:
        ContractError: SIGNATURE_INVALID when the material is malformed, a known key's
            signature does not fit, the event differs from what was signed, or a name in
            `signedextattrs` is not covered.
    """
    material = _read(dssematerial)
    message = pre_authentication(PAYLOAD_TYPE, material.body)
    signers: dict[VerifyKey, str] = {}
    for index, (key_id, signature) in enumerate(material.signatures):
        key = keys(key_id)
        if key is None:
            continue
        if not key.accepts(signature, message):
            raise _refusal(
                f"/signatures/{index}/sig", f"a signature that key {key_id!r} did not make"
            )
        signers.setdefault(key, key_id)
    if signed_digest(attributes, data, material.extensions) != material.digest:
        raise _refusal("/payload", "a digest of another event: attributes or data were changed")
    claimed = set(signedextattrs.split(",")) if signedextattrs else set()
    if not claimed.issubset(material.extensions):
        raise _refusal("/payload/signedextattrs", "a needed extension that is not signed")
    return Verified(tuple(signers.values()), material.extensions if signers else ())


def signed_digest(attributes: Mapping[str, str], data: bytes, extensions: Sequence[str]) -> bytes:
    """The digest over core attributes and data, then that over the extensions if any is listed.

    The order of `extensions` counts. 32 bytes without extensions, 64 with them.

    Raises:
        ContractError: SIGNATURE_INVALID for a list that may not be signed, a `time` that is
            not RFC 3339, or text that has no UTF-8 form.
    """
    _check_extensions(extensions)
    core = [_text_digest(attributes.get(name, ""), name) for name in CORE_ATTRIBUTES[:-1]]
    core.append(_text_digest(_to_the_second(attributes.get("time", "")), "time"))
    core.append(sha256(data).digest())
    digest = sha256(b"".join(core)).digest()
    if not extensions:
        return digest
    values = [_text_digest(attributes.get(name, ""), name) for name in extensions]
    return digest + sha256(b"".join(values)).digest()


def pre_authentication(payload_type: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that a DSSE signature is made over.

    Example:
        >>> pre_authentication("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def _body(digest: bytes, extensions: Sequence[str]) -> bytes:
    body: dict[str, Any] = {"core": b64encode(digest[:32]).decode()}
    if extensions:
        body["ext"] = b64encode(digest[32:]).decode()
        body["signedextattrs"] = list(extensions)
    return json.dumps(body, separators=(",", ":")).encode()


def _read(dssematerial: str) -> _Material:
    if len(dssematerial) > MATERIAL_CHARS_MAX:
        raise _refusal("", f"more than {MATERIAL_CHARS_MAX} characters")
    envelope = _json_object(_base64(dssematerial, ""), "")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise _refusal("/payloadType", f"another payload type; expected {PAYLOAD_TYPE}")
    body = _base64(envelope.get("payload"), "/payload")
    payload = _json_object(body, "/payload")
    digest = _digest(payload.get("core"), "/payload/core")
    if ("ext" in payload) != ("signedextattrs" in payload):
        raise _refusal("/payload", "one of 'ext' and 'signedextattrs'; expected both or neither")
    extensions: tuple[str, ...] = ()
    if "ext" in payload:
        digest += _digest(payload["ext"], "/payload/ext")
        names = payload["signedextattrs"]
        if not isinstance(names, list) or not names:
            raise _refusal("/payload/signedextattrs", "no list of names")
        extensions = tuple(names)
    return _Material(body, digest, extensions, _signatures(envelope.get("signatures")))


def _signatures(listed: object) -> tuple[tuple[str, bytes], ...]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= SIGNATURES_MAX:
        raise _refusal("/signatures", f"no list of 1 to {SIGNATURES_MAX} signatures")
    found: list[tuple[str, bytes]] = []
    for index, entry in enumerate(listed):
        where = f"/signatures/{index}"
        # DSSE: an unset key id is the same as an empty one.
        key_id = entry.get("keyid", "") if isinstance(entry, dict) else None
        if not isinstance(key_id, str):
            raise _refusal(where, "no object with a text 'keyid' and a 'sig'")
        found.append((key_id, _base64(entry.get("sig"), f"{where}/sig")))
    return tuple(found)


def _check_extensions(extensions: Sequence[str]) -> None:
    where = "/payload/signedextattrs"
    for name in extensions:
        if not isinstance(name, str) or not _EXTENSION_NAME.fullmatch(name):
            raise _refusal(where, "an extension name outside a-z and 0-9")
        if name in _NOT_AN_EXTENSION:
            raise _refusal(where, f"{name!r}, which is not an extension that can be listed")
    if len(set(extensions)) != len(extensions):
        raise _refusal(where, "an extension name listed twice")


def _to_the_second(text: str) -> str:
    """RFC 3339 text in UTC, cut to the second; without an offset it counts as UTC already."""
    if not text:
        return ""
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        raise _refusal("/time", "a time in another form; expected RFC 3339")
    day, clock, offset = parts.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset or '+00:00'}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refusal("/time", "a time that does not exist; expected RFC 3339") from None
    return moment.isoformat()[:19] + "Z"


def _text_digest(value: str, name: str) -> bytes:
    try:
        return sha256(value.encode()).digest()
    except UnicodeEncodeError:
        raise _refusal(f"/{name}", "text that has no UTF-8 form") from None


def _digest(value: object, where: str) -> bytes:
    digest = _base64(value, where)
    if len(digest) != 32:
        raise _refusal(where, f"a digest of {len(digest)} bytes; expected 32")
    return digest


def _base64(value: object, where: str) -> bytes:
    """Standard or URL-safe base64: DSSE lets a signer use either and a verifier refuse neither."""
    if isinstance(value, str):
        try:
            return b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
        except ValueError:
            pass
    raise _refusal(where, "no base64 text")


def _json_object(raw: bytes, where: str) -> dict[str, Any]:
    """A JSON object in UTF-8; a key given twice is refused, as two readers would disagree."""
    try:
        value = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refusal(where, "no JSON object in UTF-8 with each key once")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key twice")
    return value


# Made once: `json.loads` with a hook makes one for every text, and that takes longer than the text.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _refusal(where: str, found: str) -> ContractError:
    return ContractError(
        f"signature material: found {found}; sign the event again with a registered key",
        code="SIGNATURE_INVALID",
        where=where,
    )


def _bad_key(found: str) -> ContractError:
    return ContractError(f"key: found {found}; make it anew", code="KEY_INVALID")
