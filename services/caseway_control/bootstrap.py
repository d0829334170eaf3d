"""Publish what operators may change: signed control records, in the order that each needs.

Persons come first, because a matrix names only roles that somebody holds; then calendars,
matrices, definitions, and last the agents, whose owners are persons. Publishing what is in force
already changes nothing, so a folder may be published again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

from caseway.client import Client
from caseway.contracts import control, topics
from caseway.contracts.calendar import Calendar
from caseway.contracts.codec import data_of
from caseway.contracts.control import AgentCard, ControlRefused, PersonCard
from caseway.contracts.fields import Contract
from caseway.contracts.matrix import AuthorityMatrix
from caseway.contracts.shard import DeadLetter
from caseway.contracts.signing import SigningKey
from caseway.errors import ConfigError
from caseway.hosting.log import Log
from caseway.hosting.registry_reader import RegistryReader
from caseway.kernel.registry import Registry
from caseway_control.cards import Published, load_published
from caseway_control.files import read_file
from caseway_control.following import answers, ends

# Long enough for people to sign one after the other, short enough that nothing lies about.
_EXPIRY = timedelta(minutes=10)
_SUFFIXES = (".yaml", ".yml", ".json")
_ORDER: tuple[type, ...] = (PersonCard, Calendar, AuthorityMatrix)
SHIPPED = ("insurance",)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one wish: `accepted`, `unchanged` or `refused`, and then why."""

    name: str
    verdict: str
    code: str = ""
    message: str = ""


def read_folder(paths: Iterable[Path]) -> list[Published]:
    """The documents of these files and folders, every one proven before anything is sent.

    Raises:
        ConfigError: FILE_*, or FOLDER_EMPTY.
        ContractError: what is wrong in a document, with line and column.
    """
    found: list[Published] = []
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
            if not files:
                text = f"{path}: holds no {', '.join(_SUFFIXES)} file; name another folder"
                raise ConfigError(text, code="FOLDER_EMPTY")
        found += [load_published(read_file(file), str(file)) for file in files]
    return found


def shipped_folder(name: str) -> Path:
    """The folder of documents that ships under this name."""
    return Path(str(resources.files("caseway_control") / "data" / name))


async def publish(
    log: Log,
    documents: Iterable[Published],
    keys: Sequence[SigningKey],
    *,
    timeout_s: float = 30.0,
) -> list[Outcome]:
    """Publish documents, wait until each is judged, and until the registry can be read with them.

    Raises:
        Unavailable: nobody judged them in time, or the namespace has no genesis.
    """
    reader = RegistryReader(log)
    await reader.reach(1)
    await reader.barrier()
    registry = reader.current
    wishes = [_wish(document, registry) for document in sorted(documents, key=_rank)]
    return await send_wishes(log, registry, wishes, keys, timeout_s=timeout_s)


async def send_wishes(
    log: Log,
    registry: Registry,
    wishes: Sequence[tuple[str, Contract]],
    keys: Sequence[SigningKey],
    *,
    timeout_s: float,
) -> list[Outcome]:
    """Send signed wishes (`kind/name`, wish) to `control` and wait for intake's judgement."""
    if not wishes:
        return []
    client = Client(log, registry.namespace, keys=keys)
    control_name = topics.CONTROL.name
    since = await ends(log, topics.INTAKE, [0])
    offsets = await log.append([client.draft(control_name, name, wish) for name, wish in wishes])
    places = [((control_name, 0), offset) for offset, _ in offsets]
    names = {offset: name for (_, offset), (name, _) in zip(places, wishes, strict=True)}
    found: dict[int, Outcome] = {}
    async for answer in answers(log, registry.generation, places, since, timeout_s):
        refusal = next((e.data for e in answer.events if isinstance(e.data, ControlRefused)), None)
        name = names[answer.offset]
        if refusal is not None:
            found[answer.offset] = Outcome(name, "refused", refusal.code, refusal.message)
        else:
            found[answer.offset] = Outcome(name, "accepted" if answer.events else "unchanged")
    return await _without_dead_letters(log, [found[offset] for (_, offset) in places], places)


async def _without_dead_letters(
    log: Log, outcomes: list[Outcome], places: Sequence[tuple[tuple[str, int], int]]
) -> list[Outcome]:
    """A wish whose signature proves nothing has no answer on the log, but a dead letter."""
    if all(outcome.verdict != "unchanged" for outcome in outcomes):
        return outcomes
    letters = await dead_letters_of(log, "intake", places)
    return [
        Outcome(outcome.name, "refused", *letters[place])
        if outcome.verdict == "unchanged" and place in letters
        else outcome
        for outcome, place in zip(outcomes, places, strict=True)
    ]


async def dead_letters_of(
    log: Log, service: str, places: Iterable[tuple[tuple[str, int], int]]
) -> dict[tuple[tuple[str, int], int], tuple[str, str]]:
    """Which of these records became dead letters of a service: code and advice by place."""
    wanted = set(places)
    found: dict[tuple[tuple[str, int], int], tuple[str, str]] = {}
    place = (topics.dead_letters(service).name, 0)
    start, is_end = (await log.bounds(place)).first, False
    while not is_end:
        chunk = await log.scan(place, start)
        for record in chunk.records:
            data = data_of(record)
            if isinstance(data, DeadLetter):
                at = ((data.topic, data.partition), data.offset)
                if at in wanted:
                    found[at] = (data.code, data.advice)
        start, is_end = chunk.next_offset, chunk.is_end
    return found


def expiry() -> datetime:
    """Until when a wish that is signed now may be judged."""
    return datetime.now(UTC) + _EXPIRY


def _rank(document: Published) -> int:
    if isinstance(document, AgentCard):
        return len(_ORDER) + 1
    kinds = [rank for rank, kind in enumerate(_ORDER) if isinstance(document, kind)]
    return kinds[0] if kinds else len(_ORDER)


def _wish(document: Published, registry: Registry) -> tuple[str, Contract]:
    namespace, expires_at = registry.namespace, expiry()
    if isinstance(document, PersonCard):
        return f"person/{document.person_id}", control.AppointPerson(
            card=document, namespace=namespace, expires_at=expires_at
        )
    if isinstance(document, AgentCard):
        return f"agent/{document.agent_id}", control.RegisterAgent(
            card=document, namespace=namespace, expires_at=expires_at
        )
    name = document.metadata.name
    if isinstance(document, Calendar):
        calendar = registry.calendars.get(name)
        replaces = calendar.pin.version if calendar else 0
        wish: Contract = control.PublishCalendar(
            replaces=replaces, document=document, namespace=namespace, expires_at=expires_at
        )
        return f"calendar/{name}", wish
    if isinstance(document, AuthorityMatrix):
        matrix = registry.matrices.get(name)
        replaces = matrix.pin.version if matrix else 0
        return f"matrix/{name}", control.PublishMatrix(
            replaces=replaces, document=document, namespace=namespace, expires_at=expires_at
        )
    machine = registry.machines.get(name)
    replaces = machine.pin.version if machine else 0
    return f"definition/{name}", control.PublishDefinition(
        replaces=replaces, document=document, namespace=namespace, expires_at=expires_at
    )
