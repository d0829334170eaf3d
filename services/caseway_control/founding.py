"""Make a namespace: topics, keys and genesis; on an embedded directory also demo documents.

Every step may be done again: what is there is kept, and what a crash left out is made.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from caseway.contracts.control import PersonCard
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.topics import all_topics
from caseway.ops.settings import Settings
from caseway_control.bootstrap import shipped_folder
from caseway_control.cards import card_yaml
from caseway_control.demo_agents import DEMO_AGENTS, demo_cards
from caseway_control.genesis import LOGS, found, read_genesis
from caseway_control.keys import (
    CHECKPOINT,
    DEMO_PERSONS,
    PSEUDONYM,
    ROOTS,
    key_path,
    load_secret,
    make_keys,
)
from caseway_control.spaces import EMBEDDED_SHARDS, Home, home_of, open_embedded, open_kafka

DEMO_OWNER = "olga"
DEMO_NOTE = "DEMO: made by caseway init; its key lies in this very directory."


@dataclass(frozen=True, slots=True)
class Founded:
    """What `init` made or found."""

    namespace: str
    generation: str
    shards: int
    where: str
    keys: Path
    documents: Path | None
    topics_created: int
    genesis_written: int


async def found_namespace(settings: Settings, keys: Path, *, is_demo: bool = True) -> Founded:
    """Found the namespace that the settings name; `keys` is where key files lie or are made.

    Raises:
        ConfigError: GENESIS_MISMATCH, another namespace lives there; or a key file is unfit.
        Unavailable: ENGINE_RUNNING, or the broker does not answer.
    """
    home = home_of(settings)
    is_new = home is None or not home.genesis_file.exists()
    shards = EMBEDDED_SHARDS if home is not None else settings.shards
    if home is not None and not is_new:
        shards = home.genesis().shards
    make_keys(keys, (*ROOTS, CHECKPOINT, PSEUDONYM), is_demo=home is not None and is_demo)
    log = open_embedded(home, shards) if home is not None else open_kafka(settings)
    try:
        created = await log.create_topics(all_topics(settings.pool_names))
        genesis = home.genesis() if home is not None and not is_new else None
        if genesis is None:
            genesis = await read_genesis(log, (LOGS[0][1].name, 0))
        if genesis is None:
            genesis = _genesis(settings.namespace, shards, keys)
        written = await found(log, genesis)
    finally:
        await log.close()
    if home is not None:
        home.write_genesis(genesis)
    documents = write_demo(home, keys) if home is not None and is_demo else None
    return Founded(
        namespace=genesis.namespace,
        generation=genesis.generation,
        shards=genesis.shards,
        where=str(settings.address),
        keys=keys,
        documents=documents,
        topics_created=len(created),
        genesis_written=written,
    )


def write_demo(home: Home, keys: Path) -> Path:
    """The shipped insurance documents with persons and agents of demo keys; returns the folder."""
    folder = home.directory / "insurance"
    folder.mkdir(exist_ok=True)
    for file in sorted(shipped_folder("insurance").glob("*.yaml")):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    persons = [f"person:{name}" for name in DEMO_PERSONS]
    make_keys(keys, [*persons, *(f"agent:{name}" for name in DEMO_AGENTS)], is_demo=True)
    for name, roles in DEMO_PERSONS.items():
        public = _public(keys, f"person:{name}")
        card = PersonCard(person_id=name, roles=roles, public_key=public)
        (folder / f"person-{name}.yaml").write_text(card_yaml(card, DEMO_NOTE), encoding="utf-8")
    publics = {name: _public(keys, f"agent:{name}") for name in DEMO_AGENTS}
    for agent in demo_cards(DEMO_OWNER, publics):
        file = folder / f"agent-{agent.agent_id}.yaml"
        file.write_text(card_yaml(agent, DEMO_NOTE), encoding="utf-8")
    return folder


def _genesis(namespace: str, shards: int, keys: Path) -> ShardGenesis:
    return ShardGenesis(
        namespace=namespace,
        generation=f"g-{uuid.uuid4().hex[:12]}",
        shards=shards,
        root_keys=tuple(_public(keys, key_id) for key_id in ROOTS),
        checkpoint_key=_public(keys, CHECKPOINT),
    )


def _public(keys: Path, key_id: str) -> str:
    return load_secret(key_path(keys, key_id)).signing_key().public_text
