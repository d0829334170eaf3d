"""Personal data in plain text: what is found, and what is not taken for it."""

from __future__ import annotations

import pytest

from caseway.kernel.misplaced import misplaced


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("4111111111111111", "a card number"),
        ("order 12 4111-1111-1111-1111 12/27", "a card number"),
        ("3782 822463 10005", "a card number"),
        ("\uff14111 1111 1111 1111", "a card number"),
        ("gb82west12345698765432", "a bank account number (IBAN)"),
        ("please use DE89 3704 0044 0532 0130 00 for payment", "a bank account number (IBAN)"),
        ("jo@example.com", "an e-mail address"),
        ("J\u00f6rg.M\u00fcller+x@b\u00fccher.example.de.", "an e-mail address"),
    ],
)
def test_personal_data_is_found_however_it_is_written(text: str, kind: str) -> None:
    assert misplaced(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "DE89370400440532013001",
        "GB82WEST",
        "1234567890",
        "at 10@5 a piece",
        "water came in by the roof on 2026-01-02, 14:30, about 12 cm",
        "policy 8000-1234-5678",
        "",
    ],
)
def test_plain_text_is_not_taken_for_personal_data(text: str) -> None:
    assert misplaced(text) is None
