"""Settings: read once, refused with the variable's name and what to do; secrets stay in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from caseway.ops.settings import SettingError, parse_address, read_settings, settings_table

DOCS = Path(__file__).parents[3] / "docs" / "settings.md"


def refused(**environ: str) -> SettingError:
    with pytest.raises(SettingError) as error:
        read_settings({f"CASEWAY_{name}": text for name, text in environ.items()})
    return error.value


def test_defaults_are_the_embedded_ones() -> None:
    settings = read_settings({})
    assert settings.address.kind == "sqlite"
    assert settings.shards == 12
    assert settings.pool_names == ("claims", "payments")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read_settings({}).shards = 3


def test_options_win_over_the_environment() -> None:
    assert read_settings({"CASEWAY_SHARDS": "3"}, shards="5").shards == 5


def test_other_variables_are_not_ours() -> None:
    environ = {"PATH": "/bin", "_CASEWAY_COMPLETE": "x", "CASEWAY_REQUIRE_KAFKA": "1"}
    assert read_settings(environ) == read_settings({})


def test_service_links_of_kubernetes_are_passed_by() -> None:
    environ = {
        "CASEWAY_SERVICE_HOST": "10.0.0.1",
        "CASEWAY_ROUTER_SERVICE_PORT": "80",
        "CASEWAY_ROUTER_PORT": "tcp://10.0.0.1:80",
        "CASEWAY_ROUTER_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert read_settings(environ) == read_settings({})


@pytest.mark.parametrize(
    ("name", "text", "code", "says"),
    [
        ("SHARD", "3", "UNKNOWN_SETTING", "did you mean CASEWAY_SHARDS?"),
        ("NAMESPCE", "x", "UNKNOWN_SETTING", "did you mean CASEWAY_NAMESPACE?"),
        ("shards", "3", "UNKNOWN_SETTING", "did you mean CASEWAY_SHARDS?"),
        ("ZZZZZZ", "1", "UNKNOWN_SETTING", "known are CASEWAY_LOG"),
        ("POSTGRES_URL", "postgresql://ann:hunter2@db/x", "SECRET_INLINE", "POSTGRES_URL_FILE"),
        ("POSTGRES_URL", "host=db password=hunter2", "SECRET_INLINE", "POSTGRES_URL_FILE"),
        ("CHECKPOINT_KEY", "ab" * 32, "SECRET_INLINE", "CASEWAY_CHECKPOINT_KEY_FILE"),
        ("CHECKPOINT_KEY_FILE", "ab" * 32, "SECRET_INLINE", "the file's path"),
        ("CHECKPOINT_KEY_FILE", '{"seed": "ab"}', "SECRET_INLINE", "the file's path"),
        ("CHECKPOINT_KEY_FILE", "-----BEGIN PRIVATE KEY-----", "SECRET_INLINE", "path"),
        ("LOG", "redis://x", "SETTING_INVALID", "sqlite:DIRECTORY or kafka://"),
        ("LOG", "kafka://x", "SETTING_INVALID", "kafka://host:port"),
        ("LOG", "sqlite:", "SETTING_INVALID", "sqlite:DIRECTORY"),
        ("SHARDS", "0", "SETTING_INVALID", "greater than or equal to 1"),
        ("SHARDS", "twelve", "SETTING_INVALID", "integer"),
        ("HTTP_PORT", "70000", "SETTING_INVALID", "65535"),
        ("NAMESPACE", "Über uns", "SETTING_INVALID", "a-z, 0-9"),
        ("POOLS", "claims,My Pool", "SETTING_INVALID", "claims,payments"),
        ("LOG_LEVEL", "chatty", "SETTING_INVALID", "debug"),
        ("STAGE", "prod", "SETTING_INVALID", "production"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_to_do(
    name: str, text: str, code: str, says: str
) -> None:
    error = refused(**{name: text})
    assert error.code == code
    assert says in str(error)
    assert error.where.upper().startswith(f"CASEWAY_{name.upper()}")
    assert "hunter2" not in str(error)
    assert "abab" not in str(error)


def test_two_databases_are_one_too_many() -> None:
    assert refused(POSTGRES_URL="postgresql://db", POSTGRES_URL_FILE="/x").code == (
        "SETTING_CONFLICT"
    )


@pytest.mark.parametrize("text", ["sqlite:a b/c", "kafka://a:1,b:2", "kafka://[::1]:9092"])
def test_an_address_is_read_and_written_alike(text: str) -> None:
    assert str(parse_address(text)) == text


def test_the_table_of_the_documents_is_in_sync() -> None:
    assert settings_table() in DOCS.read_text(encoding="utf-8"), (
        "docs/settings.md is not what the settings are; run `python -m caseway_control.tables`"
    )
