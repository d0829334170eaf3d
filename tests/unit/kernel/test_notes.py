"""Signed notes and checkpoints: foreign vectors both ways, and every form that is refused."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.contracts.signing import SigningKey, VerifyKey
from caseway.errors import ContractError
from caseway.kernel.notes import (
    SIGNATURES_MAX,
    Checkpoint,
    NoteKey,
    OpenedNote,
    open_note,
    sign_note,
    signature_line,
)

NAME = "caseway.example/audit"
KEY = SigningKey("audit", bytes([7]) * 32)
KNOWN = NoteKey(NAME, KEY.verify_key)
WITNESS = SigningKey("witness", bytes([8]) * 32)
ROOT = bytes.fromhex("00d21829a5503145348abcf712513eacf2a274211ad83e970202bb5b6d80b286")
CHECKPOINT = Checkpoint(NAME, 5, ROOT)

# Made by golang.org/x/mod/sumdb/note and tlog, from the seed 0x07 × 32 and the leaves
# "leaf-0" to "leaf-4".
GO_KEY = "caseway.example/audit+261b08d6+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
GO_NOTE = (
    "caseway.example/audit\n5\nANIYKaVQMUU0irz3ElE+rPKidCEa2D6XAgK7W22AsoY=\n\n"
    "— caseway.example/audit JhsI1jXtgd2HsCtwSrrMvIKeFhS53oidinaUHiF2/K4k6Si1v62/63pFpniwc4U0PYj0"
    "ZCVPnuTcIOxUJL0GnWZFgQ8=\n"
)

# The example published with C2SP signed-note.
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuw"
    "HjG1Yu72IneyaQM=\n"
)


def refused(note: str, code: str = "SIGNATURE_INVALID") -> None:
    with pytest.raises(ContractError) as caught:
        open_note(note, [KNOWN])
    assert caught.value.code == code


class TestForeignVectors:
    def test_go_s_note_package_signs_the_same_bytes(self) -> None:
        assert KNOWN.text == GO_KEY
        assert sign_note(CHECKPOINT.text, NAME, KEY) == GO_NOTE

    def test_a_note_made_by_go_opens_into_its_checkpoint(self) -> None:
        opened = open_note(GO_NOTE, [NoteKey.from_text(GO_KEY)])
        assert opened.key_names == (NAME,)
        assert Checkpoint.from_text(opened.text) == CHECKPOINT

    def test_the_published_example_opens(self) -> None:
        opened = open_note(C2SP_NOTE, [NoteKey.from_text(C2SP_KEY)])
        assert opened == OpenedNote("This is an example message.\n", ("example.com/foo",))

    def test_the_published_checkpoint_reads_back(self) -> None:
        text = (
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
        )
        read = Checkpoint.from_text(text)
        assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20_852_163)
        assert read.text == text


class TestNotes:
    def test_a_witness_adds_its_line(self) -> None:
        note = sign_note(CHECKPOINT.text, NAME, KEY)
        note += signature_line(CHECKPOINT.text, "witness.example", WITNESS)
        witness = NoteKey("witness.example", WITNESS.verify_key)
        assert open_note(note, [KNOWN]).key_names == (NAME,)
        assert open_note(note, [witness]).key_names == ("witness.example",)
        assert open_note(note, [witness, KNOWN]).key_names == (NAME, "witness.example")

    def test_lines_of_unknown_keys_and_algorithms_are_passed_over(self) -> None:
        cosigned = b64encode(b"\x01\x02\x03\x04" + bytes(72)).decode()
        note = f"{GO_NOTE}— witness.example {cosigned}\n"
        assert open_note(note, [KNOWN]) == OpenedNote(CHECKPOINT.text, (NAME,))

    def test_a_key_that_signs_twice_is_named_once(self) -> None:
        note = GO_NOTE + signature_line(CHECKPOINT.text, NAME, KEY)
        assert open_note(note, [KNOWN]).key_names == (NAME,)

    def test_two_keys_of_one_name_are_told_apart(self) -> None:
        rotated = NoteKey(NAME, WITNESS.verify_key)
        assert open_note(GO_NOTE, [KNOWN, rotated]).key_names == (NAME,)
        with pytest.raises(ContractError) as caught:
            open_note(GO_NOTE, [rotated])
        assert caught.value.code == "KEY_MISMATCH"

    def test_a_note_nobody_known_signed_is_refused(self) -> None:
        refused(C2SP_NOTE, "KEY_MISMATCH")
        refused(GO_NOTE.replace(f"— {NAME}", "— other.example/audit"), "KEY_MISMATCH")

    def test_one_wrong_signature_by_a_known_key_condemns_the_note(self) -> None:
        other = Checkpoint(NAME, 6, ROOT)
        refused(GO_NOTE + signature_line(other.text, NAME, KEY))

    def test_altered_text_is_refused(self) -> None:
        refused(GO_NOTE.replace("\n5\n", "\n6\n"))
        refused("first line\n" + GO_NOTE)
        refused("first line\n\n" + GO_NOTE)

    @pytest.mark.parametrize("place", range(len(GO_NOTE)))
    def test_no_character_can_be_changed(self, place: int) -> None:
        other = "b" if GO_NOTE[place] == "a" else "a"
        with pytest.raises(ContractError):
            open_note(GO_NOTE[:place] + other + GO_NOTE[place + 1 :], [KNOWN])

    @pytest.mark.parametrize("length", range(len(GO_NOTE)))
    def test_no_part_of_a_note_is_a_note(self, length: int) -> None:
        refused(GO_NOTE[:length])

    @pytest.mark.parametrize(
        "note",
        [
            signature_line("\n", NAME, KEY),
            GO_NOTE.replace("— ", ""),
            GO_NOTE.replace("— ", "- "),
            GO_NOTE.replace("JhsI1j", "Jhs*I1j"),
            GO_NOTE[:-1] + "\u2028— witness.example AAAAAAAA\n",
            GO_NOTE.replace("— ", "—\u00a0"),
            GO_NOTE.replace("\n\n", "\n\n\n"),
            GO_NOTE + "\n",
            GO_NOTE + "more\n",
            GO_NOTE + "— witness.example AAAA\n",
            GO_NOTE + "— witness.example not*base64\n",
            GO_NOTE + "— wit+ness AAAAAAAA\n",
            GO_NOTE + "—  AAAAAAAA\n",
            GO_NOTE.replace("\n", "\r\n"),
            GO_NOTE.replace("5", "\x00"),
            "\ud800" + GO_NOTE,
        ],
    )
    def test_a_note_out_of_form_is_refused(self, note: str) -> None:
        refused(note)

    def test_signatures_without_end_are_refused(self) -> None:
        line = "— witness.example AAAAAAAA\n"
        assert open_note(GO_NOTE + line * (SIGNATURES_MAX - 1), [KNOWN]).key_names == (NAME,)
        refused(GO_NOTE + line * SIGNATURES_MAX)

    @given(
        st.text(st.characters(exclude_categories=["Cc", "Cs"]))
        | st.sampled_from(["\n", "a\n\nb", "\n\n", "line\u2028line\x85line"])
    )
    def test_any_text_comes_back_as_it_was_signed(self, body: str) -> None:
        text = body + "\n"
        assert open_note(sign_note(text, NAME, KEY), [KNOWN]) == OpenedNote(text, (NAME,))

    @pytest.mark.parametrize("text", ["", "no end", "tab\t\n", "return\r\n", "\ud800\n", "\x00\n"])
    def test_a_text_no_reader_would_accept_is_not_signed(self, text: str) -> None:
        with pytest.raises(ContractError) as caught:
            sign_note(text, NAME, KEY)
        assert caught.value.code == "SIGNATURE_INVALID"


class TestKeys:
    @pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "\ud800"])
    def test_a_name_that_would_break_a_line_is_refused(self, name: str) -> None:
        with pytest.raises(ContractError) as caught:
            NoteKey(name, KEY.verify_key)
        assert caught.value.code == "KEY_INVALID"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            GO_KEY.replace("audit", "other"),
            GO_KEY.replace("261b08d6", "261b08d7"),
            GO_KEY.replace("261b08d6", "261B08D6"),
            GO_KEY[:-4],
            GO_KEY + "=",
            GO_KEY.replace("+Aep", "+Bep"),
            C2SP_KEY.replace("example.com/foo", NAME),
        ],
    )
    def test_a_verifier_key_out_of_form_is_refused(self, text: str) -> None:
        with pytest.raises(ContractError) as caught:
            NoteKey.from_text(text)
        assert caught.value.code == "KEY_INVALID"

    def test_the_key_hash_is_that_of_the_specification(self) -> None:
        key = VerifyKey(b64decode("6TJ5GubnqECkYWTJBHhkJtXngh3YspoA1hyucq/dTaQ="))
        assert NoteKey("example.com/foo", key).key_hash.hex() == "530d903a"


class TestCheckpoints:
    @given(
        st.text(st.characters(categories=["L", "N", "P"]), min_size=1),
        st.integers(0, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), max_size=3),
    )
    def test_a_checkpoint_reads_back(
        self, origin: str, size: int, root: bytes, extensions: list[str]
    ) -> None:
        checkpoint = Checkpoint(origin, size, root, tuple(extensions))
        assert Checkpoint.from_text(checkpoint.text) == checkpoint

    @pytest.mark.parametrize(
        ("origin", "size", "root", "extensions"),
        [
            ("", 5, ROOT, ()),
            ("two\nlines", 5, ROOT, ()),
            ("tab\t", 5, ROOT, ()),
            (NAME, -1, ROOT, ()),
            (NAME, 2**63, ROOT, ()),
            (NAME, 5, ROOT[:31], ()),
            (NAME, 5, ROOT, ("",)),
            (NAME, 5, ROOT, ("two\nlines",)),
        ],
    )
    def test_a_checkpoint_out_of_form_cannot_be_made(
        self, origin: str, size: int, root: bytes, extensions: tuple[str, ...]
    ) -> None:
        with pytest.raises(ContractError) as caught:
            Checkpoint(origin, size, root, extensions)
        assert caught.value.code == "CHECKPOINT_INVALID"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n",
            f"{NAME}\n5\n",
            CHECKPOINT.text[:-1],
            CHECKPOINT.text + "\n",
            CHECKPOINT.text + "\nmore\n",
            CHECKPOINT.text.replace("\n5\n", "\n05\n"),
            CHECKPOINT.text.replace("\n5\n", "\n+5\n"),
            CHECKPOINT.text.replace("\n5\n", "\n٥\n"),
            CHECKPOINT.text.replace("\n5\n", "\n\n"),
            CHECKPOINT.text.replace("\n5\n", "\n" + "9" * 5000 + "\n"),
            CHECKPOINT.text.replace("soY=", "soZ="),
            CHECKPOINT.text.replace("soY=", "soY"),
        ],
    )
    def test_another_text_is_no_checkpoint(self, text: str) -> None:
        with pytest.raises(ContractError) as caught:
            Checkpoint.from_text(text)
        assert caught.value.code == "CHECKPOINT_INVALID"
