"""Signed notes and checkpoints in the C2SP forms, so that foreign tools and witnesses read them.

A note is text, a blank line, then one line for each signature. Lines of unknown keys and of
other algorithms (a witness's cosignature) are passed over; a wrong signature under a known key
condemns the whole note. Text counts only once `open_note` has returned it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from caseway.contracts.signing import SigningKey, VerifyKey
from caseway.errors import ContractError

# The signature type of C2SP signed-note that says Ed25519; it is part of the key hash.
_ED25519 = b"\x01"
_SIGNATURE_LINE = "— "

# As many as Go's note package reads; the specification asks for at least 16.
SIGNATURES_MAX = 100

_NOT_TEXT = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")

# Tree sizes are 64-bit signed integers in the tools that read a checkpoint.
SIZE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with the name it signs notes under, usually the origin of a log.

    Raises:
        ContractError: KEY_INVALID.
    """

    name: str
    key: VerifyKey

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise _bad_key("a name that is empty or holds a space, a plus or a control character")

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell the keys of one name apart; they prove nothing."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key.raw).digest()[:4]

    @property
    def text(self) -> str:
        """The verifier key as foreign tools take it: name, key hash and key, joined by plus."""
        material = b64encode(_ED25519 + self.key.raw).decode()
        return f"{self.name}+{self.key_hash.hex()}+{material}"

    @classmethod
    def from_text(cls, text: str) -> NoteKey:
        """Read a verifier key; only Ed25519 keys with the hash of their own name are read."""
        name, _, rest = text.partition("+")
        read = cls(name, VerifyKey(_base64(rest.partition("+")[2])[1:]))
        if read.text != text:
            raise _bad_key("no Ed25519 verifier key name+hash+base64, hash that of name and key")
        return read


class OpenedNote(NamedTuple):
    """The text of a note and the names of the known keys that signed it."""

    text: str
    key_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of one append-only tree: C2SP tlog-checkpoint.

    Raises:
        ContractError: CHECKPOINT_INVALID.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= SIZE_MAX:
            raise _bad_checkpoint("a tree size outside 0 to 2^63 - 1", "line 2")
        if len(self.root) != 32:
            raise _bad_checkpoint(f"a root of {len(self.root)} bytes; expected 32", "line 3")
        for number, line in enumerate((self.origin, "0", "0", *self.extensions), start=1):
            if not line or "\n" in line or not _is_text(line):
                raise _bad_checkpoint("an empty line or a control character", f"line {number}")

    @property
    def text(self) -> str:
        """The text to sign, its last newline included."""
        root = b64encode(self.root).decode()
        return "\n".join((self.origin, str(self.size), root, *self.extensions, ""))

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """Read the text of an opened note; what would not be written back alike is refused."""
        lines = text.split("\n")
        if len(lines) < 4:
            raise _bad_checkpoint("no three lines, each with its newline", "")
        origin, size, root, *extensions = lines[:-1]
        if not size.isdecimal() or len(size) > 19:
            raise _bad_checkpoint("no tree size in decimal digits", "line 2")
        read = cls(origin, int(size), _base64(root), tuple(extensions))
        if read.text != text:
            raise _bad_checkpoint("another spelling than its own, or no last newline", "")
        return read


def sign_note(text: str, key_name: str, key: SigningKey) -> str:
    """The text as a note with one signature; append `signature_line`s for more.

    Raises:
        ContractError: SIGNATURE_INVALID for a text that no reader would accept; KEY_INVALID.
    """
    return f"{text}\n{signature_line(text, key_name, key)}"


def signature_line(text: str, key_name: str, key: SigningKey) -> str:
    """One more signature on the text of a note, to be appended to the note as it is.

    Raises:
        ContractError: SIGNATURE_INVALID for a text that no reader would accept; KEY_INVALID.
    """
    if not text.endswith("\n") or not _is_text(text):
        raise _refusal("a text without a last newline, or with a control character", "")
    key_hash = NoteKey(key_name, key.verify_key).key_hash
    return f"— {key_name} {b64encode(key_hash + key.sign(text.encode())).decode()}\n"


def open_note(note: str, keys: Iterable[NoteKey]) -> OpenedNote:
    """Verify a note and return its text with the names of the known keys that signed it.

    Raises:
        ContractError: SIGNATURE_INVALID for a malformed note or a wrong signature under a known
            key; KEY_MISMATCH when no known key signed it.
    """
    head, blank, block = note.rpartition("\n\n")
    if not blank or not block.endswith("\n") or not _is_text(note):
        raise _refusal("no text, blank line and signature lines", "")
    text = head + "\n"
    message = text.encode()
    known = {(key.name, key.key_hash): key.key for key in keys}
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise _refusal(f"more than {SIGNATURES_MAX} signatures", "")
    names: dict[str, None] = {}
    first = text.count("\n") + 2
    for number, line in enumerate(lines, start=first):
        name, key_hash, signature = _parse_line(line, number)
        key = known.get((name, key_hash))
        if key is None:
            continue
        if not key.accepts(signature, message):
            raise _refusal(f"a signature that key {name!r} did not make", f"line {number}")
        names[name] = None
    if not names:
        raise ContractError(
            "note: found no signature by a known key; give the key of the log that wrote it",
            code="KEY_MISMATCH",
        )
    return OpenedNote(text, tuple(names))


def _parse_line(line: str, number: int) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    raw = _base64(encoded)
    if not line.startswith(_SIGNATURE_LINE) or not _is_name(name) or len(raw) < 5:
        raise _refusal("a line that is no signature", f"line {number}")
    return name, raw[:4], raw[4:]


def _is_name(name: str) -> bool:
    return bool(name) and _is_text(name) and not any(c.isspace() or c == "+" for c in name)


def _is_text(text: str) -> bool:
    """Whether a note may hold it: UTF-8 (no lone surrogate), no control character but newline."""
    return not _NOT_TEXT.search(text)


def _base64(text: str) -> bytes:
    """Strict standard base64; nothing for any other text."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _refusal(found: str, where: str) -> ContractError:
    return ContractError(
        f"note: found {found}; get it again from the log that signed it",
        code="SIGNATURE_INVALID",
        where=where,
    )


def _bad_key(found: str) -> ContractError:
    return ContractError(f"note key: found {found}; take it from the log", code="KEY_INVALID")


def _bad_checkpoint(found: str, where: str) -> ContractError:
    return ContractError(
        f"checkpoint: found {found}; get it again from the log that signed it",
        code="CHECKPOINT_INVALID",
        where=where,
    )
