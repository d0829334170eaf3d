"""Every setting in one frozen model, read once from `CASEWAY_*` and passed down.

A misspelt variable is refused with its nearest name, because a setting that silently keeps its
default is found out in production. A secret is never a setting but a file that a setting names:
environments are shown by process lists, crash reports and `docker inspect`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

PREFIX = "CASEWAY_"
# Read by the test suite, never by the product; a developer's shell may hold it.
_OF_TESTS = frozenset({"CASEWAY_REQUIRE_KAFKA", "CASEWAY_REQUIRE_KCAT"})
# What Kubernetes puts into every container when a Service is called `caseway…`.
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_[0-9]+_(TCP|UDP)(_.*)?)")
_SECRETS = (
    re.compile(r"://[^/@\s]*:[^/@\s]+@"),  # a URL with a password
    re.compile(r"(?i)\bpass(word|wd)?\s*="),  # a connection string with one
    re.compile(r"-----BEGIN "),  # a PEM block
    re.compile(r"^\s*\{"),  # the content of a key file
    re.compile(r"^[0-9a-fA-F]{64,}$"),  # a seed in hexadecimal
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


class SettingError(ValueError):
    """A setting that nobody may start with; `code` is stable and `where` the variable's name.

    The composition root turns it into a configuration error: this room knows no other of ours.
    """

    def __init__(self, code: str, where: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.where = where


@dataclass(frozen=True, slots=True)
class LogAddress:
    """Where the log is: a directory for the embedded one, or the brokers of a Kafka cluster."""

    kind: Literal["sqlite", "kafka"]
    target: str

    @property
    def directory(self) -> Path:
        """The embedded log's directory."""
        assert self.kind == "sqlite"
        return Path(self.target)

    def __str__(self) -> str:
        return f"kafka://{self.target}" if self.kind == "kafka" else f"sqlite:{self.target}"


def parse_address(text: str) -> LogAddress:
    """Read `sqlite:DIRECTORY` or `kafka://host:port[,host:port]`.

    Raises:
        ValueError: it is neither.

    Example:
        >>> parse_address("kafka://a:9092,b:9092").target
        'a:9092,b:9092'
    """
    if text.startswith("kafka://"):
        hosts = text.removeprefix("kafka://").rstrip("/")
        if all(_HOST.fullmatch(host) for host in hosts.split(",")):
            return LogAddress("kafka", hosts)
        raise ValueError("a Kafka address is kafka://host:port[,host:port]")
    if text.startswith("sqlite:") and text != "sqlite:":
        return LogAddress("sqlite", text.removeprefix("sqlite:"))
    raise ValueError("expected sqlite:DIRECTORY or kafka://host:port[,host:port]")


def _address(text: str) -> str:
    parse_address(text)
    return text


def _namespace(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise ValueError("a namespace has 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    return text


def _pools(text: str) -> str:
    for pool in filter(None, (part.strip() for part in text.split(","))):
        if not _NAME.fullmatch(pool):
            raise ValueError("expected names of pools, separated by commas, e.g. claims,payments")
    return text


def _in(unit: str) -> dict[str, Any]:
    return {"unit": unit}


class Settings(BaseModel):
    """What a process is told from outside; every field has a default, a unit and a help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    log: Annotated[str, AfterValidator(_address)] = Field(
        "sqlite:caseway-data",
        description="Where the log is: `sqlite:DIRECTORY` (embedded, one process) or "
        "`kafka://host:port[,host:port]`.",
        json_schema_extra=_in("address"),
    )
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        "caseway",
        description="The prefix of every topic, one per tenant or stage. An embedded directory "
        "knows its own and passes this by.",
        json_schema_extra=_in("name"),
    )
    shards: Annotated[int, Field(ge=1, le=1024)] = Field(
        12,
        description="Partitions of every sharded topic; fixed for the life of a namespace. An "
        "embedded directory knows its own (4) and passes this by.",
        json_schema_extra=_in("partitions"),
    )
    replication: Annotated[int, Field(ge=1, le=9)] = Field(
        1,
        description="Replicas of every topic that `caseway topics create` makes on Kafka; 3 in "
        "production.",
        json_schema_extra=_in("replicas"),
    )
    quota_bytes: Annotated[int, Field(ge=0, le=1 << 40)] = Field(
        0,
        description="What a producer that is none of our services may write a second to one "
        "broker: `caseway topics create` makes it the default quota of the whole Kafka cluster, "
        "by client id. 0: quotas are left as they are.",
        json_schema_extra=_in("bytes a second"),
    )
    stage: Literal["dev", "production"] = Field(
        "dev",
        description="What the doctor judges by: a single replica is an error in `production`, "
        "and no quota worth a warning.",
        json_schema_extra=_in("name"),
    )
    pools: Annotated[str, AfterValidator(_pools)] = Field(
        "claims,payments",
        description="The pools of agents whose offers topics exist.",
        json_schema_extra=_in("names, comma-separated"),
    )
    member: Annotated[str, AfterValidator(_namespace)] = Field(
        "",
        description="The static name of this process among those of its service; empty: the "
        "host's name. Two processes of one service never share it. To the broker's quotas it is "
        "whoever submits, reports or decides from here.",
        json_schema_extra=_in("name"),
    )
    checkpoint_key_file: str = Field(
        "",
        description="The key that signs audit checkpoints; empty: `keys/checkpoint.json` of an "
        "embedded directory, else nothing is sealed.",
        json_schema_extra=_in("path"),
    )
    postgres_url: str = Field(
        "",
        description="The database of the audit projector, without a password; empty: nothing is "
        "projected.",
        json_schema_extra=_in("URL"),
    )
    postgres_url_file: str = Field(
        "",
        description="A file that holds the database's URL with its password; instead of "
        "`CASEWAY_POSTGRES_URL`.",
        json_schema_extra=_in("path"),
    )
    http_host: str = Field(
        "127.0.0.1",
        description="Where `/metrics`, `/livez` and `/readyz` listen; 0.0.0.0 in a container.",
        json_schema_extra=_in("address"),
    )
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080,
        description="The port of `/metrics`, `/livez` and `/readyz`; 0: any free one.",
        json_schema_extra=_in("port"),
    )
    stall_s: Annotated[int, Field(ge=2, le=3600)] = Field(
        10,
        description="Not ready: a shard that has not looked around, or a log silent, for so long.",
        json_schema_extra=_in("seconds"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="The least severe message that is written to standard error.",
        json_schema_extra=_in("level"),
    )

    @property
    def address(self) -> LogAddress:
        """Where the log is."""
        return parse_address(self.log)

    @property
    def pool_names(self) -> tuple[str, ...]:
        """The pools, sorted, each once."""
        return tuple(sorted({part.strip() for part in self.pools.split(",") if part.strip()}))


def read_settings(environ: Mapping[str, str], **overrides: str) -> Settings:
    """The settings of this process; `overrides` (command-line options) win over the environment.

    Raises:
        SettingError: UNKNOWN_SETTING, SECRET_INLINE, SETTING_INVALID or SETTING_CONFLICT.

    Example:
        >>> read_settings({"CASEWAY_SHARDS": "3"}).shards
        3
    """
    values: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in _OF_TESTS:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Settings.model_fields or variable != variable.upper():
            if _is_service_link(variable, text):
                continue
            raise _unknown(variable)
        values[name] = text
    values.update(overrides)
    for name, text in values.items():
        if any(pattern.search(text) for pattern in _SECRETS):
            raise _inline(name)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _invalid(error) from None
    if settings.postgres_url and settings.postgres_url_file:
        raise SettingError(
            "SETTING_CONFLICT",
            "CASEWAY_POSTGRES_URL_FILE",
            "CASEWAY_POSTGRES_URL and CASEWAY_POSTGRES_URL_FILE are both set; keep one of them",
        )
    return settings


def settings_table() -> str:
    """The table of docs/settings.md: every variable with default, unit and help."""
    lines = ["| variable | default | unit | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        unit = extra["unit"] if isinstance(extra, dict) else ""
        default = f"`{field.default}`" if field.default != "" else "(empty)"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {unit} | {field.description} |")
    return "\n".join(lines) + "\n"


def _is_service_link(variable: str, text: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(variable)) or text.startswith(("tcp://", "udp://"))


def _unknown(variable: str) -> SettingError:
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    if f"{variable.upper()}_FILE" in known:
        return _inline(f"{variable.removeprefix(PREFIX).lower()}_file")
    # Compared without the prefix, which would make every name near to every other.
    near = get_close_matches(variable.removeprefix(PREFIX).lower(), Settings.model_fields, 1)
    hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else f"known are {', '.join(known)}"
    return SettingError("UNKNOWN_SETTING", variable, f"{variable} is not a setting; {hint}")


def _inline(name: str) -> SettingError:
    variable = f"{PREFIX}{name.upper()}"
    file = variable if name.endswith("_file") else f"{variable}_FILE"
    known = file.removeprefix(PREFIX).lower() in Settings.model_fields
    advice = f"write it to a file of mode 600 and set {file} to the file's path"
    return SettingError(
        "SECRET_INLINE",
        variable,
        f"{variable} holds a secret, and an environment is no place for one; "
        + (advice if known else "keep it out of the settings"),
    )


def _invalid(error: ValidationError) -> SettingError:
    first = error.errors(include_url=False, include_input=False)[0]
    variable = f"{PREFIX}{str(first['loc'][0]).upper()}"
    text = first["msg"].removeprefix("Value error, ")
    return SettingError(
        "SETTING_INVALID",
        variable,
        f"{variable}: {text[:1].lower()}{text[1:]}; see docs/settings.md",
    )
