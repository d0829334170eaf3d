"""Signatures against foreign vectors: CloudEvents, DSSE, RFC 8032 and an independent signer."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from caseway.contracts.signing import (
    PAYLOAD_TYPE,
    SigningKey,
    Verified,
    examine,
    pre_authentication,
    sign,
    signed_digest,
)

ALICE = SigningKey("person:alice", bytes([1]) * 32)
BOB = SigningKey("person:bob", bytes([2]) * 32)
KEYS = {key.key_id: key.verify_key for key in (ALICE, BOB)}
DATA = b'{"hello":"world"}'
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "example/uri",
    "type": "example.type",
    "datacontenttype": "application/json",
}
TIMED = {**EVENT, "time": "2020-06-18T19:24:53.999+02:00"}
EXTENDED = {**TIMED, "exta": "value1", "extb": "value2"}
BOTH = ("exta", "extb")

# Made by Go's crypto/ed25519 from the text of the specification: the DSSE envelopes of TIMED
# signed by Alice, and of EXTENDED signed by Alice and Bob.
GOLDEN_CORE = (
    '{"payloadType":"https://cloudevents.io/verifiability/dsse/v0.1",'
    '"payload":"eyJjb3JlIjoiR1RaZUlacWJvR3dNeC9taUYvVjIwalhKS0ttRkFuUTV1RDhQNmthQkdrRT0ifQ==",'
    '"signatures":[{"keyid":"person:alice","sig":'
    '"pPQGFHQIhaBfsVgxjCKbUZdiKqj/7zapsoO1zRcKjyrYdu5NHwnSVaMJL8KE0yFJv6ZbInX/nHhcCfqNfHDBAw=="}]}'
)
GOLDEN_EXTENDED = (
    '{"payloadType":"https://cloudevents.io/verifiability/dsse/v0.1",'
    '"payload":"eyJjb3JlIjoiR1RaZUlacWJvR3dNeC9taUYvVjIwalhKS0ttRkFuUTV1RDhQNmthQkdrRT0iLCJleHQi'
    "OiJIQjFwZTQzMUZvUVpSc0pieUxOTXEwUWFBdnFQdG1oZGk4ZEhHU2hiSkFVPSIsInNpZ25lZGV4dGF0dHJzIjpbImV4"
    'dGEiLCJleHRiIl19","signatures":[{"keyid":"person:alice","sig":'
    '"j+RMEpAnXKSLF+vFgAkz7TEFrJfxrOg/HtAvg4BLma020fDvWG9v86witmLgljzS5nozCPrE/13IAF+kJ6u0Cw=="},'
    '{"keyid":"person:bob","sig":'
    '"LgZJfH636ZN9SrCC9jC0WMyZaj7ZHdJsTSAiDYvxbYx5blhR3jCqCAk28LymXwqJXc1bdohUUV6a2FoNBBFzDA=="}]}'
)

# The payloads and ECDSA signatures that the specification prints. Left out: cases 1 and 2 (the
# payload is that of an older draft) and 6 (a stray "=" behind the JSON). Its core digests of
# JSON data do not follow from the events it prints with them, so only case 5 is checked whole;
# the core digest of JSON data is checked against the golden envelopes above.
BINARY = {
    **EVENT,
    "type": "example.type.binary",
    "datacontenttype": "application/octet-stream",
}
CASE_3 = '{"core":"wKCa8sq3dyg/00ZiDQy/aXAY1tepQnrKLa6xP0Y3D/Q="}'
CASE_5 = '{"core":"qCSeiZkS+hH9WiClfq6plfqYNVy2kvxWRfoBrLEzoDk="}'
CASE_7 = (
    '{"core":"LTgQKHGheg6T48xpGGr5zNkdhp22kenZCOqicFtI4SA=",'
    '"ext":"HB1pe431FoQZRsJbyLNMq0QaAvqPtmhdi8dHGShbJAU=","signedextattrs":["exta","extb"]}'
)
WALKTHROUGH = (
    '{"core":"vjXrHNt/k/3rSS9WejzeQ8vJ4sU1uQh+J51Vqry7XnM=",'
    '"ext":"kU1P8bDaEnyNhglWzdTJNHh77khNWSZebBUxufVM2pU=","signedextattrs":["exta"]}'
)
PRINTED = {
    CASE_3: (
        "UMqiNYp7SQZq6MHdms4dn2msHGinLHvZaUV3ghcj/cn5Bi3d5jz0sfhm9pZ89CcOa+WWtjY6cZvj7c/tOWsTVg=="
    ),
    CASE_5: (
        "F2ip0xmgJX3ugHZC6tMrr7A2Eqai08raGrTwdyh/OGDIIrF7ByM2yITLKqNrF3dzZGR2o0Cs9fEBFdLxROUyEQ=="
    ),
    CASE_7: (
        "2g1UoAQpz1oPjZTPRZe+yvLzZQNECZakjbZVXizDwdMneIH++/53uXN2bCSkVJImfwOiYyKBm4mvsMHJXIUhzg=="
    ),
    WALKTHROUGH: (
        "hHmGOmdE+Zp7FjCQ+SxwbYKzckKkUHLuOlaGUJ9Hc91K2vXvGX03vMLRimnQMaPudmfmwjRbcOqbd7Y7STXnxg=="
    ),
}


@pytest.mark.parametrize(
    ("golden", "attributes", "extensions", "keys"),
    [
        pytest.param(GOLDEN_CORE, TIMED, (), [ALICE], id="core"),
        pytest.param(GOLDEN_EXTENDED, EXTENDED, BOTH, [ALICE, BOB], id="extended"),
    ],
)
def test_golden_material_is_written_and_read(
    golden: str, attributes: dict[str, str], extensions: tuple[str, ...], keys: list[SigningKey]
) -> None:
    material = sign(attributes, DATA, extensions, keys)
    assert b64decode(material).decode() == golden
    verified = examine(attributes, DATA, material, ",".join(extensions), KEYS.get)
    assert verified == Verified(tuple(key.key_id for key in keys), extensions)


@pytest.mark.parametrize("body", PRINTED)
def test_the_authors_of_the_extension_signed_the_same_bytes(body: str) -> None:
    r_and_s = b64decode(PRINTED[body])
    authors = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    ).public_key()
    authors.verify(
        encode_dss_signature(
            int.from_bytes(r_and_s[:32], "big"), int.from_bytes(r_and_s[32:], "big")
        ),
        pre_authentication(PAYLOAD_TYPE, body.encode()),
        ec.ECDSA(SHA256()),
    )


def test_the_printed_payload_of_binary_data_is_made_whole() -> None:
    digest = signed_digest(BINARY, "\N{CLOWN FACE}".encode(), ())
    assert f'{{"core":"{b64encode(digest).decode()}"}}' == CASE_5


@pytest.mark.parametrize(("extensions", "body"), [(BOTH, CASE_7), (("exta",), WALKTHROUGH)])
def test_the_printed_extension_digests_are_made(extensions: tuple[str, ...], body: str) -> None:
    digest = signed_digest(EXTENDED, DATA, extensions)[32:]
    assert f'"ext":"{b64encode(digest).decode()}"' in body


def test_the_pre_authentication_encoding_is_dsse_s_own() -> None:
    assert (
        pre_authentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_first_vector_of_rfc_8032_holds() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey("k", seed)
    assert key.verify_key.raw.hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
