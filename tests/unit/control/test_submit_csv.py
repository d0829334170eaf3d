"""CSV and JSON submissions: small conversions, and one line of errors a field, never its value."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from caseway.client import Client
from caseway.errors import ConfigError, ContractError
from caseway.kernel.machine import compile_definition
from caseway.kernel.registry import Registry
from caseway_control.documents import load_document
from caseway_control.mapping import Row, load_mapping, read_csv
from caseway_control.submitting import Defaults, Fate, Ready, prepare, read_json

DATA = files("caseway_control") / "data"
SECRET = b"k" * 32
HEADER = "id,amount,kind,day,fraud,name"
MAPPING = """
apiVersion: caseway.dev/v1
kind: SubmissionMapping
metadata: {name: test}
spec:
  definition: insurance-claim
  source: test
  key: [id]
  missing: ["", "?"]
  facts:
    claimant: {to: pseudonym, columns: [name, id], prefix: person}
    payee: {to: constant, value: person-9f86d081884c7d65}
    amount: {to: money, column: amount, currency: USD, scale: 2}
    incident_kind: {to: text, column: kind, values: {Crash: collision, Theft: theft}}
    incident_on: {to: date, column: day, format: "%d.%m.%Y"}
    fraud_reported: {to: boolean, column: fraud, true_words: [Y], false_words: [N]}
"""


class _Log:
    shards = 4


def registry() -> Registry:
    text = (DATA / "insurance" / "definition.yaml").read_text(encoding="utf-8")
    document: Any = load_document(text, "definition.yaml")
    machine = compile_definition(document)
    return Registry(namespace="test", machines={machine.pin.name: machine})


def rows(*lines: str, mapping: str = MAPPING, header: str = HEADER) -> list[Row]:
    text = "\n".join((header, *lines)) + "\n"
    return list(read_csv(text, "claims.csv", load_mapping(mapping, "mapping.yaml"), SECRET))


def prepared(found: list[Row]) -> tuple[list[Ready], list[Fate]]:
    log: Any = _Log()
    made = list(prepare(found, registry(), Client(log, "test")))
    ready = [item for item in made if isinstance(item, Ready)]
    return ready, [fate for item in made if isinstance(item, list) for fate in item]


def errors(*lines: str) -> list[tuple[str, str, str]]:
    return [(fate.place, fate.where, fate.code) for fate in prepared(rows(*lines))[1]]


def test_each_conversion_makes_a_fact() -> None:
    (row,) = rows("7,1234567,Crash,03.11.2026,Y,Ann")
    assert row.place == "line 2"
    assert row.key == "7"
    claimant = row.facts.pop("claimant")
    assert claimant.startswith("person-")
    assert len(claimant) == len("person-") + 32
    assert row.facts == {
        "payee": "person-9f86d081884c7d65",
        "amount": {"amount": "12345.67", "currency": "USD"},
        "incident_kind": "collision",
        "incident_on": "2026-11-03",
        "fraud_reported": True,
    }


@pytest.mark.parametrize(
    ("cell", "scale", "amount"),
    [
        ("71610", 0, "71610"),
        ("71610.55", 0, "71610.55"),
        ("007", 0, "7"),
        ("5", 2, "0.05"),
        ("0", 2, "0.00"),
        ("100000000000000", 2, "1000000000000.00"),
    ],
)
def test_money_is_exact_at_every_scale(cell: str, scale: int, amount: str) -> None:
    (row,) = rows(f"7,{cell},Crash,,N,Ann", mapping=MAPPING.replace("scale: 2", f"scale: {scale}"))
    assert row.facts["amount"]["amount"] == amount


def test_a_pseudonym_follows_from_the_key_and_the_cells() -> None:
    spec = load_mapping(MAPPING, "m")
    text = f"{HEADER}\n7,1,Crash,,N,Ann\n"
    first = next(iter(read_csv(text, "x", spec, SECRET))).facts["claimant"]
    assert first == next(iter(read_csv(text, "x", spec, SECRET))).facts["claimant"]
    assert first != next(iter(read_csv(text, "x", spec, b"j" * 32))).facts["claimant"]
    other = text.replace("Ann", "Ben")
    assert first != next(iter(read_csv(other, "x", spec, SECRET))).facts["claimant"]


def test_missing_cells_are_absent_facts() -> None:
    (row,) = rows("7,1,Crash,?,,Ann")
    assert "incident_on" not in row.facts
    assert "fraud_reported" not in row.facts


@pytest.mark.parametrize(
    ("line", "where", "code"),
    [
        ('7,"75,000",Crash,,N,Ann', "/amount/amount", "AMOUNT_FORMAT"),
        ("7,NaN,Crash,,N,Ann", "/amount/amount", "AMOUNT_FORMAT"),
        ("7,1e400,Crash,,N,Ann", "/amount/amount", "AMOUNT_FORMAT"),
        ("7,-1,Crash,,N,Ann", "/amount/amount", "AMOUNT_RANGE"),
        ("7,10.001,Crash,,N,Ann", "/amount/amount", "AMOUNT_SCALE"),
        ("7,?,Crash,,N,Ann", "/amount", "FIELD_MISSING"),
        ("7,1,Meteor,,N,Ann", "/incident_kind", "VALUE_UNMAPPED"),
        ("7,1,Crash,31.02.2026,N,Ann", "/incident_on", "TIME_INVALID"),
        ("7,1,Crash,,maybe,Ann", "/fraud_reported", "VALUE_UNMAPPED"),
        (",1,Crash,,N,Ann", "/key", "FIELD_MISSING"),
        ("7\x07,1,Crash,,N,Ann", "/key", "KEY_FORMAT"),
        ("7,1,Crash,,N", "line 2", "CSV_ROW"),
        ("7,1,Crash,,N,Ann,x", "line 2", "CSV_ROW"),
    ],
)
def test_a_wrong_row_is_told_with_line_and_field(line: str, where: str, code: str) -> None:
    scaled = MAPPING.replace("scale: 2", "scale: 0")
    (fate,) = prepared(rows(line, mapping=scaled))[1]
    assert (fate.place, fate.where, fate.code) == ("line 2", where, code)
    assert "Meteor" not in fate.message
    assert "maybe" not in fate.message


def test_an_empty_row_names_everything_it_lacks() -> None:
    found = {where for _, where, _ in errors(",,,,,")}
    assert found >= {"/key", "/amount", "/incident_kind", "/claimant"}


def test_rows_after_a_wrong_one_are_read_on() -> None:
    ready, fates = prepared(rows("7,x,Crash,,N,Ann", "8,100,Theft,,N,Ben"))
    assert [item.row.key for item in ready] == ["8"]
    assert [fate.place for fate in fates] == ["line 2"]


def test_a_cell_with_a_line_break_counts_its_lines() -> None:
    first, second = rows('7,1,"Cra\nsh",,N,Ann', "8,1,Crash,,N,Ben")
    assert (first.place, second.place) == ("line 3", "line 4")


@pytest.mark.parametrize(
    ("header", "line", "code", "says"),
    [
        (HEADER.replace("amount", "amout"), "7,1", "MAPPING_COLUMN", "did you mean 'amout'"),
        ("id,id,amount,kind,day,fraud", "7,7,1,Crash,,N", "CSV_HEADER", "stands twice"),
        (HEADER, '7,1,"Cra', "FILE_TRUNCATED", "line 2"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(header: str, line: str, code: str, says: str) -> None:
    spec = load_mapping(MAPPING, "m")
    with pytest.raises(ConfigError, match=says) as error:
        list(read_csv(f"{header}\n{line}", "claims.csv", spec, SECRET))
    assert error.value.code == code


def test_an_empty_file_has_no_header() -> None:
    with pytest.raises(ConfigError, match="no header"):
        list(read_csv("", "claims.csv", load_mapping(MAPPING, "m"), SECRET))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("to: money", "to: gold", "/spec/facts/amount"),
        ("currency: USD", "currency: usd", "/spec/facts/amount"),
        ("  key: [id]\n", "", "/spec/key"),
        ("prefix: person", "prefix: Person", "/spec/facts/claimant"),
        ("scale: 2", "scale: 9", "/spec/facts/amount"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_place(old: str, new: str, says: str) -> None:
    with pytest.raises(ContractError, match=says) as error:
        load_mapping(MAPPING.replace(old, new), "mapping.yaml")
    assert error.value.code == "MAPPING"


def test_the_shipped_mapping_reads_what_insurers_export() -> None:
    text = (DATA / "mappings" / "auto-claims.yaml").read_text(encoding="utf-8")
    spec = load_mapping(text, "auto-claims.yaml")
    header = "policy_number,total_claim_amount,incident_type,incident_date,fraud_reported"
    csv_text = f"{header}\n521585,71610,Parked Car,25-01-2015,Y\n"
    ready, fates = prepared(list(read_csv(csv_text, "x.csv", spec, SECRET)))
    assert not fates
    assert ready[0].row.facts["incident_on"] == "2015-01-25"


CLAIM: dict[str, Any] = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-9f86d081884c7d65",
    "amount": {"amount": "100.00", "currency": "USD"},
    "incident_kind": "fire",
}
NAMED = {"definition": "insurance-claim", "source": "portal", "key": "1", "facts": CLAIM}


def from_json(text: str, **defaults: str) -> tuple[list[Ready], list[Fate]]:
    return prepared(list(read_json(text, "claims.json", Defaults(**defaults))))


def test_one_object_may_name_everything_or_the_facts_alone() -> None:
    whole, _ = from_json(json.dumps(NAMED, indent=2))
    alone, _ = from_json(json.dumps(CLAIM), definition="insurance-claim", source="portal", key="1")
    assert whole[0].case_id == alone[0].case_id
    assert whole[0].draft.value == alone[0].draft.value


def test_lines_are_rows_and_a_broken_one_is_told() -> None:
    lines = [json.dumps(NAMED), "{", "", json.dumps({**NAMED, "key": "2"})]
    ready, fates = from_json("\n".join(lines))
    assert [item.row.key for item in ready] == ["1", "2"]
    assert [(fate.place, fate.code) for fate in fates] == [("line 2", "JSON_INVALID")]


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        ({"facts": {**CLAIM, "ammount": 1}}, "/ammount", "UNKNOWN_FIELD"),
        ({"definition": "insurance-clam"}, "/definition", "DEFINITION_UNKNOWN"),
        ({"key": "x" * 200}, "/key", "KEY_FORMAT"),
        ({"keyy": "1"}, "/keyy", "UNKNOWN_FIELD"),
        ({"source": None}, "/source", "FIELD_MISSING"),
        ({"facts": {**CLAIM, "amount": "12,50"}}, "/amount", "AMOUNT_FORMAT"),
        (
            {"facts": {**CLAIM, "amount": {"amount": "1.00", "currency": "EUR"}}},
            "/amount/currency",
            "CURRENCY_UNMAPPED",
        ),
        ({"facts": {**CLAIM, "incident_on": "2026-02-30"}}, "/incident_on", "TIME_INVALID"),
        ({"facts": {**CLAIM, "claimant": "Ann Smith"}}, "/claimant", "PSEUDONYM"),
    ],
)
def test_what_is_wrong_is_shown_before_anything_is_sent(
    change: dict[str, Any], where: str, code: str
) -> None:
    ready, fates = from_json(json.dumps({**NAMED, **change}))
    assert not ready
    assert (fates[0].where, fates[0].code) == (where, code)


@pytest.mark.parametrize("text", ["{", "not json", '{"a": 1,}'])
def test_what_is_not_json_at_all_is_refused_whole(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_json(text)
    assert error.value.code == "JSON_INVALID"


@pytest.mark.skipif(
    not (Path(__file__).parents[4] / "shared/data/auto_claims.csv").exists(),
    reason="the public data set lies beside the project, not in it",
)
def test_the_public_data_set_is_read_whole_but_for_its_empty_row() -> None:
    path = Path(__file__).parents[4] / "shared/data/auto_claims.csv"
    text = (DATA / "mappings" / "auto-claims.yaml").read_text(encoding="utf-8")
    found = list(read_csv(path.read_text(), path.name, load_mapping(text, "m"), SECRET))
    ready, fates = prepared(found)
    assert len(ready) == 599
    assert {fate.place for fate in fates} == {"line 11"}
