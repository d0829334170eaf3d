"""Signatures: nothing altered, added, dropped or forged gets by."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.contracts.signing import (
    CORE_ATTRIBUTES,
    MATERIAL_CHARS_MAX,
    PAYLOAD_TYPE,
    SIGNATURES_MAX,
    SigningKey,
    Verified,
    VerifyKey,
    examine,
    pre_authentication,
    sign,
    signed_digest,
    verify,
)
from caseway.errors import ContractError

ALICE = SigningKey("person:alice", bytes([1]) * 32)
BOB = SigningKey("person:bob", bytes([2]) * 32)
MALLORY = SigningKey("person:alice", bytes([3]) * 32)
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


def encoded(envelope: Any) -> str:
    return b64encode(json.dumps(envelope).encode()).decode()


def decoded(material: str) -> Any:
    return json.loads(b64decode(material))


def enveloped(body: bytes, key: SigningKey = ALICE) -> str:
    """An envelope signed over any body whatever: what a hostile holder of a known key can make."""
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, body))
    entry = {"keyid": key.key_id, "sig": b64encode(signature).decode()}
    return encoded(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": b64encode(body).decode(),
            "signatures": [entry],
        }
    )


def refusal(material: str, attributes: dict[str, str], needed: str = "") -> ContractError:
    with pytest.raises(ContractError) as caught:
        verify(attributes, DATA, material, needed, KEYS.get)
    assert caught.value.code == "SIGNATURE_INVALID"
    return caught.value


class TestWhatIsCovered:
    @pytest.mark.parametrize("name", [*CORE_ATTRIBUTES, *BOTH])
    def test_an_attribute_changed_on_the_way_is_refused(self, name: str) -> None:
        material = sign(EXTENDED, DATA, BOTH, [ALICE])
        changed = "2020-06-18T17:24:54Z" if name == "time" else "other"
        assert refusal(material, {**EXTENDED, name: changed}).where == "/payload"

    def test_data_changed_on_the_way_is_refused(self) -> None:
        material = sign(EVENT, DATA, (), [ALICE])
        with pytest.raises(ContractError, match="data were changed"):
            verify(EVENT, DATA + b" ", material, "", KEYS.get)

    @given(
        st.dictionaries(st.sampled_from([*CORE_ATTRIBUTES[:-1], *BOTH]), st.text("ab"), min_size=1),
        st.dictionaries(st.sampled_from([*CORE_ATTRIBUTES[:-1], *BOTH]), st.text("ab"), min_size=1),
    )
    def test_two_events_share_a_digest_only_if_alike(
        self, one: dict[str, str], other: dict[str, str]
    ) -> None:
        alike = {n: v for n, v in one.items() if v} == {n: v for n, v in other.items() if v}
        assert (signed_digest(one, b"", BOTH) == signed_digest(other, b"", BOTH)) is alike

    def test_an_extension_signed_as_absent_cannot_be_added(self) -> None:
        material = sign(EVENT, DATA, ["exta"], [ALICE])
        assert verify(EVENT, DATA, material, "exta", KEYS.get) == ("person:alice",)
        refusal(material, {**EVENT, "exta": "value1"})

    def test_the_order_of_the_extensions_counts(self) -> None:
        assert signed_digest(EXTENDED, DATA, BOTH) != signed_digest(EXTENDED, DATA, BOTH[::-1])

    def test_only_covered_attributes_are_kept(self) -> None:
        received = {**EXTENDED, "hops": "7"}
        verified = examine(
            received, DATA, sign(EXTENDED, DATA, ["exta"], [ALICE]), "exta", KEYS.get
        )
        assert verified.keep(received) == {**TIMED, "exta": "value1"}

    def test_without_a_known_signer_nothing_is_kept(self) -> None:
        material = sign(EXTENDED, DATA, BOTH, [ALICE])
        verified = examine(EXTENDED, DATA, material, "exta", lambda _: None)
        assert verified == Verified((), ())
        assert verified.keep(EXTENDED) == {}

    @pytest.mark.parametrize("claim", ["extb", "exta,extb", ",", "exta,", "id"])
    def test_an_extension_that_is_needed_but_unsigned_is_refused(self, claim: str) -> None:
        material = sign(EXTENDED, DATA, ["exta"], [ALICE])
        assert refusal(material, EXTENDED, claim).where == "/payload/signedextattrs"

    def test_what_the_event_does_not_claim_is_still_checked(self) -> None:
        refusal(sign(EXTENDED, DATA, BOTH, [ALICE]), {**EXTENDED, "extb": "other"}, "exta")


class TestTime:
    @pytest.mark.parametrize(
        "text",
        [
            "2026-05-13T09:49:12Z",
            "2026-05-13T09:49:12.999999999Z",
            "2026-05-13t09:49:12z",
            "2026-05-13T09:49:12",
            "2026-05-13T10:49:12.123456+01:00",
            "2026-05-12T23:49:12-10:00",
        ],
    )
    def test_every_writing_of_one_second_has_one_digest(self, text: str) -> None:
        expected = signed_digest({"time": "2026-05-13T09:49:12Z"}, b"", ())
        assert signed_digest({"time": text}, b"", ()) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "2026-05-13",
            "2026-05-13 09:49:12Z",
            "20260513T094912Z",
            "2026-02-30T09:49:12Z",
            "0001-01-01T00:00:00+01:00",
            "2026-05-13T09:49:12+01",
            "２026-05-13T09:49:12Z",
            "now",
        ],
    )
    def test_a_time_that_is_not_rfc_3339_is_refused(self, text: str) -> None:
        with pytest.raises(ContractError) as caught:
            signed_digest({"time": text}, b"", ())
        assert (caught.value.code, caught.value.where) == ("SIGNATURE_INVALID", "/time")

    def test_text_without_a_utf_8_form_is_refused(self) -> None:
        with pytest.raises(ContractError) as caught:
            signed_digest({"subject": "\ud800"}, b"", ())
        assert caught.value.where == "/subject"


class TestSigners:
    def test_each_key_counts_once_however_often_it_signs(self) -> None:
        envelope = decoded(sign(EVENT, DATA, (), [ALICE, BOB]))
        envelope["signatures"] = [*envelope["signatures"], *envelope["signatures"]]
        signers = verify(EVENT, DATA, encoded(envelope), "", KEYS.get)
        assert signers == ("person:alice", "person:bob")

    def test_one_key_under_two_ids_is_one_signer(self) -> None:
        twin = SigningKey("person:zoe", bytes([1]) * 32)
        material = sign(EVENT, DATA, (), [ALICE, twin])
        keys = {**KEYS, "person:zoe": twin.verify_key}
        assert verify(EVENT, DATA, material, "", keys.get) == ("person:alice",)

    def test_a_wrong_signature_under_a_known_id_spoils_the_rest(self) -> None:
        material = sign(EVENT, DATA, (), [BOB, MALLORY])
        assert refusal(material, EVENT).where == "/signatures/1/sig"

    def test_a_signature_of_another_event_is_refused(self) -> None:
        mine, other = (decoded(sign(e, DATA, (), [ALICE])) for e in (EVENT, TIMED))
        mine["signatures"] = other["signatures"]
        assert refusal(encoded(mine), EVENT).where == "/signatures/0/sig"

    def test_unknown_keys_are_ignored_beside_known_ones(self) -> None:
        carol = SigningKey("person:carol", bytes([9]) * 32)
        material = sign(EVENT, DATA, (), [carol, BOB])
        assert verify(EVENT, DATA, material, "", KEYS.get) == ("person:bob",)

    def test_a_changed_event_is_refused_even_if_nobody_known_signed_it(self) -> None:
        with pytest.raises(ContractError):
            verify(TIMED, DATA, sign(EVENT, DATA, (), [ALICE]), "", lambda _: None)

    def test_an_unset_key_id_is_an_empty_one(self) -> None:
        envelope = decoded(sign(EVENT, DATA, (), [ALICE]))
        del envelope["signatures"][0]["keyid"]
        keys = {"": ALICE.verify_key}
        assert verify(EVENT, DATA, encoded(envelope), "", keys.get) == ("",)

    @pytest.mark.parametrize("length", [0, 63, 65, 128])
    def test_a_signature_of_another_length_is_refused(self, length: int) -> None:
        envelope = decoded(sign(EVENT, DATA, (), [ALICE]))
        signature = (b64decode(envelope["signatures"][0]["sig"]) * 2)[:length]
        envelope["signatures"][0]["sig"] = b64encode(signature).decode()
        assert refusal(encoded(envelope), EVENT).where == "/signatures/0/sig"

    @pytest.mark.parametrize("keys", [[], [ALICE, MALLORY], [ALICE] * (SIGNATURES_MAX + 1)])
    def test_nobody_signs_twice_or_not_at_all(self, keys: list[SigningKey]) -> None:
        with pytest.raises(ContractError, match="ids unique"):
            sign(EVENT, DATA, (), keys)


class TestMalformedMaterial:
    @pytest.mark.parametrize("bit", range(0, 2400, 7))
    def test_a_flipped_bit_is_refused_or_changes_nothing(self, bit: int) -> None:
        raw = bytearray(b64decode(sign(EXTENDED, DATA, BOTH, [ALICE])))
        raw[bit // 8 % len(raw)] ^= 1 << bit % 8
        signers: tuple[str, ...] = ()
        with suppress(ContractError):
            signers = verify(EXTENDED, DATA, b64encode(raw).decode(), "exta,extb", KEYS.get)
        assert signers in ((), ("person:alice",))

    @pytest.mark.parametrize(
        ("where", "change"),
        [
            ("/payloadType", lambda e: e.update(payloadType="application/json")),
            ("/payloadType", lambda e: e.pop("payloadType")),
            ("/payload", lambda e: e.pop("payload")),
            ("/payload", lambda e: e.update(payload=7)),
            ("/payload", lambda e: e.update(payload="%%%")),
            ("/payload", lambda e: e.update(payload="bnVsbA==")),
            ("/signatures", lambda e: e.pop("signatures")),
            ("/signatures", lambda e: e.update(signatures=[])),
            ("/signatures", lambda e: e.update(signatures=e["signatures"] * 17)),
            ("/signatures/0", lambda e: e.update(signatures=["sig"])),
            ("/signatures/0", lambda e: e["signatures"][0].update(keyid=7)),
            ("/signatures/0/sig", lambda e: e["signatures"][0].pop("sig")),
            ("/signatures/0/sig", lambda e: e["signatures"][0].update(sig="A")),
            ("/payload", lambda e: e.update(payload=e["payload"] + "\n")),
        ],
    )
    def test_an_envelope_out_of_form_is_refused(
        self, where: str, change: Callable[[Any], object]
    ) -> None:
        envelope = decoded(sign(EVENT, DATA, (), [ALICE]))
        change(envelope)
        assert refusal(encoded(envelope), EVENT).where == where

    @pytest.mark.parametrize(
        "material",
        [
            "",
            "é",
            "AAA",
            "=",
            b64encode(b"\xff\xfe{\x00}\x00").decode(),
            b64encode(b"[]").decode(),
            b64encode(b"[" * 50_000).decode(),
            b64encode(b"9" * 5_000).decode(),
            b64encode(b'{"payloadType":"x","payloadType":"y"}').decode(),
        ],
        ids=["empty", "letter", "cut", "padding", "utf-16", "list", "deep", "huge", "twice"],
    )
    def test_text_that_is_no_envelope_is_refused(self, material: str) -> None:
        assert refusal(material, EVENT).where == ""

    def test_material_over_the_bound_is_not_even_decoded(self) -> None:
        envelope = decoded(sign(EVENT, DATA, (), [ALICE])) | {"note": "x" * MATERIAL_CHARS_MAX}
        assert "characters" in str(refusal(encoded(envelope), EVENT))

    def test_a_key_given_twice_is_refused(self) -> None:
        raw = b64decode(sign(EVENT, DATA, (), [ALICE]))
        twice = raw.replace(b'{"payloadType"', b'{"payloadType":"x","payloadType"', 1)
        assert refusal(b64encode(twice).decode(), EVENT).where == ""

    @pytest.mark.parametrize(
        ("extra", "where"),
        [
            ({"signedextattrs": ["exta", "exta"], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": ["exta", "id"], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": ["exta", "time"], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": ["dssematerial"], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": ["Exta"], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": [7], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": [["exta"]], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": [], "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": "exta", "ext": 64}, "/payload/signedextattrs"),
            ({"signedextattrs": ["exta"]}, "/payload"),
            ({"ext": 64}, "/payload"),
            ({"signedextattrs": ["exta"], "ext": 63}, "/payload/ext"),
            ({"core": "AAAA"}, "/payload/core"),
            ({"core": None}, "/payload/core"),
        ],
    )
    def test_a_payload_out_of_form_is_refused_though_well_signed(
        self, extra: dict[str, Any], where: str
    ) -> None:
        digest = signed_digest(EXTENDED, DATA, ["exta"])
        payload = {"core": b64encode(digest[:32]).decode(), **extra}
        if "ext" in extra:
            payload["ext"] = b64encode(digest[32 : extra["ext"]]).decode()
        material = enveloped(json.dumps(payload).encode())
        assert refusal(material, EXTENDED).where == where

    def test_unknown_fields_and_url_safe_base64_are_accepted(self) -> None:
        core = b64encode(signed_digest(EVENT, DATA, ())).decode()
        body = json.dumps({"core": core, "more": [1]}, indent=1).encode() + b" " * 2
        envelope = decoded(enveloped(body)) | {"more": 1}
        signature = envelope["signatures"][0]
        signature["sig"] = urlsafe_b64encode(b64decode(signature["sig"])).decode()
        signature["more"] = 1
        assert verify(EVENT, DATA, encoded(envelope), "", KEYS.get) == ("person:alice",)

    @pytest.mark.parametrize(
        "extensions", [["exta", "exta"], ["id"], ["dssematerial"], ["Exta"], ["ext-a"], [""]]
    )
    def test_a_signer_refuses_what_no_verifier_would_accept(self, extensions: list[str]) -> None:
        with pytest.raises(ContractError) as caught:
            sign(EXTENDED, DATA, extensions, [ALICE])
        assert caught.value.where == "/payload/signedextattrs"


class TestKeys:
    def test_a_public_key_has_one_text(self) -> None:
        assert ALICE.public_text == "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
        assert VerifyKey.from_text(ALICE.public_text) == ALICE.verify_key
        assert VerifyKey.from_text(BOB.public_text).text == BOB.public_text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=",
            "rsa:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=",
            "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1x=",
            "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\n",
            "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1",
            "ed25519:iojj",
            "ed25519:é",
        ],
    )
    def test_another_text_is_no_key(self, text: str) -> None:
        with pytest.raises(ContractError) as caught:
            VerifyKey.from_text(text)
        assert caught.value.code == "KEY_INVALID"

    @pytest.mark.parametrize(
        "weak",
        [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ],
    )
    def test_a_key_under_which_anything_verifies_is_refused(self, weak: str) -> None:
        with pytest.raises(ContractError, match="weak"):
            VerifyKey(bytes.fromhex(weak))

    def test_a_signing_key_shows_and_compares_no_seed(self) -> None:
        assert repr(bytes([1]) * 32)[2:-1] not in repr(ALICE)
        assert SigningKey("person:alice", bytes([1]) * 32) == ALICE
        assert MALLORY != ALICE

    @pytest.mark.parametrize(
        ("key_id", "size"), [("", 32), ("a b", 32), ("k", 31), ("k" * 129, 32)]
    )
    def test_a_signing_key_out_of_form_is_refused(self, key_id: str, size: int) -> None:
        with pytest.raises(ContractError) as caught:
            SigningKey(key_id, bytes(range(size)))
        assert caught.value.code == "KEY_INVALID"
