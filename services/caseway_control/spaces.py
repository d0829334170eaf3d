"""Open a namespace by its settings: an embedded directory, or topics on a Kafka cluster."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from caseway.contracts.shard import ShardGenesis
from caseway.errors import ConfigError
from caseway.hosting.log import Log
from caseway.ops.settings import SettingError, Settings, read_settings
from caseway_control.files import read_text

# One engine on two cores: more shards would only share the same flush.
EMBEDDED_SHARDS = 4
_GENESIS, _DATABASE, _KEYS = "genesis.json", "caseway.db", "keys"


@dataclass(frozen=True, slots=True)
class Home:
    """An embedded directory: the log, its genesis and the keys that were made with it."""

    directory: Path

    @property
    def genesis_file(self) -> Path:
        """What the first record of every log says."""
        return self.directory / _GENESIS

    @property
    def database(self) -> Path:
        """The log itself."""
        return self.directory / _DATABASE

    @property
    def keys(self) -> Path:
        """Where `caseway init` put the keys."""
        return self.directory / _KEYS

    def genesis(self) -> ShardGenesis:
        """The genesis of this directory.

        Raises:
            ConfigError: NOT_INITIALISED, or GENESIS_FILE.
        """
        if not self.genesis_file.exists():
            raise ConfigError(
                f"{self.directory}: is no Caseway directory yet; run `caseway init "
                f"{self.directory}`",
                code="NOT_INITIALISED",
            )
        try:
            return ShardGenesis.model_validate_json(read_text(self.genesis_file))
        except ValidationError:
            raise ConfigError(
                f"{self.genesis_file}: is not what `caseway init` wrote; restore it from a backup",
                code="GENESIS_FILE",
            ) from None

    def write_genesis(self, genesis: ShardGenesis) -> None:
        """Note the genesis; the log gets it first, so that a crash in between is mended by init."""
        self.directory.mkdir(parents=True, exist_ok=True)
        body = json.dumps(genesis.model_dump(mode="json"), indent=2) + "\n"
        fresh = self.genesis_file.with_suffix(".new")
        fresh.write_text(body, encoding="utf-8")
        fresh.rename(self.genesis_file)


@dataclass(frozen=True, slots=True)
class Space:
    """An open namespace."""

    log: Log
    settings: Settings
    namespace: str
    home: Home | None

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.settings.address}, namespace {self.namespace!r}"


def load_settings(**overrides: str | None) -> Settings:
    """The settings of this process; options that were given win over the environment.

    Raises:
        ConfigError: UNKNOWN_SETTING, SECRET_INLINE, SETTING_INVALID or SETTING_CONFLICT.
    """
    given = {name: text for name, text in overrides.items() if text is not None}
    try:
        return read_settings(os.environ, **given)
    except SettingError as error:
        raise ConfigError(str(error), code=error.code) from None


def home_of(settings: Settings) -> Home | None:
    """The embedded directory, or None on Kafka."""
    address = settings.address
    return Home(address.directory) if address.kind == "sqlite" else None


@asynccontextmanager
async def open_space(settings: Settings) -> AsyncIterator[Space]:
    """The namespace that the settings name, closed at the end.

    Raises:
        ConfigError: NOT_INITIALISED or GENESIS_FILE.
    """
    home = home_of(settings)
    if home is None:
        log, namespace = open_kafka(settings), settings.namespace
    else:
        genesis = home.genesis()
        log, namespace = open_embedded(home, genesis.shards), genesis.namespace
    try:
        yield Space(log, settings, namespace, home)
    finally:
        await log.close()


def open_embedded(home: Home, shards: int) -> Log:
    """The log in a directory; whoever opens it closes it."""
    from caseway.hosting.sqlite_log import SqliteLog  # noqa: PLC0415 - only one of the two is paid

    return SqliteLog(home.database, shards)


def open_kafka(settings: Settings) -> Log:
    """The log on a cluster; whoever opens it closes it."""
    from caseway.hosting.kafka_log import KafkaLog  # noqa: PLC0415 - only one of the two is paid

    return KafkaLog(
        settings.address.target,
        settings.namespace,
        settings.shards,
        replication=settings.replication,
        client_id=settings.member or socket.gethostname().lower(),
        quota_bytes=settings.quota_bytes,
    )
