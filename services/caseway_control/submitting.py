"""Submits many cases: checks them here, sends them in batches, says what became of each.

The same file again changes nothing: the case id follows from source and key, and intake knows
content it has admitted. So an interrupted run is simply run again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.record import Draft
from caseway.contracts.shard import CaseFaulted, InputParked
from caseway.contracts.strict_json import contract_error, parse_json
from caseway.contracts.submission import CaseAdmitted, SubmissionRefused
from caseway.errors import ConfigError, ContractError
from caseway.hosting.log import Log, Place
from caseway.kernel.facts import FactsInvalid, admit_facts
from caseway.kernel.identity import case_id_of
from caseway.kernel.registry import Registry
from caseway_control.bootstrap import dead_letters_of
from caseway_control.following import answers, ends
from caseway_control.mapping import Row

# As many as one commit of a shard takes at most, so a batch is never split by that bound.
BATCH = 200


@dataclass(frozen=True, slots=True)
class Defaults:
    """What rows of JSON may leave out."""

    definition: str = ""
    source: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row: admitted, already admitted, refused, faulted or sent."""

    place: str
    key: str
    case_id: str
    verdict: str
    code: str = ""
    where: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A row that fits its definition, as the record that submits it."""

    row: Row
    case_id: str
    draft: Draft


def read_json(text: str, source: str, defaults: Defaults) -> Iterator[Row]:
    """One JSON object, or one a line: facts alone, or definition, source, key and facts.

    Raises:
        ConfigError: JSON_INVALID, when not even the first line is JSON.
    """
    stripped = text.lstrip()
    try:
        whole = parse_json(stripped.encode("utf-8", "surrogatepass"))
    except ContractError as error:
        if "\n" not in text.strip() or not _is_json(text.strip().splitlines()[0]):
            raise ConfigError(f"{source}: {error}; send a JSON object", code=error.code) from None
        yield from _lines(text, defaults)
        return
    yield _row("object 1", whole, defaults)


def _lines(text: str, defaults: Defaults) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = parse_json(line.encode("utf-8", "surrogatepass"))
        except ContractError as error:
            wrong = ContractError(f"{place}: {error}", code=error.code, where=error.where)
            yield Row(place, "", defaults.definition, defaults.source, {}, (wrong,))
            continue
        yield _row(place, value, defaults)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _row(place: str, value: Any, defaults: Defaults) -> Row:
    if isinstance(value, dict) and isinstance(value.get("facts"), dict):
        unknown = sorted(value.keys() - {"facts", "definition", "source", "key"})
        errors = tuple(
            ContractError(
                f"/{name}: is not a field of a submission; it has definition, source, key, facts",
                code="UNKNOWN_FIELD",
                where=f"/{name}",
            )
            for name in unknown
        )
        named = {name: str(value.get(name) or getattr(defaults, name)) for name in _NAMED}
        return Row(place, facts=value["facts"], errors=errors, **named)
    return Row(place, defaults.key, defaults.definition, defaults.source, value)


_NAMED = ("key", "definition", "source")


def prepare(
    rows: Iterable[Row], registry: Registry, client: Client
) -> Iterator[Ready | list[Fate]]:
    """Check every row as intake will: a record that may be sent, or all that is wrong with it."""
    for row in rows:
        errors = list(row.errors) or [*_check_names(row), *_check_facts(row, registry)]
        case_id = case_id_of(registry.namespace, row.source, row.key) if row.key else ""
        draft: Draft | None = None
        if not errors:
            try:
                draft = client.submission(row.definition, row.source, row.key, row.facts)
            except ValidationError as error:
                found = contract_error(error)
                code = "KEY_FORMAT" if found.where == "/key" else found.code
                errors = [ContractError(str(found), code=code, where=found.where)]
        if draft is not None:
            yield Ready(row, case_id, draft)
        else:
            yield [
                Fate(row.place, row.key, case_id, "refused", e.code, e.where, _without_place(e))
                for e in errors
            ]


async def send(log: Log, ready: Sequence[Ready]) -> AsyncIterator[tuple[Ready, tuple[Place, int]]]:
    """Append the records in batches; each is durable once it is yielded with its offset."""
    for start in range(0, len(ready), BATCH):
        some = ready[start : start + BATCH]
        given = await log.append([item.draft for item in some])
        for item, (offset, _) in zip(some, given, strict=True):
            yield item, ((item.draft.topic, item.draft.partition), offset)


async def follow(
    log: Log,
    generation: str,
    sent: dict[tuple[Place, int], Ready],
    since: dict[Place, int],
    timeout_s: float,
) -> AsyncIterator[Fate]:
    """What intake made of every sent record, as it says so."""
    silent: list[tuple[Place, int]] = []
    async for answer in answers(log, generation, sent, since, timeout_s):
        at = (answer.place, answer.offset)
        fate = _fate(sent[at], [event.data for event in answer.events])
        if fate is None:
            silent.append(at)
        else:
            yield fate
    letters = await dead_letters_of(log, "intake", silent) if silent else {}
    for at in silent:
        item = sent[at]
        if at in letters:
            code, message = letters[at]
            yield _told(item, "refused", code, "", message)
        else:
            yield _told(item, "already admitted")


async def intake_ends(log: Log) -> dict[Place, int]:
    """Where the intake log ends now, on every shard."""
    return await ends(log, topics.INTAKE, range(log.shards))


def _fate(item: Ready, events: list[Any]) -> Fate | None:
    for data in events:
        if isinstance(data, CaseAdmitted):
            return _told(item, "admitted")
        if isinstance(data, SubmissionRefused):
            return _told(item, "refused", data.code, data.where, data.message)
        if isinstance(data, CaseFaulted):
            return _told(item, "faulted", data.code, "", data.detail)
        if isinstance(data, InputParked):
            return _told(item, "faulted", "PARKED", "", "it waits behind a fault of this case")
    return None


def _told(item: Ready, verdict: str, code: str = "", where: str = "", message: str = "") -> Fate:
    return Fate(item.row.place, item.row.key, item.case_id, verdict, code, where, message)


def _check_names(row: Row) -> list[ContractError]:
    missing = [name for name in ("definition", "source", "key") if not getattr(row, name)]
    return [
        ContractError(
            f"/{name}: is missing; give it in the row or as --{name}",
            code="FIELD_MISSING",
            where=f"/{name}",
        )
        for name in missing
    ]


def _check_facts(row: Row, registry: Registry) -> list[ContractError]:
    machine = registry.machines.get(row.definition)
    if machine is None:
        known = ", ".join(sorted(registry.machines)) or "none is published yet"
        text = f"/definition: is not in force; known are: {known}"
        return [ContractError(text, code="DEFINITION_UNKNOWN", where="/definition")]
    try:
        admit_facts(machine, row.facts)
    except FactsInvalid as invalid:
        return list(invalid.errors)
    except ContractError as error:
        return [error]
    return []


def _without_place(error: ContractError) -> str:
    return str(error).removeprefix(f"{error.where}: ")
