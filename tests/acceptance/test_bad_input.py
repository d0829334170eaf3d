"""Bad input: every line of the catalogue that concerns what exists is answered by its code.

The numbers are those of the catalogue of bad inputs. What does not exist yet is not asked:

- 13: a submission names a process and never a version, so none can be a retired one.
- 16 (offset, gap), 17: no fact holds a time of day; the time of a record is the log's own.
- 22-28, 51-56: an HTTP door and a console, which do not exist yet; 22 is asked as a record.
- 33, 40: no limit of claims an agent, and no store from which an artifact could be fetched.
- 49 (in a circle, past dates): a delegation has no dates, and a taker cannot hand it on.
- 50: two persons decide jointly only after a missed SLA of hours; the unit tests have it.
- 69: the broker under test is a current one; the unit tests have an older one.

Where the code says the same in other words, `SAID_AS` has both.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from caseway.client import Client, Offer
from caseway.contracts import topics
from caseway.contracts.codec import Event, decode
from caseway.contracts.control import QuarantineAgent, ReleaseAgent
from caseway.contracts.decision import Choice, DecideGate, DelegateGate, GateOpened
from caseway.contracts.fields import Contract, JsonObject
from caseway.contracts.record import Draft
from caseway.contracts.report import ClaimTask, CompleteTask, HeartbeatTask, TaskOffered
from caseway.contracts.signing import SigningKey
from caseway.hosting.log import Log
from caseway.kernel.identity import case_id_of, shard_of
from caseway_control.bootstrap import send_wishes
from caseway_control.fleet import Fleet
from caseway_control.keys import ROOTS, key_path
from caseway_control.reading import registry_of
from tests.acceptance.reading import until_closed

SAID_AS = {
    "AGENT_UNKNOWN": "SIGNATURE_UNKNOWN",  # an agent is its key: an unknown one signs nothing
    "CLAIM_TYPES": "DEFINITION_UNKNOWN",
    "ID_FORMAT": "FIELD_INVALID",
    "IDENTITY_MISMATCH": "HOLDER",  # no identity stands in a body; the signature has it
    "KEY_FORMAT": "FIELD_INVALID",
    "LEASE_RANGE": "UNKNOWN_FIELD",  # a lease's length is the definition's, not the sender's
    "PII_MISPLACED": "PSEUDONYM",  # this process has no free text; names enter as pseudonyms
    "RESULT_TOO_LARGE": "BODY_TOO_LARGE",
    "UNKNOWN_COMMAND": "USAGE",
}
CARD_NUMBER = "4111111111111111"
EXPIRY = timedelta(minutes=10)
WAIT_S = 120


@dataclass(frozen=True)
class Row:
    """One line of the catalogue as a submission: what is changed, and what must be said."""

    line: int
    code: str
    says: str = ""
    facts: JsonObject | None = None
    wish: JsonObject | None = None
    body: bytes | None = None
    header: tuple[str, bytes] | None = None


def money(amount: Any, currency: Any = "USD") -> JsonObject:
    return {"amount": {"amount": amount, "currency": currency}}


SUBMISSIONS = (
    Row(1, "BODY_EMPTY", "send a JSON object", body=b""),
    Row(2, "JSON_INVALID", "line 3 column 4", body=b'{"a":\n\n   x'),
    Row(3, "CONTENT_TYPE", "application/json", header=("content-type", b"text/xml")),
    Row(4, "BODY_TOO_LARGE", "send a reference", body=b'"' + b"x" * 900_000 + b'"'),
    Row(5, "FIELD_MISSING", "/amount", facts={"amount": None}),
    Row(6, "UNKNOWN_FIELD", "did you mean 'amount'", facts={"ammount": "1"}),
    Row(7, "AMOUNT_FORMAT", "decimal string", facts=money("12,50")),
    Row(7, "AMOUNT_FORMAT", "/amount/amount", facts=money("1e400")),
    Row(7, "AMOUNT_FORMAT", "/amount/amount", facts=money("NaN")),
    Row(7, "AMOUNT_FORMAT", "/facts/amount/amount", facts=money(float("nan"))),
    Row(7, "AMOUNT_FORMAT", "/facts/amount/amount", facts=money(float("inf"))),
    Row(8, "AMOUNT_RANGE", "0 or more", facts=money("-1")),
    Row(9, "AMOUNT_SCALE", "EUR has 2 decimals", facts=money("10.001", "EUR")),
    Row(10, "CURRENCY", "ISO 4217", facts=money("1", "euro")),
    Row(10, "FIELD_MISSING", "/amount/currency", facts=money("1", None)),
    Row(11, "CURRENCY_UNMAPPED", "USD", facts=money("1", "EUR")),
    Row(12, "CLAIM_TYPES", "insurance-claim", wish={"definition": "loan"}),
    Row(15, "FIELD_MISSING", "/key", wish={"key": None}),
    Row(15, "KEY_FORMAT", "/key", wish={"key": "k" * 129}),
    Row(15, "KEY_FORMAT", "/key", wish={"key": "a\x07b"}),
    Row(16, "TIME_INVALID", "/incident_on", facts={"incident_on": "2026-02-30"}),
    Row(18, "TEXT_CHARS", "/incident_kind", facts={"incident_kind": "fi\x00re"}),
    Row(18, "TEXT_CHARS", "/facts/incident_kind", facts={"incident_kind": "fi\ud800re"}),
    Row(18, "TEXT_CHARS", "/incident_kind", facts={"incident_kind": "fi\u202ere"}),
    Row(19, "ID_FORMAT", "/source", wish={"source": "../portal"}),
    Row(19, "ID_FORMAT", "/definition", wish={"definition": "insurance claim"}),
    Row(19, "ID_FORMAT", "/definition", wish={"definition": "i" * 300}),
    Row(20, "TOO_DEEP", "nested", body=b'{"facts":' + b"[" * 200 + b"]" * 200 + b"}"),
    Row(20, "TOO_MANY", "send fewer", facts={"evidence": [0] * 100_000}),
    Row(21, "PII_MISPLACED", "/claimant", facts={"claimant": f"claimant-{CARD_NUMBER}"}),
)


def facts() -> JsonObject:
    return {
        "claimant": "claimant-0123456789abcdef",
        "payee": "payee-0123456789abcdef",
        "incident_kind": "fire",
        **money("75000.00"),
    }


def place(draft: Draft, offset: int) -> str:
    """The end of the coordinates that every answer to this record has as its cause."""
    return f"/{draft.topic}/{draft.partition}/{offset}"


async def answers(
    log: Log, drafts: Sequence[Draft], own: topics.Topic, service: str
) -> list[tuple[str, str]]:
    """The code and the words with which a service answered each record, in order."""
    given = await log.append(drafts)
    wanted = [place(d, offset) for d, (offset, _) in zip(drafts, given, strict=True)]
    found: dict[str, tuple[str, str]] = {}
    async for event in heard(log, own, topics.dead_letters(service)):
        at = event.envelope.cause[event.envelope.cause.find("/") :]
        if at in wanted and at not in found:
            data: Any = event.data
            where = f"{getattr(data, 'where', '')} "
            words = getattr(data, "message", "") or getattr(data, "advice", "")
            code = getattr(data, "code", event.envelope.type)
            found[at] = (code, where + (words or getattr(data, "detail", "")))
        if len(found) == len(wanted):
            break
    return [found.get(at, ("", "no answer")) for at in wanted]


async def heard(log: Log, *listened: topics.Topic) -> Any:
    """Every event of these topics from their beginning, until nobody listens any more."""
    places = [(t.name, n) for t in listened for n in range(t.partitions(log.shards))]
    feed = await log.feed()
    try:
        await feed.seek(dict.fromkeys(places, 0))
        async with asyncio.timeout(WAIT_S):
            while True:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        yield decode(record)
    finally:
        await feed.close()


async def first(log: Log, topic: topics.Topic, is_it: Callable[[Event], bool]) -> Event:
    async with aclosing(heard(log, topic)) as events:
        async for event in events:
            if is_it(event):
                assert isinstance(event, Event)
                return event
    raise AssertionError("nothing was said")


def submission(fleet: Fleet, log: Log, number: int, row: Row) -> Draft:
    """The record of a row: a good one, changed in one place."""
    key = f"row-{number}"
    case_id = case_id_of(fleet.namespace, "portal", key).encode()
    wish: JsonObject = {
        "namespace": fleet.namespace,
        "definition": "insurance-claim",
        "source": "portal",
        "key": key,
        "facts": facts() | (row.facts or {}),
    }
    changed = {
        name: value for name, value in (wish | (row.wish or {})).items() if value is not None
    }
    body = row.body if row.body is not None else json.dumps(changed).encode()
    headers = {
        "content-type": b"application/json",
        "ce_id": f"id-{number}".encode(),
        "ce_source": b"/portal",
        "ce_type": b"case.submit",
    }
    headers |= dict([row.header] if row.header is not None else [])
    partition = shard_of(case_id, log.shards)
    return Draft(topics.SUBMISSIONS.name, partition, case_id, body, tuple(headers.items()))


async def check_submissions(fleet: Fleet, log: Log) -> None:
    drafts = [submission(fleet, log, number, row) for number, row in enumerate(SUBMISSIONS)]
    said = await answers(log, drafts, topics.INTAKE, "intake")
    wrong = [
        (row.line, row.code, code, words)
        for row, (code, words) in zip(SUBMISSIONS, said, strict=True)
        if code not in {row.code, SAID_AS.get(row.code)} or row.says not in words
    ]
    assert wrong == []
    assert not any(CARD_NUMBER in words for _, words in said)


async def check_repetitions(fleet: Fleet, log: Log) -> None:
    """Lines 14 and 22: the same key with other content, and somebody else's case."""
    row = Row(14, "")
    same = submission(fleet, log, 1000, row)
    other = submission(fleet, log, 1000, Row(14, "", facts=money("1.00")))
    keyless = same._replace(key=None)
    foreign = submission(fleet, log, 1000, Row(22, "", wish={"source": "elsewhere"}))
    said = await answers(log, [same, other, keyless, foreign], topics.INTAKE, "intake")
    assert [code for code, _ in said][:3] == ["case.admitted", "KEY_CONFLICT", "KEY_FORMAT"]
    assert (same.key or b"").decode() in said[1][1]
    assert said[3][0] == "ID_FORMAT"


class Work:
    """One claim, driven step by step by the test in place of agents and people."""

    def __init__(self, fleet: Fleet, log: Log) -> None:
        self.fleet = fleet
        self.log = log
        self.case_id = case_id_of(fleet.namespace, "portal", "driven")

    def by(self, key_id: str) -> Client:
        return self.fleet.client(self.log, key_id)

    async def offer(self, agent: str, after: int = 0) -> Offer:
        """What is offered to an agent with a token above this one."""
        start = {(topics.offers("claims").name, n): 0 for n in range(self.log.shards)}
        async with (
            asyncio.timeout(WAIT_S),
            aclosing(self.by(f"agent:{agent}").offers("claims", agent, start=start)) as offers,
        ):
            async for offer in offers:
                task = offer.data
                is_work = isinstance(task, TaskOffered) and offer.case_id == self.case_id
                if is_work and task.token > after and offer.agent == agent:
                    return offer
        raise AssertionError("no offer")

    def said(self, client: Client, data: Contract, topic: topics.Topic) -> Draft:
        return client.draft(topic.name, self.case_id, data)

    def expiry(self) -> datetime:
        return datetime.now(UTC) + EXPIRY

    def claim(self, task_id: str) -> ClaimTask:
        return ClaimTask(namespace=self.fleet.namespace, task_id=task_id, expires_at=self.expiry())

    def result(self, offer: Offer, output: JsonObject, **changes: Any) -> CompleteTask:
        task = offer.data
        assert isinstance(task, TaskOffered)
        given: dict[str, Any] = {
            "namespace": self.fleet.namespace,
            "task_id": task.task_id,
            "token": task.token,
            "inputs_digest": task.inputs_digest,
            "output": output,
            "confidence": "0.95",
            "expires_at": self.expiry(),
        }
        return CompleteTask(**(given | changes))

    async def expect(self, rows: Sequence[tuple[int, str, Draft]], own: topics.Topic) -> None:
        service = "router" if own is topics.CASES else "approval"
        said = await answers(self.log, [draft for _, _, draft in rows], own, service)
        wrong = [
            (line, code, found, words)
            for (line, code, _), (found, words) in zip(rows, said, strict=True)
            if found not in {code, SAID_AS.get(code)} or not words.strip()
        ]
        assert wrong == []


def edited(draft: Draft, old: bytes, new: bytes) -> Draft:
    assert old in (draft.value or b"")
    return draft._replace(value=(draft.value or b"").replace(old, new))


def unsigned(draft: Draft) -> Draft:
    kept = tuple(h for h in draft.headers if h[0] != "ce_dssematerial")
    return draft._replace(headers=kept)


async def check_agents(work: Work) -> None:
    log, reports = work.log, topics.AGENT_REPORTS
    triage, assessor = work.by("agent:triage-1"), work.by("agent:assessor-1")
    stranger = Client(
        log, work.fleet.namespace, keys=[SigningKey("agent:stranger", bytes(range(32)))]
    )
    offer = await work.offer("triage-1")
    task: Any = offer.data
    output = {"line": "home", "fraud_suspected": False}
    good = work.result(offer, output)
    signed = work.said(triage, good, reports)
    beat = HeartbeatTask(
        namespace=work.fleet.namespace,
        task_id=task.task_id,
        token=task.token,
        expires_at=work.expiry(),
    )
    forbidden = tuple(
        (name, value.replace(b"task.complete", b"task.completed"))
        for name, value in unsigned(signed).headers
        if name != "ce_dataschema"
    )
    late = work.result(offer, output, expires_at=datetime.now(UTC) - EXPIRY)
    elsewhere = work.result(offer, output, namespace="elsewhere")
    rows = [
        (29, "AGENT_UNKNOWN", work.said(stranger, work.claim(task.task_id), reports)),
        (31, "TASK_TAKEN", work.said(assessor, work.claim(task.task_id), reports)),
        (34, "LEASE_STALE", work.said(triage, work.result(offer, output, token=99), reports)),
        (35, "TASK_CANCELLED", work.said(triage, work.claim("triage-99"), reports)),
        (38, "CONFIDENCE_RANGE", edited(signed, b'"0.95"', b'"1.7"')),
        (38, "CONFIDENCE_RANGE", edited(signed, b'"0.95"', b'"high"')),
        (39, "RESULT_TOO_LARGE", edited(signed, b'"home"', b'"' + b"x" * 900_000 + b'"')),
        (41, "EVENT_FORBIDDEN", signed._replace(headers=forbidden, value=_completed(task))),
        (42, "IDENTITY_MISMATCH", work.said(assessor, good, reports)),
        (42, "IDENTITY_MISSING", unsigned(signed)),
        (42, "SIGNATURE_INVALID", edited(signed, b'"home"', b'"motor"')),
        (43, "LEASE_RANGE", edited(work.said(triage, beat, reports), b"{", b'{"lease_s":0,')),
        (43, "EXPIRED", work.said(triage, late, reports)),
        (43, "NAMESPACE_MISMATCH", work.said(triage, elsewhere, reports)),
        (37, "RESULT_SCHEMA", work.said(triage, work.result(offer, {"line": "boat"}), reports)),
    ]
    await work.expect(rows, topics.CASES)


def _completed(task: Any) -> bytes:
    """A router's own event, as an agent would have to forge it."""
    return json.dumps(
        {
            "task_id": task.task_id,
            "token": task.token,
            "holder": "agent:triage-1",
            "output": {},
            "confidence": "1",
        }
    ).encode()


async def check_quarantine(work: Work) -> None:
    """Lines 30 and 32, while nobody holds the task."""
    registry = await registry_of(work.log)
    roots = [work.fleet.key(key_id) for key_id in ROOTS]
    at = {"namespace": work.fleet.namespace, "expires_at": work.expiry()}
    stop = QuarantineAgent(agent_id="triage-1", reason="wrong lines", **at)
    go = ReleaseAgent(agent_id="triage-1", reason="mended", **at)
    held = await work.offer("triage-1", after=1)
    task_id = held.data.task_id
    (done,) = await send_wishes(
        work.log, registry, [("agent/triage-1", stop)], roots, timeout_s=WAIT_S
    )
    assert done.verdict == "accepted", done
    offers = topics.offers("claims")
    await first(
        work.log,
        offers,
        lambda event: isinstance(event.data, TaskOffered) and event.data.token == 0,
    )
    claim = work.claim(task_id)
    rows = [
        (
            30,
            "AGENT_QUARANTINED",
            work.said(work.by("agent:triage-1"), claim, topics.AGENT_REPORTS),
        ),
        (32, "SKILL_MISSING", work.said(work.by("agent:assessor-1"), claim, topics.AGENT_REPORTS)),
    ]
    await work.expect(rows, topics.CASES)
    (done,) = await send_wishes(
        work.log, registry, [("agent/triage-1", go)], roots, timeout_s=WAIT_S
    )
    assert done.verdict == "accepted", done
    offer = await work.offer("triage-1", after=held.data.token)
    result = work.result(offer, {"line": "home", "fraud_suspected": False})
    twice = work.said(work.by("agent:triage-1"), result, topics.AGENT_REPORTS)
    rows = [(36, "task.completed", twice), (36, "ALREADY_COMPLETED", twice)]
    found = await answers(work.log, [twice, twice], topics.CASES, "router")
    assert [code for code, _ in found] == [code for _, code, _ in rows], found


async def check_people(work: Work) -> None:
    for agent, output in (
        ("assessor-1", {"severity": "major", "evidence_complete": True}),
        ("settler-1", {"settlement": facts()["amount"]}),
    ):
        offer = await work.offer(agent)
        await work.by(f"agent:{agent}").complete(offer, output, "0.95")
    opened = await first(
        work.log,
        topics.APPROVALS,
        lambda event: isinstance(event.data, GateOpened) and event.key == work.case_id,
    )
    gate: Any = opened.data

    def decide(who: str, **changes: Any) -> Draft:
        given: dict[str, Any] = {
            "namespace": work.fleet.namespace,
            "gate_id": gate.gate_id,
            "revision": gate.revision,
            "digest": gate.digest,
            "choice": Choice.APPROVE,
            "reason": "The evidence supports it.",
            "expires_at": work.expiry(),
        }
        return work.said(work.by(who), DecideGate(**(given | changes)), topics.DECISIONS)

    def delegate(to: str) -> Draft:
        wish = DelegateGate(
            namespace=work.fleet.namespace,
            gate_id=gate.gate_id,
            revision=gate.revision,
            to=to,
            expires_at=work.expiry(),
        )
        return work.said(work.by("person:clara"), wish, topics.DECISIONS)

    rows = [
        (44, "SELF_APPROVAL", decide("person:olga")),
        (45, "AUTHORITY", decide("person:adam")),
        (45, "IDENTITY", decide("agent:triage-1")),
        (47, "STALE_VIEW", decide("person:clara", digest="0" * 64)),
        (47, "STALE_VIEW", decide("person:clara", revision=gate.revision + 1)),
        (48, "REASON_REQUIRED", decide("person:clara", choice=Choice.REJECT, reason=" ")),
        (49, "DELEGATION_SELF", delegate("clara")),
        (49, "DELEGATION_WIDER", delegate("adam")),
        (49, "DELEGATION_UNKNOWN", delegate("nobody")),
        (46, "gate.decided", decide("person:clara")),
        (46, "DECIDED", decide("person:clara", reason="Once more.")),
    ]
    said = await answers(work.log, [d for _, _, d in rows], topics.APPROVALS, "approval")
    assert [code for code, _ in said] == [code for _, code, _ in rows], said


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_bad_records_are_answered_by_their_codes_and_good_work_goes_on(
    fleet: Fleet, running: Any
) -> None:
    await check_submissions(fleet, running)
    await check_repetitions(fleet, running)
    portal = Client(running, fleet.namespace, source="/portal")
    work = Work(fleet, running)
    await running.append([portal.submission("insurance-claim", "portal", "driven", facts())])
    await check_agents(work)
    await check_quarantine(work)
    await check_people(work)
    await fleet.until_ready()
    assert fleet.died() == []
    await running.append([portal.submission("insurance-claim", "portal", "good", facts())])
    async with fleet.people_and_agents(running):
        # The good one, the driven one, and the one that was submitted twice.
        closed = await until_closed(running, 3, 240)
    assert set(closed.values()) == {"paid"}
    assert not any("Traceback" in fleet.output(service) for service in ("intake", "router"))


# -- the command line ---------------------------------------------------------------------------

DATA = Path(str(files("caseway_control") / "data/insurance"))


def caseway(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("CASEWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "caseway_control.cli", *arguments],
        env=plain | settings,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], code: str, says: str = "") -> None:
    """One block with the code, exit code 2, no stack trace, nothing on standard output."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert f"error {code}" in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# line, file, what is replaced, by what, the code, what must be said
DOCUMENTS = [
    (57, "matrix", '"[25000..100000)"', '"[25000..90000)"', "POLICY_BANDS", "[90000..100000)"),
    (57, "matrix", '"[25000..100000)"', '"[20000..100000)"', "POLICY_BANDS", "covered twice"),
    (57, "matrix", '"(500000..)"', '"(500000..900000]"', "POLICY_BANDS", "900000"),
    (58, "matrix", "approver: senior-adjuster", 'approver: ""', "ROLE_EMPTY", "name the role"),
    (59, "matrix", "[[vp-claims]]", "[[vp-claims], [vp-claims]]", "ESCALATION_CYCLE", "→"),
    (60, "matrix", "sla: 48h", "sla: 2 bananas", "DURATION", "5 business days"),
    (60, "matrix", "sla: 48h", "sla: 0", "DURATION", "24h"),
    (60, "matrix", "sla: 48h", "sla: -48h", "DURATION", "negative"),
    (61, "matrix", "  calendar: us-business\n", "", "CALENDAR_MISSING", "calendar"),
    (61, "calendar", "America/New_York", "America/Gotham", "CALENDAR_ZONE", "line"),
    (61, "calendar", "[mon, tue, wed, thu, fri]", "[]", "CALENDAR_WORKDAYS", "line"),
    (62, "definition", "rejected: declined", "rejected: authority", "MACHINE_", "declined"),
    (62, "definition", "{to: documents}", "{to: settlement}", "MACHINE_UNREACHABLE", "documents"),
    (62, "definition", "{to: authority}", "{to: nowhere}", "MACHINE_TARGET_UNKNOWN", "nowhere"),
    (62, "definition", "when: evidence_complete", "when: whole", "MACHINE_GUARD_UNKNOWN", "whole"),
    (63, "matrix", "  currency: USD\n", "  currency: USD\n  currency: USD\n", "YAML_", "line"),
    (63, "matrix", "  currency: USD\n", "\tcurrency: USD\n", "YAML_TAB", "line"),
    (63, "matrix", "currency: USD", "currency: no", "YAML_AMBIGUOUS", "line"),
    (63, "matrix", "currency: USD", "currency: &a [*a, *a]", "YAML_", "line"),
    (6, "matrix", "currency: USD", "curency: USD", "UNKNOWN_FIELD", "did you mean 'currency'"),
]


@pytest.mark.parametrize(("line", "name", "old", "new", "code", "says"), DOCUMENTS)
def test_a_bad_document_is_refused_before_anything_is_sent(
    line: int, name: str, old: str, new: str, code: str, says: str, tmp_path: Path
) -> None:
    text = (DATA / f"{name}.yaml").read_text(encoding="utf-8")
    assert old in text, f"line {line} changes nothing"
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    refused(caseway("publish", str(path), "--sign", "root-1.json"), code, says)


@pytest.mark.parametrize(
    ("line", "variable", "text", "code", "says"),
    [
        (65, "CASEWAY_SHRDS", "4", "UNKNOWN_SETTING", "did you mean CASEWAY_SHARDS"),
        (66, "CASEWAY_POSTGRES_URL", "postgresql://a:hunter2@db/x", "SECRET_INLINE", "_FILE"),
        (66, "CASEWAY_CHECKPOINT_KEY_FILE", "ab" * 32, "SECRET_INLINE", "path"),
    ],
)
def test_a_bad_setting_is_refused(
    line: int, variable: str, text: str, code: str, says: str
) -> None:
    done = caseway("doctor", **{variable: text})
    refused(done, code, says)
    assert text not in done.stderr or line == 65


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submitt", "x"], "submit"),
        (["control", "quarantin"], "quarantine"),
        (["submit", "x", "--mappin", "y"], "--mapping"),
    ],
)
def test_an_unknown_command_or_option_is_answered_with_the_nearest(
    arguments: list[str], says: str
) -> None:
    refused(caseway(*arguments), SAID_AS["UNKNOWN_COMMAND"], says)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A founded embedded directory in which nothing runs."""
    made = tmp_path_factory.mktemp("home") / "claims"
    assert caseway("init", str(made)).returncode == 0
    return made


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "FILE_MISSING"),
        (b"", "FILE_EMPTY"),
        (b"\xff\xfe{", "FILE_ENCODING"),
        (b'{"key": "\xc3', "FILE_TRUNCATED"),
        (b'{"key": ', "JSON_INVALID"),
    ],
)
def test_a_bad_file_is_refused_with_its_path(
    content: bytes | None, code: str, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "claim.json"
    if content is not None:
        path.write_bytes(content)
    refused(caseway("submit", str(path), "--log", f"sqlite:{home}"), code, "claim.json")


def test_a_directory_is_no_file(home: Path, tmp_path: Path) -> None:
    refused(caseway("submit", str(tmp_path), "--log", f"sqlite:{home}"), "FILE_IS_DIRECTORY")


def test_a_taken_port_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(caseway("up", str(home), CASEWAY_HTTP_PORT=port), "PORT_IN_USE", port)


def test_a_foreign_genesis_is_found(home: Path, tmp_path: Path) -> None:
    other, mixed = tmp_path / "other", tmp_path / "mixed"
    assert caseway("init", str(other)).returncode == 0
    shutil.copytree(home, mixed)
    note = json.loads((other / "genesis.json").read_text(encoding="utf-8"))
    (mixed / "genesis.json").write_text(json.dumps(note | {"namespace": "other"}))
    done = caseway("doctor", "--log", f"sqlite:{mixed}")
    assert done.returncode in (1, 2)
    assert "GENESIS_MISMATCH" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_a_broker_without_topics_and_a_policy_of_one_are_refused(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Lines 64 and 68, on a real broker."""
    settings = {k: v for k, v in fleet.environment().items() if k.startswith("CASEWAY_")}
    done = await asyncio.to_thread(lambda: caseway("doctor", **settings))
    assert done.returncode == 1, done.stderr
    assert "DOCTOR_TOPIC_MISSING" in done.stdout
    assert "caseway topics create" in done.stdout
    log = fleet.log()
    await fleet.found(log)
    fleet.start_all()
    await fleet.publish(log)
    await log.close()
    text = (DATA / "matrix.yaml").read_text(encoding="utf-8").replace("version: 1", "version: 2")
    (tmp_path / "matrix.yaml").write_text(text.replace("sla: 48h", "sla: 47h"), encoding="utf-8")
    one = key_path(fleet.keys, ROOTS[0])
    arguments = ("publish", str(tmp_path / "matrix.yaml"), "--sign", str(one))
    done = await asyncio.to_thread(lambda: caseway(*arguments, **settings))
    assert done.returncode == 1, done.stderr
    assert "POLICY_SIGNATURES" in done.stdout
    assert "Traceback" not in done.stderr
