"""What the documents list is what there is: settings, metrics, topics, commands, error codes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from caseway import errors
from caseway.contracts import topics
from caseway.ops.settings import PREFIX, Settings, read_settings
from caseway_control.tables import TABLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOUSE = sorted(p for floor in ("shared", "services") for p in (ROOT / floor).rglob("*.py"))
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*|[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
# Read by tests alone; a process that inherits one passes it by.
OF_TESTS = {"CASEWAY_REQUIRE_KAFKA", "CASEWAY_REQUIRE_KCAT"}
POOLS = ("claims", "payments")


def errors_of_ours() -> list[type[errors.CasewayError]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.CasewayError)
    ]


def codes() -> Iterator[tuple[str, str, int]]:
    """Every code that the source writes as `code="…"` or hands to a refusal, and its place."""
    for path in HOUSE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            given = [word.value for word in node.keywords if word.arg == "code"]
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if function in {"Refused", "Refusal", "_refused", "refused"} and node.args:
                given.append(node.args[0])
            for value in given:
                if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                    continue
                # A refusal that has but one code takes its sentence first.
                if " " not in value.value:
                    yield value.value, path.name, node.lineno


@pytest.mark.parametrize("name", TABLES)
def test_a_generated_document_is_what_its_models_say(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == TABLES[name](), (
        f"docs/{name} is out of date; run `make schemas`"
    )


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_unit_a_help_text_and_a_row(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, "a help text"
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["unit"], "a unit"
    assert not field.is_required(), "a default"
    assert f"| `{PREFIX}{name.upper()}` |" in (DOCS / "settings.md").read_text(encoding="utf-8")


def test_a_process_passes_by_what_the_tests_are_told() -> None:
    assert read_settings(dict.fromkeys(OF_TESTS, "1")) == read_settings({})
    used = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r'environ\.get\("(CASEWAY_[A-Z_]+)"', path.read_text("utf-8"))
    }
    assert used <= OF_TESTS


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= OF_TESTS
    for path in [*DOCS.glob("*.md"), ROOT / "README.md", *ROOT.glob("docker-compose.y*ml")]:
        named = set(re.findall(r"\bCASEWAY_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named <= known, path.name


@pytest.mark.parametrize("topic", topics.all_topics(POOLS), ids=lambda topic: topic.name)
def test_every_topic_is_in_a_document_and_in_asyncapi(topic: topics.Topic) -> None:
    plain = topic.name.partition(".")[0]
    documents = "\n".join(p.read_text(encoding="utf-8") for p in sorted(DOCS.glob("*.md")))
    assert re.search(rf"(?<![\w-]){re.escape(plain)}(?![\w-])", documents), "no document names it"
    assert plain in (ROOT / "schemas/asyncapi.json").read_text(encoding="utf-8")


def test_every_error_says_what_an_operator_does() -> None:
    for kind in errors_of_ours():
        assert kind.__doc__
        assert CODE.fullmatch(kind.code), kind.code
        if kind is not errors.CasewayError:
            # From Python 3.13 on the compiler takes the indentation away.
            assert "\nOperator action: " in inspect.cleandoc(kind.__doc__), kind.__name__
            branch = kind.__mro__[-4] if len(kind.__mro__) > 4 else kind
            assert issubclass(branch, errors.CasewayError)
    own = [kind.code for kind in errors_of_ours()]
    assert len(own) == len(set(own)), "a code belongs to one error"


def test_every_branch_of_the_tree_is_drawn_in_its_caption() -> None:
    caption = errors.__doc__ or ""
    for kind in errors.CasewayError.__subclasses__():
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in caption, f"{kind.__name__} is missing in the tree"


def test_codes_are_words_that_programs_can_rely_on() -> None:
    found = list(codes())
    assert len({code for code, _, _ in found}) > 80
    assert [place for place in found if not CODE.fullmatch(place[0])] == []


def test_the_pinned_versions_are_those_that_are_documented() -> None:
    decisions = (DOCS / "decisions.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, said in re.findall(r"\| ([a-z][a-z0-9.-]+) ([0-9]+(?:\.[0-9]+)*)[,\s|]", decisions):
        pinned = re.search(rf'"{re.escape(name)}(?:\[[a-z0-9,]*\])?==([0-9.]+)"', project)
        if pinned is not None:
            assert f"{pinned[1]}.".startswith(f"{said}."), f"{name} {said} is {pinned[1]} by now"
