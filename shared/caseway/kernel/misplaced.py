"""Finds personal data in plain text: card numbers, bank accounts, e-mail addresses.

A safety net, not a classifier: it knows only data that proves itself (Luhn, ISO 7064 mod 97)
or has an unmistakable shape. What an immutable log once holds in the clear cannot be erased.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Runs of letters and digits, as people group them: by one blank or hyphen.
_RUN = re.compile(r"[0-9A-Za-z]+(?:[ -][0-9A-Za-z]+)*")
_CARD = re.compile(r"[2-6][0-9]{12,18}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_EMAIL = re.compile(r"[\w.%+-]@(?:[\w-]+\.)+[^\W\d_]{2}")
_LONGEST = 34  # of an IBAN; no card number is longer


def misplaced(text: str) -> str | None:
    """Name the kind of personal data in a text, or None.

    Example:
        >>> misplaced("paid with 4111 1111 1111 1111 yesterday")
        'a card number'
        >>> misplaced("policy 4111 1111 1111 1112") is None
        True
    """
    plain = unicodedata.normalize("NFKC", text)
    if _EMAIL.search(plain):
        return "an e-mail address"
    for candidate in _candidates(plain):
        if _CARD.fullmatch(candidate) and _luhn(candidate):
            return "a card number"
        if _IBAN.fullmatch(candidate) and _mod97(candidate):
            return "a bank account number (IBAN)"
    return None


def _candidates(text: str) -> Iterator[str]:
    """Every row of neighbouring groups, because words before and after may join the run."""
    for run in _RUN.finditer(text):
        groups = re.split(r"[ -]", run.group().upper())
        for first in range(len(groups)):
            joined = ""
            for group in groups[first:]:
                joined += group
                if len(joined) > _LONGEST:
                    break
                yield joined


def _luhn(digits: str) -> bool:
    doubled = [int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _mod97(account: str) -> bool:
    moved = account[4:] + account[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
