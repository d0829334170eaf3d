"""The authority matrix: every amount has one row, and a broken table never loads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from caseway.contracts.durations import Elapsed
from caseway.contracts.matrix import AuthorityMatrix, Interval, Row, parse_interval
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of
from caseway.kernel.matrix import CompiledMatrix, NoRow, compile_matrix

SHIPPED: dict[str, Any] = YAML(typ="safe", pure=True).load(
    (files("caseway_control") / "data/insurance/matrix.yaml").read_text(encoding="utf-8")
)
ROLES = frozenset(
    role
    for row in SHIPPED["spec"]["rows"]
    for role in (row["approver"], *(role for rung in row.get("escalates_to", ()) for role in rung))
)
NONE: frozenset[str] = frozenset()
FRAUD = frozenset({"fraud"})


def compiled(change: Callable[[dict[str, Any]], object] | None = None) -> CompiledMatrix:
    document = copy.deepcopy(SHIPPED)
    if change is not None:
        change(document["spec"])
    return compile_matrix(AuthorityMatrix.model_validate(document))


def refused(change: Callable[[dict[str, Any]], object]) -> ContractError:
    with pytest.raises(ContractError) as error:
        compiled(change)
    return error.value


def bands(*intervals: str) -> CompiledMatrix:
    def change(spec: dict[str, Any]) -> None:
        spec["calendar"] = None
        spec["rows"] = [
            {"name": f"r{index}", "amount": text, "approver": "clerk", "sla": "1h"}
            for index, text in enumerate(intervals)
        ]

    return compiled(change)


def row_of(amount: str, flags: frozenset[str] = NONE) -> str:
    found = compiled().find(Decimal(amount), "USD", flags)
    assert isinstance(found, Row)
    return found.name


@pytest.mark.parametrize(
    ("amount", "row"),
    [
        ("0", "auto"),
        ("0.00", "auto"),
        ("4999.99", "auto"),
        ("4999.999999999999999", "auto"),
        ("5000.00", "standard"),
        ("24999.99", "standard"),
        ("24999.999999999996", "standard"),
        ("25000.00", "large"),
        ("75000", "large"),
        ("99999.99", "large"),
        ("99999.9999999999999999999999999999999999", "large"),
        ("100000.00", "major"),
        ("500000.00", "major"),
        ("500000.00000000000000000000000000000001", "catastrophic"),
        ("500000.01", "catastrophic"),
        ("999999999999999", "catastrophic"),
    ],
)
def test_an_amount_has_the_row_of_the_written_table(amount: str, row: str) -> None:
    assert row_of(amount) == row
    assert row_of(amount, FRAUD) == "fraud-referral"


def test_the_shipped_rows_say_who_decides_and_by_when() -> None:
    rows = {row.name: row for row in compiled().document.spec.rows}
    assert rows["catastrophic"].escalates_to == (("ceo", "legal"),)
    assert str(rows["catastrophic"].sla) == "5 business days"
    assert rows["fraud-referral"].escalates_to == (("vp-claims", "legal"),)
    assert rows["large"].sla == Elapsed(48 * 3600)
    assert [row.name for row in rows.values() if row.is_auto] == ["auto"]


@given(st.decimals("0", "1000000", allow_nan=False))
def test_every_amount_lies_in_the_one_row_that_is_found(amount: Decimal) -> None:
    matrix = compiled()
    holding = [row for row in matrix.amount_rows if row.amount and row.amount.contains(amount)]
    assert [matrix.find(amount, "USD", NONE)] == holding


@pytest.mark.parametrize(
    ("amount", "currency", "flags", "reason"),
    [
        (Decimal("10"), "EUR", NONE, "CURRENCY_UNMAPPED"),
        (Decimal("10"), "usd", NONE, "CURRENCY_UNMAPPED"),
        (Decimal("10"), "", FRAUD, "CURRENCY_UNMAPPED"),
        (Decimal("10"), "USD", frozenset({"vip"}), "FLAG_UNKNOWN"),
        (Decimal("10"), "USD", frozenset({"fraud", "vip"}), "FLAG_UNKNOWN"),
        (Decimal("-0.01"), "USD", NONE, "AMOUNT_RANGE"),
        (Decimal("NaN"), "USD", NONE, "AMOUNT_FORMAT"),
        (Decimal("sNaN"), "USD", FRAUD, "AMOUNT_FORMAT"),
        (Decimal("Infinity"), "USD", NONE, "AMOUNT_FORMAT"),
        (24999.999999999996, "USD", NONE, "AMOUNT_FORMAT"),
        ("10", "USD", NONE, "AMOUNT_FORMAT"),
        (None, "USD", NONE, "AMOUNT_FORMAT"),
    ],
)
def test_what_the_table_does_not_know_falls_into_no_row(
    amount: Any, currency: str, flags: frozenset[str], reason: str
) -> None:
    matrix = compiled()
    found = matrix.find(amount, currency, flags)
    assert isinstance(found, NoRow)
    assert found.reason == reason
    explained = matrix.explain(amount, currency, flags)
    assert (explained.chosen, explained.no_row) == (None, found)
    assert not any(trace.chosen for trace in explained.rows)


@pytest.mark.parametrize(
    ("gone", "gap"),
    [
        ("auto", "[0..5000)"),
        ("standard", "[5000..25000)"),
        ("large", "[25000..100000)"),
        ("major", "[100000..500000]"),
        ("catastrophic", "(500000..)"),
    ],
)
def test_a_deleted_row_leaves_a_gap_that_is_named(gone: str, gap: str) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["rows"] = [row for row in spec["rows"] if row["name"] != gone]

    error = refused(change)
    assert error.code == "POLICY_BANDS"
    assert f"amounts in {gap}, e.g. " in str(error)
    neighbours = {"standard": ("auto", "large"), "major": ("large", "catastrophic")}
    for name in neighbours.get(gone, ()):
        assert repr(name) in str(error)


@pytest.mark.parametrize("index", range(1, 6))
def test_a_duplicated_row_is_named_with_the_range_it_covers_twice(index: int) -> None:
    row = SHIPPED["spec"]["rows"][index]
    error = refused(lambda spec: spec["rows"].insert(index, copy.deepcopy(row)))
    assert error.code == "POLICY_BANDS"
    assert f"amounts in {row['amount']}, e.g. " in str(error)
    assert "covered twice" in str(error)
    assert str(error).count(repr(row["name"])) == 2


def test_a_duplicated_flag_row_is_refused() -> None:
    row = SHIPPED["spec"]["rows"][0]
    error = refused(lambda spec: spec["rows"].append(copy.deepcopy(row) | {"name": "other"}))
    assert error.code == "POLICY_BANDS"
    assert "'fraud-referral'" in str(error)
    assert "'other'" in str(error)
    assert error.where == "/spec/rows/6"


@pytest.mark.parametrize(
    ("index", "misspelt", "words"),
    [
        (2, "[5000..24999.99]", "amounts in (24999.99..25000), e.g. 24999.995, are covered by no"),
        (2, "(5000..25000)", "amounts in [5000..5000], e.g. 5000, are covered by no row"),
        (2, "[5000..25000]", "amounts in [25000..25000], e.g. 25000, are covered twice"),
        (2, "[5000..250000)", "amounts in [25000..100000), e.g. 25000, are covered twice"),
        (2, "[500..25000)", "amounts in [500..5000), e.g. 500, are covered twice"),
        (1, "(0..5000)", "amounts in [0..0], e.g. 0, are covered by no row"),
        (1, "[100..5000)", "amounts in [0..100), e.g. 0, are covered by no row"),
        (5, "(500000..900000]", "amounts in (900000..), e.g. 900001, are covered by no row"),
        (4, "[100000..)", "amounts in (500000..), e.g. 500001, are covered twice"),
    ],
)
def test_a_misspelt_bound_is_answered_with_the_range_and_an_amount(
    index: int, misspelt: str, words: str
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["rows"][index]["amount"] = misspelt

    error = refused(change)
    assert error.code == "POLICY_BANDS"
    assert words in str(error)


def test_unsorted_rows_are_refused_although_they_leave_no_gap() -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["rows"][2], spec["rows"][3] = spec["rows"][3], spec["rows"][2]

    error = refused(change)
    assert error.code == "POLICY_BANDS"
    assert "'large' [25000..100000) is written above row 'standard' [5000..25000)" in str(error)
    assert "ascending" in str(error)


def test_a_matrix_without_amount_rows_is_refused() -> None:
    error = refused(lambda spec: spec.update(rows=spec["rows"][:1], calendar=None))
    assert error.code == "POLICY_BANDS"
    assert "[0..)" in str(error)


BOUNDS = st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True).map(sorted)


@given(BOUNDS, st.data())
def test_the_proof_finds_every_gap_and_every_overlap(bounds: list[int], data: Any) -> None:
    closed = [data.draw(st.booleans()) for _ in bounds]
    texts = []
    ends = [("[0", ""), *((f"{'(['[not c]}{b}", f"{b}{')]'[c]}") for b, c in zip(
        bounds, closed, strict=True)), ("", ")")]  # fmt: skip
    texts = [f"{low}..{high}" for (low, _), (_, high) in pairwise(ends)]
    whole = bands(*texts)
    probes = [Decimal(half) / 2 for half in range(0, 22)]
    assert all(isinstance(whole.find(probe, "USD", NONE), Row) for probe in probes)
    index = data.draw(st.integers(0, len(texts) - 1))
    other = data.draw(st.sampled_from(texts))
    edits = [*texts[:index], other, *texts[index + 1 :]]
    if edits != texts:
        with pytest.raises(ContractError) as error:
            bands(*edits)
        assert error.value.code == "POLICY_BANDS"
        example = Decimal(str(error.value).partition("e.g. ")[2].partition(", are")[0])
        covering = [text for text in edits if parse_interval(text).contains(example)]
        assert len(covering) == (2 if "twice" in str(error.value) else 0) or len(covering) > 2


def test_a_circle_of_rungs_is_shown_as_a_path() -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["rows"][3]["escalates_to"] = [["vp-claims"], ["legal", "ceo"], ["ceo", "legal"]]

    error = refused(change)
    assert (error.code, error.where) == ("ESCALATION_CYCLE", "/spec/rows/3/escalates_to/2")
    assert "claims-manager → vp-claims → ceo+legal → ceo+legal" in str(error)


def test_a_row_that_escalates_to_its_own_approver_is_a_circle() -> None:
    error = refused(lambda spec: spec["rows"][3].update(escalates_to=[["claims-manager"]]))
    assert error.code == "ESCALATION_CYCLE"


def test_a_rung_that_adds_a_role_is_no_circle() -> None:
    rungs = [["vp-claims"], ["vp-claims", "legal"]]
    assert compiled(lambda spec: spec["rows"][3].update(escalates_to=rungs))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda spec: spec["rows"][3].update(escalates_to=[[]]), "ROLE_EMPTY"),
        (lambda spec: spec["rows"][3].update(escalates_to=[["ceo", "ceo"]]), "ROLE_REPEATED"),
        (lambda spec: spec["rows"][3].update(name="standard"), "ROW_NAME"),
        (lambda spec: spec.pop("calendar"), "CALENDAR_MISSING"),
        (lambda spec: spec["rows"][5].update(sla="120h"), "CALENDAR_UNUSED"),
        (lambda spec: spec.update(currency="XAU"), "CURRENCY"),
        (lambda spec: spec["rows"][1].update(amount="[0..5000.001)"), "AMOUNT_SCALE"),
        (lambda spec: spec.update(currency="JPY", rows=[{"name": "a", "amount": "[0.5..)",
            "approver": "clerk", "sla": "1h"}]), "AMOUNT_SCALE"),
    ],
)  # fmt: skip
def test_what_the_rows_cannot_keep_is_refused(
    change: Callable[[dict[str, Any]], object], code: str
) -> None:
    assert refused(change).code == code


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"approver": ""}, "ROLE_EMPTY"),
        ({"approver": "  "}, "ROLE_EMPTY"),
        ({"approver": None}, "ROLE_EMPTY"),
        ({"escalates_to": [["ceo", ""]]}, "ROLE_EMPTY"),
        ({"sla": "2 bananas"}, "DURATION"),
        ({"sla": "0h"}, "DURATION"),
        ({"sla": "-24h"}, "DURATION"),
        ({"amount": "[0..5,000)"}, "INTERVAL"),
        ({"amount": "< 5000"}, "INTERVAL"),
        ({"amount": "[0..]"}, "INTERVAL"),
        ({"amount": "[-5..5)"}, "INTERVAL"),
        ({"amount": "[0..5e3)"}, "INTERVAL"),
        ({"amount": 5000}, "INTERVAL"),
        ({"amount": "(5..5]"}, "POLICY_BANDS"),
        ({"flag": "fraud"}, "ROW_CONDITION"),
        ({"amount": None}, "ROW_CONDITION"),
        ({"approver": "system"}, "AUTO_ROW"),
        ({"sla": "instant"}, "AUTO_ROW"),
        ({"approver": "system", "sla": "instant"}, "AUTO_ROW"),
        ({"approver": "system", "sla": "1h", "escalates_to": []}, "AUTO_ROW"),
        ({"approver": "system", "sla": "instant", "escalates_to": [], "amount": None,
            "flag": "fraud"}, "AUTO_ROW"),
        ({"escalates_to": [["system"]]}, "AUTO_ROW"),
        ({"aprover": "ceo"}, "extra_forbidden"),
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_alone_is_refused(row: dict[str, Any], code: str) -> None:
    whole = {"name": "a", "amount": "[0..5)", "approver": "clerk", "sla": "1h"}
    whole["escalates_to"] = [["ceo"]]  # type: ignore[assignment]
    assert Row.model_validate(whole)
    with pytest.raises(ValidationError) as invalid:
        Row.model_validate(whole | row)
    assert [error["type"] for error in invalid.value.errors()] == [code]


def test_an_unpublished_role_is_refused_with_the_nearest_name() -> None:
    document = AuthorityMatrix.model_validate(SHIPPED)
    assert compile_matrix(document, ROLES)
    with pytest.raises(ContractError, match="did you mean 'legal-team'") as error:
        compile_matrix(document, ROLES - {"legal"} | {"legal-team"})
    assert error.value.code == "ROLE_EMPTY"
    assert error.value.where == "/spec/rows/0/escalates_to/0/1"
    with pytest.raises(ContractError, match="senior-adjuster"):
        compile_matrix(document, ROLES - {"senior-adjuster"})


def test_the_explanation_shows_every_row_and_cell() -> None:
    explained = compiled().explain(Decimal("75000.00"), "USD", NONE)
    assert explained.chosen == "large"
    assert [trace.row for trace in explained.rows if trace.matched] == ["large"]
    assert [trace.row for trace in explained.rows if trace.chosen] == ["large"]
    cells = {trace.row: [(c.column, c.condition, c.matched, c.why) for c in trace.cells]
             for trace in explained.rows}  # fmt: skip
    assert len(cells) == 6
    assert cells["fraud-referral"] == [
        ("currency", "USD", True, "is the same"),
        ("flag", "fraud", False, "is not raised"),
        ("amount", "any", True, "any amount matches"),
    ]
    assert cells["major"][2] == ("amount", "[100000..500000]", False, "75000.00 lies outside")


@given(
    st.decimals(-10, 600_000, places=2),
    st.sampled_from(["USD", "EUR"]),
    st.sets(st.sampled_from(["fraud", "legal-hold", "vip"])),
)
def test_the_explanation_agrees_with_the_decision(
    amount: Decimal, currency: str, raised: set[str]
) -> None:
    hold = {"name": "hold", "flag": "legal-hold", "approver": "legal", "sla": "24h"}
    matrix = compiled(lambda spec: spec["rows"].append(hold))
    found = matrix.find(amount, currency, frozenset(raised))
    explained = matrix.explain(amount, currency, frozenset(raised))
    if isinstance(found, Row):
        matched = [trace.row for trace in explained.rows if trace.matched]
        assert matched == [found.name] == [explained.chosen]
    else:
        assert explained.no_row == found


def test_the_first_of_two_raised_flags_wins_and_the_other_says_so() -> None:
    hold = {"name": "hold", "flag": "legal-hold", "approver": "legal", "sla": "24h"}
    matrix = compiled(lambda spec: spec["rows"].append(hold))
    explained = matrix.explain(Decimal(1), "USD", frozenset({"legal-hold", "fraud"}))
    assert explained.chosen == "fraud-referral"
    assert explained.rows[-1].cells[1].why == "is raised, but fraud-referral stands above"
    assert explained.rows[1].cells[1].why == "fraud goes to fraud-referral"


def test_the_matched_cells_are_short_texts_for_the_event() -> None:
    matrix = compiled()
    large = matrix.find(Decimal("75000.00"), "USD", NONE)
    assert isinstance(large, Row)
    assert matrix.matched_cells(large, Decimal("75000.00"), "USD", NONE) == (
        "currency USD: is the same",
        "flag none: no flag is raised",
        "amount [25000..100000): 75000.00 lies inside",
    )


def test_the_pin_names_the_digest_of_the_document() -> None:
    matrix = compiled()
    assert (matrix.pin.name, matrix.pin.version) == ("claim-settlement", 1)
    assert matrix.pin.digest == digest_of(matrix.document)
    assert compiled(lambda spec: spec["rows"][2].update(sla="25h")).pin.digest != matrix.pin.digest


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.booleans(), st.booleans())
def test_an_interval_survives_its_own_text(
    low: int, width: int, low_closed: bool, high_closed: bool
) -> None:
    interval = Interval(Decimal(low) / 100, low_closed, Decimal(low + width) / 100, high_closed)
    assert parse_interval(str(interval)) == interval
