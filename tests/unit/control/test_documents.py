"""Documents: what a person wrote is read exactly, or answered with line, reason and remedy."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseway.contracts.calendar import Calendar
from caseway.contracts.fields import Contract, Identifier
from caseway.contracts.matrix import AuthorityMatrix
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of
from caseway_control.documents import KINDS, fields_at, load_document
from caseway_control.yaml_text import NODES_MAX, SIZE_MAX_BYTES

DATA = files("caseway_control") / "data/insurance"
MATRIX = (DATA / "matrix.yaml").read_text(encoding="utf-8")
CALENDAR = (DATA / "calendar.yaml").read_text(encoding="utf-8")
SHIPPED = [("matrix.yaml", MATRIX), ("calendar.yaml", CALENDAR)]


def refused(text: str | bytes) -> ContractError:
    with pytest.raises(ContractError) as error:
        load_document(text, "claims.yaml")
    return error.value


def edited(old: str, new: str, text: str = MATRIX) -> str:
    assert text.count(old) == 1, f"{old!r} has to name one place of the document"
    return text.replace(old, new)


def test_a_document_is_dispatched_on_its_kind() -> None:
    assert isinstance(load_document(MATRIX, "matrix.yaml"), AuthorityMatrix)
    assert isinstance(load_document(CALENDAR, "calendar.yaml"), Calendar)


@pytest.mark.parametrize(("name", "text"), SHIPPED)
def test_a_document_travels_as_json_and_comes_back_equal(name: str, text: str) -> None:
    document = load_document(text, name)
    travelled = json.dumps(document.model_dump(mode="json"))
    again = type(document).model_validate(json.loads(travelled))
    assert again == document
    assert digest_of(again) == digest_of(document) == digest_of(json.loads(travelled))
    assert "null" not in travelled


@pytest.mark.parametrize(("name", "text"), SHIPPED)
@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_text_is_read_like_yaml(name: str, text: str, indent: int | str | None) -> None:
    document = load_document(text, name)
    as_json = json.dumps(document.model_dump(mode="json"), indent=indent)
    assert load_document(as_json, name) == document
    assert load_document(as_json.replace(": ", ":").encode(), name) == document


def test_json_escapes_are_joined_into_characters() -> None:
    title = '"Settlement \\ud83d\\ude00 \\/ \\u00e4"'
    document = load_document(edited('"Settlement of claims"', title), "matrix.yaml")
    assert document.metadata.title == "Settlement 😀 / ä"


def test_a_byte_order_mark_is_no_content() -> None:
    assert load_document(b"\xef\xbb\xbf" + MATRIX.encode(), "m") == load_document(MATRIX, "m")


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("", "YAML_EMPTY", "line 1 column 1"),
        ("# only a comment\n", "YAML_EMPTY", "line 2 column 1"),
        (b"kind: \xff", "YAML_ENCODING", "line 1 column 7"),
        ("a: 1\nb: é".encode("utf-16"), "YAML_ENCODING", "line 1 column 1"),
        ("a: 1\nb: \ud800", "YAML_ENCODING", "line 2 column 4"),
        ("x" * (SIZE_MAX_BYTES + 1), "YAML_TOO_LARGE", "line 1 column 1"),
        ("é" * (SIZE_MAX_BYTES // 2 + 1), "YAML_TOO_LARGE", "line 1 column 1"),
        ("[" + "1," * NODES_MAX + "1]", "YAML_TOO_LARGE", "line 1 column 20000"),
        ("a: 1\na: 2\n", "YAML_DUPLICATE_KEY", "line 2 column 1"),
        ('{"a": 1, "a": 2}', "YAML_DUPLICATE_KEY", "line 1 column 10"),
        ("spec:\n\tcurrency: USD\n", "YAML_TAB", "line 2 column 1"),
        ("a: &bomb [1]\nb: 2\n", "YAML_ALIAS", "line 1 column 4"),
        ("a: *bomb\n", "YAML_ALIAS", "line 1 column 4"),
        ("? *bomb\n: 1\n", "YAML_ALIAS", "line 1 column 3"),
        ("a: !!python/object:os.system x\n", "YAML_TAG", "line 1 column 4"),
        ("a: !!str 5\n", "YAML_TAG", "line 1 column 4"),
        ("a: 1\n---\nb: 2\n", "YAML_DOCUMENTS", "line 2 column 1"),
        ("%YAML 1.1\n---\na: no\n", "YAML_VERSION", "line 2 column 1"),
        ("a: 5000.00\n", "YAML_FLOAT", "line 1 column 4"),
        ("a: 1e3\n", "YAML_FLOAT", "line 1 column 4"),
        ("a: .inf\n", "YAML_FLOAT", "line 1 column 4"),
        ("a: -.5\n", "YAML_FLOAT", "line 1 column 4"),
        ('{"a": 1.5}', "YAML_FLOAT", "line 1 column 7"),
        ("a: 1234567890123456789\n", "YAML_NUMBER", "line 1 column 4"),
        ("a:\n  - no\n", "YAML_AMBIGUOUS", "line 2 column 5"),
        ("a: Yes\n", "YAML_AMBIGUOUS", "line 1 column 4"),
        ("a: off\n", "YAML_AMBIGUOUS", "line 1 column 4"),
        ("a: 010\n", "YAML_AMBIGUOUS", "line 1 column 4"),
        ("a: 0x1F\n", "YAML_AMBIGUOUS", "line 1 column 4"),
        ("1: a\n", "YAML_KEY", "line 1 column 1"),
        ("? [a]\n: 1\n", "YAML_KEY", "line 1 column 3"),
        ("<<: {a: 1}\n", "YAML_KEY", "line 1 column 1"),
        ("~: 1\n", "YAML_KEY", "line 1 column 1"),
        ("a: [0..5000)\nb: 1\n", "YAML_SYNTAX", "line 2 column 2"),
        ("a: 'open\n", "YAML_SYNTAX", "line 2 column 1"),
        ('a: "\\Uffffffff"\n', "YAML_SYNTAX", "line 1 column 1"),
        ("a: b\x07\n", "YAML_CHARS", "line 1 column 5"),
        ('a: "\\ud83d"\n', "YAML_CHARS", "line 1 column 4"),
        ("[" * 5_000, "YAML_DEPTH", "line 1 column 34"),
        ("- " * 100 + "1", "YAML_DEPTH", "line 1 column 67"),
        ("- 1\n", "FIELD_TYPE", "line 1 column 1"),
        ("kind: Calendar\n", "FIELD_MISSING", "line 1 column 1"),
        ("apiVersion: caseway.dev/v1\n", "FIELD_MISSING", "line 1 column 1"),
    ],
)
def test_a_text_that_is_no_plain_document_is_refused_in_its_line(
    text: str | bytes, code: str, where: str
) -> None:
    error = refused(text)
    assert (error.code, error.where) == (code, where)
    assert str(error).startswith(f"claims.yaml: {where}: ")


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "words"),
    [
        ('"[25000..100000)"', '"[25000..90000)"', "POLICY_BANDS", 28, "[90000..100000), e.g. 9"),
        ('"[25000..100000)"', '"[25000..200000)"', "POLICY_BANDS", 28, "covered twice"),
        ('"[25000..100000)"', '"[100000..25000)"', "POLICY_BANDS", 24, "holds no amount"),
        ('"(500000..)"', '"(500000..9000000]"', "POLICY_BANDS", 33, "(9000000..), e.g."),
        ("approver: senior-adjuster", 'approver: ""', "ROLE_EMPTY", 20, "name the role"),
        ("approver: senior-adjuster", "approver:", "ROLE_EMPTY", 20, "name the role"),
        ("[[vp-claims]]", "[[vp-claims], []]", "ROLE_EMPTY", 26, "without roles"),
        ("[[vp-claims]]", "[[vp-claims], [vp-claims]]", "ESCALATION_CYCLE", 26, "claims-manager →"),
        ("sla: 48h", "sla: 2 bananas", "DURATION", 27, "5 business days"),
        ("sla: 48h", "sla: 0", "DURATION", 27, "24h"),
        ("sla: 48h", "sla: -48h", "DURATION", 27, "zero or negative"),
        ("  calendar: us-business\n", "", "CALENDAR_MISSING", 36, "name a calendar"),
        ("sla: 5 business days", "sla: 120h", "CALENDAR_UNUSED", 7, "drop it"),
        ("flag: fraud", "flag: no", "YAML_AMBIGUOUS", 10, "quote it"),
        ("version: 1,", "version: 1.0,", "YAML_FLOAT", 4, "quote it"),
        ("version: 1,", 'version: "1",', "FIELD_TYPE", 4, "valid integer"),
        ("name: large", "name: 12", "FIELD_TYPE", 23, "put it in quotes"),
        ("[[vp-claims]]", "vp-claims", "FIELD_TYPE", 26, "not a list"),
        ("spec:\n", "spec: 7\nother:\n", "UNKNOWN_FIELD", 6, "did you mean|expected"),
        ("  - name: large\n", "  -\n", "FIELD_MISSING", 24, "field name is missing"),
        ("currency: USD", "currency: XAU", "CURRENCY", 6, "USD"),
        ("kind: AuthorityMatrix", "kind: Matrix", "KIND_UNKNOWN", 3, "AuthorityMatrix"),
        ("caseway.dev/v1", "caseway.dev/v9", "API_VERSION", 2, "caseway.dev/v1"),
    ],
)
def test_a_bad_matrix_is_answered_with_code_line_and_remedy(
    old: str, new: str, code: str, line: int, words: str
) -> None:
    error = refused(edited(old, new))
    assert (error.code, error.where.partition(" column")[0]) == (code, f"line {line}")
    assert any(word in str(error) for word in words.split("|"))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("zone: America/New_York", "zone: America/Gotham", "CALENDAR_ZONE"),
        ("[mon, tue, wed, thu, fri]", "[]", "CALENDAR_WORKDAYS"),
        ("valid_to: 2032-12-31", "valid_to: 2032-12-01", "CALENDAR_HOLIDAYS"),
        ("valid_to: 2032-12-31", "valid_to: 2023-12-01", "CALENDAR_RANGE"),
        ("valid_to: 2032-12-31", "valid_to: 2032-02-30", "FIELD_TYPE"),
        ("[mon, tue, wed, thu, fri]", "[mon, tues]", "FIELD_INVALID"),
        ("valid_to: 2032-12-31", "valid_to: 1767225600", "DATE"),
    ],
)
def test_a_bad_calendar_is_answered_with_its_code(old: str, new: str, code: str) -> None:
    assert refused(edited(old, new, CALENDAR)).code == code


@pytest.mark.parametrize(
    ("old", "new", "column", "words"),
    [
        ("approver: senior-adjuster", "aprover: senior-adjuster", 7, "did you mean 'approver'"),
        ("title: ", "titel: ", 48, "did you mean 'title'"),
        ("currency: USD", "curency: USD", 3, "did you mean 'currency'"),
        ("metadata: ", "meta-data: ", 1, "did you mean 'metadata'"),
        ("currency: USD", "currency: USD\n  quorum: 2", 3, "expected calendar, currency, rows"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_nearest_known_one(
    old: str, new: str, column: int, words: str
) -> None:
    error = refused(edited(old, new))
    assert error.code == "UNKNOWN_FIELD"
    assert error.where.endswith(f"column {column}")
    assert words in str(error)


def test_the_keys_below_named_entries_and_branches_are_known_too() -> None:
    class Part(Contract):
        skill: str = ""

    class Whole(Contract):
        parts: dict[Identifier, Part | None]
        others: dict[str, list[Part]]

    for path in (("parts", "one"), ("others", "one", 0)):
        assert fields_at(Whole, path) == {"skill"}


@pytest.mark.parametrize("text", [
    edited("sla: 48h", "sla: Jane Roe 4111"),
    edited("name: large", "name: Jane Roe 4111"),
    edited("version: 1,", "version: Jane Roe 4111,"),
    edited("kind: AuthorityMatrix", "kind: Jane Roe 4111"),
    edited("currency: USD", "Jane Roe 4111: USD"),
    edited("currency: USD", "currency: USD\n  Jane Roe 4111: 1\n  Jane Roe 4111: 2"),
    edited("currency: USD", "currency: Jane Roe 4111"),
    edited("zone: America/New_York", "zone: Jane Roe 4111", CALENDAR),
    edited("valid_to: 2032-12-31", "valid_to: Jane Roe 4111", CALENDAR),
    edited("[mon, tue, wed, thu, fri]", "[Jane Roe 4111]", CALENDAR),
    edited("currency: USD", "currency: *Jane_Roe_4111"),
    edited("currency: USD", "currency: !Jane_Roe_4111 USD"),
])  # fmt: skip
def test_no_refusal_quotes_what_was_written(text: str) -> None:
    error = refused(text)
    for word in ("Jane", "Roe", "4111"):
        assert word not in str(error)


def test_words_and_dates_without_quotes_stay_text() -> None:
    document = load_document(edited('"Settlement of claims"', "2026-01-01"), "m")
    assert document.metadata.title == "2026-01-01"
    assert load_document(edited('"Settlement of claims"', '"no"'), "m").metadata.title == "no"


def test_keys_that_read_like_booleans_are_names() -> None:
    assert refused(edited("currency: USD", "currency: USD\n  on: 1")).code == "UNKNOWN_FIELD"


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_ends_in_a_refusal_of_ours(text: str | bytes) -> None:
    assert refused(text).code.isupper()


SNIPPETS = st.sampled_from(
    ["a", ": ", "\n", "  ", "- ", "{", "}", "[", "]", ",", '"', "'", "\\", "u12", "x", "&b", "*b",
     "!t", "|\n", ">-\n", "? ", "#", "%YAML 1.2\n", "---\n", "...\n", "\t", "1", ".5", "~", "<<",
     "\r", "\x85", "@", "`", "kind", "apiVersion"]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(SNIPPETS, max_size=14).map("".join))
def test_any_shape_of_yaml_ends_in_a_refusal_of_ours(text: str) -> None:
    assert refused(text).code.isupper()


@settings(max_examples=50)
@given(st.integers(0, len(MATRIX) - 1), st.sampled_from(["", "\t", ":", "]", "é", '"', "9"]))
def test_one_damaged_character_is_read_or_refused_with_a_place(at: int, other: str) -> None:
    try:
        load_document(MATRIX[:at] + other + MATRIX[at + 1 :], "claims.yaml")
        where = "line of no error"
    except ContractError as error:
        where = error.where
    assert where.startswith("line ")


def test_every_kind_names_itself() -> None:
    for (api_version, kind), known in KINDS.items():
        properties = known.model.model_json_schema()["properties"]
        assert properties["apiVersion"]["const"] == api_version
        assert properties["kind"]["const"] == kind
