"""Guards: what compiles is true or false for every case, and nothing else compiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.errors import ContractError
from caseway.kernel.guards import Comparison, Guards, GuardType

TYPES: dict[str, GuardType] = {
    "ready": "boolean",
    "count": "integer",
    "limit": "integer",
    "severity": "text",
    "size": "text",
}
FACTS = {"ready": True, "count": 3, "limit": -5, "severity": "major", "size": "large"}


def refusal(text: str) -> ContractError:
    with pytest.raises(ContractError) as refused:
        Guards(TYPES).compile(text, "/when")
    assert refused.value.where == "/when"
    return refused.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ready", True),
        ("!ready", False),
        ("ready && count > 2", True),
        ("ready && count > 3", False),
        ("count >= 3 && count <= 3 || false", True),
        ("limit == -5", True),
        ("limit < -5", False),
        ("count > limit", True),
        ("severity == 'major'", True),
        ('severity != "major"', False),
        ("severity in ['minor', 'major']", True),
        ("count in [-1, 4]", False),
        ("severity.startsWith('maj') && severity.endsWith('or')", True),
        ("severity.contains('x')", False),
        ("!(ready && (count < 2))", True),
        ("size == 'large'", True),
        ("true != ready", False),
        ("ready\n  && count == 3", True),
    ],
)
def test_a_guard_is_true_or_false_of_the_facts(text: str, expected: bool) -> None:
    assert Guards(TYPES).compile(text, "/when").holds(FACTS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ready &&",
        "ready ready",
        "count + 1 > 2",
        "count - 1 > 2",
        "count -1 > 2",
        "10 / count == 1",
        "count % 2 == 0",
        "count * 2 > 4",
        "-count > 2",
        "count > 1.5",
        "[true][0]",
        "['a', 'b'][count] == 'a'",
        "{'a': true}.a",
        "{'a': 1}['b'] == 1",
        "size(severity) > 2",
        "timestamp(severity) > timestamp(size)",
        "severity.matches('(a+)+$')",
        "[1, 2].exists(x, x == count)",
        "has(ready)",
        "ready ? true : false",
        "severity == 'maj\\'or'",
        "ready // why not",
        "dyn(count) == 'x'",
        "severity.size() > 2",
        "ready = true",
        "count in (1)",
        "(" * 60 + "ready" + ")" * 60,
    ],
)
def test_what_could_fail_at_run_time_is_no_guard(text: str) -> None:
    assert refusal(text).code == "MACHINE_GUARD_SYNTAX"


@pytest.mark.parametrize(
    "text",
    [
        "count == 'three'",
        "severity == 3",
        "ready > count",
        "severity && ready",
        "severity",
        "count",
        "count in ['a']",
        "count > 9223372036854775808",
        "ready.contains('a')",
    ],
)
def test_a_guard_that_mixes_types_is_refused_when_compiled(text: str) -> None:
    assert refusal(text).code == "MACHINE_GUARD_TYPE"


def test_an_unknown_name_is_refused_with_the_nearest_fact() -> None:
    error = refusal("ready && severty == 'major'")
    assert error.code == "MACHINE_GUARD_UNKNOWN"
    assert "'severty'" in str(error)
    assert "did you mean 'severity'?" in str(error)


@pytest.mark.parametrize("text", ["null == null", "now > 3", "1u == 1u", "b'a' == b'a'", "type"])
def test_a_word_of_cel_that_is_no_fact_is_an_unknown_name(text: str) -> None:
    assert refusal(text).code == "MACHINE_GUARD_UNKNOWN"


def test_a_refusal_never_repeats_the_text_of_a_literal() -> None:
    for text in ("count == 'hidden'", "ready 'hidden'", "severity == 'hidden' +", "'hidden'"):
        assert "hidden" not in str(refusal(text))


def test_a_guard_tells_the_facts_it_reads_and_not_the_words_it_compares_with() -> None:
    guard = Guards(TYPES).compile("severity == 'ready' && (count in [1] || !(limit < 0))", "/when")
    assert guard.names == {"severity", "count", "limit"}


def test_a_guard_tells_every_word_a_fact_is_compared_with() -> None:
    guard = Guards(TYPES).compile(
        "severity == 'a' || 'b' != severity || size in ['c', \"d\"] || severity.contains('e')", "/"
    )
    assert guard.comparisons == (
        Comparison("severity", "a"),
        Comparison("severity", "b"),
        Comparison("size", "c"),
        Comparison("size", "d"),
    )


def test_facts_compared_with_facts_are_compared_with_no_word() -> None:
    guard = Guards(TYPES).compile("severity == size && count == limit && count in [1]", "/")
    assert guard.comparisons == ()


@pytest.mark.parametrize("facts", [{}, {"ready": True}, {"ready": True, "count": None}])
def test_an_absent_fact_is_an_error_and_never_false(facts: dict[str, object]) -> None:
    guard = Guards(TYPES).compile("ready || count > 2", "/when")
    with pytest.raises(ContractError) as refused:
        guard.holds(facts)
    assert refused.value.code == "MACHINE_FACT_ABSENT"


def test_a_fact_of_another_type_is_an_error_and_never_false() -> None:
    guard = Guards(TYPES).compile("count > 2", "/when")
    for value in ("3", 3.5, 2**70, [3]):
        with pytest.raises(ContractError) as refused:
            guard.holds({"count": value})
        assert refused.value.code == "MACHINE_GUARD_FAILED"
    with pytest.raises(ContractError) as refused:
        Guards(TYPES).compile("severity == 'a'", "/when").holds({"severity": "\ud800"})
    assert refused.value.code == "MACHINE_GUARD_FAILED"


_ATOMS = st.sampled_from(
    [
        *("ready", "true", "count > 2", "limit <= -9007199254740991", "severity == 'a'"),
        *(
            "count in [1, -2]",
            "severity in []",
            "size.contains('')",
            "severity < size",
            "count in []",
        ),
    ]
)
_GUARDS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda a: f"!({a})"),
        st.tuples(inner, st.sampled_from(["&&", "||", "==", "!="]), inner).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        ),
    ),
    max_leaves=8,
)


@given(
    _GUARDS,
    st.fixed_dictionaries(
        {
            "ready": st.booleans(),
            "count": st.integers(-(2**53), 2**53),
            "limit": st.integers(-(2**53), 2**53),
            "severity": st.text(st.characters(exclude_categories=["Cs"])),
            "size": st.text(st.characters(exclude_categories=["Cs"])),
        }
    ),
)
def test_whatever_compiles_gives_true_or_false_for_every_case(
    text: str, facts: dict[str, object]
) -> None:
    assert Guards(TYPES).compile(text, "/when").holds(facts) in {True, False}


def test_a_long_row_of_nots_does_not_exhaust_the_stack() -> None:
    assert Guards(TYPES).compile("!" * 495 + "true", "/").holds({}) is False
