"""Key files: made once with mode 600, read as JSON or digits, refused without their content."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from caseway.errors import ConfigError
from caseway_control.keys import (
    DEMO_PERSONS,
    ROOTS,
    key_path,
    load_key,
    load_secret,
    make_keys,
)

SEED = "9f" * 32


def refused(path: Path, kind: str = "") -> ConfigError:
    with pytest.raises(ConfigError) as error:
        load_key(path, kind)
    return error.value


def test_keys_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    for path in make_keys(tmp_path / "keys", ROOTS, is_demo=False):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    make_keys(tmp_path, ROOTS, is_demo=False)
    first = load_key(key_path(tmp_path, "root:1")).public_text
    make_keys(tmp_path, ROOTS, is_demo=True)
    assert load_key(key_path(tmp_path, "root:1")).public_text == first


def test_a_demo_key_says_so_in_its_file(tmp_path: Path) -> None:
    (path,) = make_keys(tmp_path, ["person:clara"], is_demo=True)
    assert load_secret(path).is_demo
    assert "DEMO" in path.read_text()
    (plain,) = make_keys(tmp_path, ["person:victor"], is_demo=False)
    assert not load_secret(plain).is_demo
    assert "DEMO" not in plain.read_text()


def test_digits_alone_are_the_key_their_file_is_named_after(tmp_path: Path) -> None:
    path = tmp_path / "person-ann.key"
    path.write_text(SEED + "\n")
    assert load_key(path, "person").key_id == "person:ann"


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    (path,) = make_keys(tmp_path, ["agent:triage-1"], is_demo=False)
    error = refused(path, "person")
    assert error.code == "KEY_KIND"
    assert "agent:triage-1" in str(error)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "FILE_EMPTY"),
        (b" \n", "FILE_EMPTY"),
        (b"\xff\xfe", "FILE_ENCODING"),
        (b'{"key_id": "root:1", "seed": "\xc3', "FILE_TRUNCATED"),
        (b'{"key_id": "root:1"', "KEY_FILE"),
        (b'{"key_id": "root:1"}', "KEY_FILE"),
        (b"[]", "KEY_FILE"),
        (b"hello", "KEY_FILE"),
        (json.dumps({"key_id": "root:1", "seed": "9f9f"}).encode(), "KEY_FILE"),
        (json.dumps({"key_id": "boss", "seed": SEED}).encode(), "KEY_FILE"),
    ],
)
def test_what_is_no_key_file_is_refused_without_its_content(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == code
    assert str(path) in str(error)
    assert "9f9f" not in str(error)


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.json").code == "FILE_MISSING"
    assert refused(tmp_path).code == "FILE_IS_DIRECTORY"


def test_who_answers_for_the_demo_agents_approves_nothing() -> None:
    assert DEMO_PERSONS["olga"] == ("operator",)
    roles = [role for held in DEMO_PERSONS.values() for role in held]
    assert len(roles) == len(set(roles))
