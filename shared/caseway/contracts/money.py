"""Money as exact decimal text with an ISO 4217 currency; never a float, never rounded.

The scale of a currency is that of ISO 4217 (USD 2, JPY 0, KWD 3): a finer amount is an error
and not a rounding, because a rounded amount may fall into a lower row of an authority matrix.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from caseway.errors import ContractError

# ISO 4217 minor units of the currencies Caseway accepts; others are refused, never guessed.
MINOR_UNITS: dict[str, int] = {
    "AUD": 2,
    "CAD": 2,
    "CHF": 2,
    "EUR": 2,
    "GBP": 2,
    "JPY": 0,
    "KWD": 3,
    "USD": 2,
}

# Fifteen digits before the point hold every sum of money on earth in any currency above.
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?")

AmountText = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,14})(\.[0-9]+)?$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Money(BaseModel):
    """An amount ≥ 0 as the sender wrote it, with its currency: `{"amount": "75000.00", …}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: AmountText
    currency: Currency

    @property
    def decimal(self) -> Decimal:
        """The exact value; comparing it never goes through binary floating point."""
        return Decimal(self.amount)

    def __str__(self) -> str:
        return f"{self.decimal:,f} {self.currency}"


def parse_money(value: Any, where: str) -> Money:
    """Read `{"amount": "12.50", "currency": "USD"}` or refuse it, naming the field.

    Raises:
        ContractError: AMOUNT_FORMAT, AMOUNT_RANGE, AMOUNT_SCALE, CURRENCY or FIELD_MISSING.

    Example:
        >>> parse_money({"amount": "75000.00", "currency": "USD"}, "/amount").decimal
        Decimal('75000.00')
    """
    if not isinstance(value, dict):
        raise ContractError(
            f'{where}: money is an object {{"amount": "12.50", "currency": "USD"}}',
            code="AMOUNT_FORMAT",
            where=where,
        )
    for name in ("amount", "currency"):
        if value.get(name) is None:
            raise ContractError(
                f"{where}/{name}: is missing", code="FIELD_MISSING", where=f"{where}/{name}"
            )
    for name in value.keys() - {"amount", "currency"}:
        raise ContractError(
            f"{where}/{name}: is not a field of money; it has amount and currency",
            code="UNKNOWN_FIELD",
            where=f"{where}/{name}",
        )
    return Money(
        amount=_amount(value["amount"], value["currency"], where), currency=value["currency"]
    )


def _amount(amount: Any, currency: Any, where: str) -> str:
    if not isinstance(currency, str) or currency not in MINOR_UNITS:
        raise ContractError(
            f"{where}/currency: is not one of {', '.join(MINOR_UNITS)} (ISO 4217)",
            code="CURRENCY",
            where=f"{where}/currency",
        )
    at = f"{where}/amount"
    if isinstance(amount, str) and amount.startswith("-") and _AMOUNT.fullmatch(amount[1:]):
        raise ContractError(f"{at}: is negative; send 0 or more", code="AMOUNT_RANGE", where=at)
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise ContractError(
            f'{at}: is not a decimal string, e.g. "12.50"', code="AMOUNT_FORMAT", where=at
        )
    scale = len(amount.partition(".")[2])
    if scale > MINOR_UNITS[currency]:
        raise ContractError(
            f"{at}: has {scale} decimals; {currency} has {MINOR_UNITS[currency]} decimals",
            code="AMOUNT_SCALE",
            where=at,
        )
    return amount
