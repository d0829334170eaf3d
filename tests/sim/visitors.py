"""Those who come from outside: submitters with claims and second thoughts, operators, vandals."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from caseway.contracts.record import Draft
from caseway.kernel.identity import case_id_of, shard_of
from tests.sim.founding import AGENTS, CURRENCY, DEFINITIONS, NAMESPACE, PEOPLE, key_of

if TYPE_CHECKING:
    from tests.sim.post import Post
    from tests.sim.reading import Line
    from tests.sim.world import World

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SOURCE = "portal"
ROOTS = ("root:1", "root:2")
# Half of all claims lie where one cent decides who decides.
_LOW = ("0.00", "4999.99", "5000.00", "24999.99", "25000.00", "75000.00")
EDGES = (*_LOW, "99999.99", "100000.00", "500000.00", "500000.01")
# News of a claim upon which whoever follows it may think again, and how often one does.
_NEWS = {"gate.opened", "gate.questioned", "gate.decided", "effect.permitted"}
_THOUGHTS_MAX = 3
_KINDS = ("collision", "theft", "fire", "water", "storm", "glass", "liability")


class Submitters:
    """One claim for each case of the plan, submitted somewhere in its days."""

    def __init__(self, world: World, post: Post) -> None:
        self.world, self.post = world, post
        self.cases: dict[str, int] = {}
        self._thoughts: Counter[str] = Counter()
        for number in world.plan.cases:
            chance = world.chance.stream(f"case/{number}")
            case = case_id_of(NAMESPACE, SOURCE, f"K-{number}")
            self.cases[case] = number
            world.at(chance.uniform(0, world.plan.days * DAY), self._submit, case, chance)

    def hear(self, line: Line) -> None:
        """Read on how the own claim fares, and think again."""
        if line.type not in _NEWS or self._thoughts[line.key] >= _THOUGHTS_MAX:
            return
        if line.key not in self.cases or not self.world.faults.strikes("second thoughts"):
            return
        self._thoughts[line.key] += 1
        chance = self.world.chance.stream(f"thoughts/{self.cases[line.key]}")
        span = chance.choice((500, 20_000, HOUR, 3 * DAY))
        kind, fields = "case.withdraw", {"reason": "settled elsewhere"}
        if chance.random() < 0.7:
            kind, fields = "case.amend", {"reason": "corrected", "changes": self._change(chance)}
        say = lambda: self._say(line.key, kind, **fields)  # noqa: E731
        self.world.at(chance.uniform(0, span), say)

    def _submit(self, case: str, chance: Random) -> None:
        world = self.world
        definition = world.chance.stream(f"definition/{self.cases[case]}").choice(DEFINITIONS)
        facts: dict[str, Any] = {
            "claimant": _person(chance),
            "payee": _person(chance),
            "amount": self._amount(chance),
            "incident_kind": chance.choice(_KINDS),
            "fraud_reported": chance.random() < 0.15,
        }
        self._say(case, "case.submit", definition=definition, facts=facts)
        if world.faults.strikes("conflict"):
            other = {**facts, "payee": _person(chance)}
            self._later(chance, case, "case.submit", definition=definition, facts=other)
        if world.faults.strikes("amend"):
            for _ in range(chance.randint(1, 3)):
                changes = self._change(chance)
                self._later(chance, case, "case.amend", changes=changes, reason="corrected")
        if world.faults.strikes("withdraw"):
            self._later(chance, case, "case.withdraw", reason="settled elsewhere")

    def _change(self, chance: Random) -> dict[str, Any]:
        changes: tuple[dict[str, Any], ...] = (
            {"payee": _person(chance)},
            {"amount": self._amount(chance)},
            {"fraud_reported": True},
            {"incident_kind": chance.choice(_KINDS)},
            {"amount": {"amount": "12,50", "currency": CURRENCY}},
        )
        return chance.choice(changes)

    def _later(self, chance: Random, case: str, kind: str, **fields: Any) -> None:
        span = chance.choice((40_000, 5 * MINUTE, 3 * HOUR, 3 * DAY))
        self.world.at(chance.uniform(0, span), lambda: self._say(case, kind, **fields))

    def _say(self, case: str, kind: str, **fields: Any) -> None:
        key = f"K-{self.cases[case]}"
        self.post.submit(case, kind, source=SOURCE, key=key, **fields)

    def _amount(self, chance: Random) -> dict[str, str]:
        amount = chance.choice(EDGES)
        if chance.random() < 0.5:
            amount = f"{10 ** chance.uniform(1, 6):.2f}"
        return {"amount": self.world.plan.amount or amount, "currency": CURRENCY}


class Operators:
    """Changes of what is in force, in mid-flight; all of it is undone when the world is healed."""

    def __init__(self, world: World, post: Post) -> None:
        self.world, self.post = world, post
        self._chance = world.chance.stream("operators")
        self._undone: list[Any] = []
        strikes = {"quarantine": 3, "halt": 2}
        self._strikes = {kind: strikes[kind] for kind in strikes if kind in world.plan.controls}
        for kind in world.plan.controls:
            for _ in range(self._chance.randint(1, 4)):
                when = self._chance.uniform(0, max(world.plan.days * DAY, HOUR))
                world.at(when, self._change, kind)

    def hear(self, line: Line) -> None:
        """Shut out an agent while it holds a task, or stop everybody."""
        if line.type != "task.granted" or not line.data["holder"].startswith("agent:"):
            return
        if self.world.is_healed:
            return
        for kind in self._strikes:
            if self._strikes[kind] > 0 and self._chance.random() < 0.2:
                self._strikes[kind] -= 1
                agent = line.data["holder"][6:]
                self.world.at(self._chance.uniform(0, 10_000), self._strike, kind, agent)

    def heal(self) -> None:
        """Undo what still stands."""
        for undo in self._undone:
            undo()

    def _change(self, kind: str) -> None:
        if self.world.is_healed:
            return
        self.world.counts[f"control: {kind}"] += 1
        chance = self._chance
        if kind in ("quarantine", "halt"):
            self._strike(kind, chance.choice(list(AGENTS)))
        elif kind == "dismiss":
            person = chance.choice([n for n, r in PEOPLE.items() if r[0] != "operator"])
            public = key_of(f"person:{person}").public_text
            card = {"person_id": person, "roles": (), "public_key": public}
            again = {"card": {**card, "roles": PEOPLE[person]}}
            key = f"person/{person}"
            self._do("person.appoint", "person.appoint", key, {"card": card}, again, 10 * DAY)
        else:
            fields = {"agent_id": chance.choice(list(AGENTS)), "reason": "because I can"}
            key = f"agent/{fields['agent_id']}"
            self.post.control("agent.quarantine", key, ("person:mallory",), **fields)

    def _strike(self, kind: str, agent: str) -> None:
        """Halt, or shut out an agent; now and then all that are of one make with it."""
        if kind == "halt":
            fields = {"reason": "drill"}
            key = f"namespace/{NAMESPACE}"
            self._do("namespace.halt", "namespace.resume", key, fields, fields, 20 * MINUTE)
            return
        alike = [name for name in AGENTS if AGENTS[name] == AGENTS[agent]]
        for name in alike if self._chance.random() < 0.4 else [agent]:
            fields = {"agent_id": name, "reason": "odd results"}
            self._do("agent.quarantine", "agent.release", f"agent/{name}", fields, fields, HOUR)

    def _do(self, kind: str, undo: str, key: str, fields: Any, back: Any, span_ms: int) -> None:
        self.post.control(kind, key, ROOTS, **fields)
        restore = lambda: self.post.control(undo, key, ROOTS, **back)  # noqa: E731
        self._undone.append(restore)
        self.world.at(self._chance.uniform(MINUTE, span_ms), restore)


class Vandals:
    """Records that nobody can interpret, on every inbound topic."""

    def __init__(self, world: World, post: Post) -> None:
        self.world, self.post = world, post
        self._chance = world.chance.stream("vandals")
        for _ in range(4 * len(world.plan.cases)):
            if world.faults.strikes("poison"):
                world.at(self._chance.uniform(0, world.plan.days * DAY + HOUR), self._throw)

    def _throw(self) -> None:
        chance = self._chance
        topic = chance.choice(("submissions", "agent-reports", "decisions", "control"))
        kind = chance.choice(
            {
                "submissions": ("case.submit", "case.withdraw"),
                "agent-reports": ("task.complete", "task.claim"),
                "decisions": ("gate.decide",),
                "control": ("agent.release",),
            }[topic]
        )
        fields = {"source": SOURCE, "key": "K-0", "reason": "x", "namespace": NAMESPACE}
        good = self.post.letter(topic, "c-nobody", kind, fields, ())
        self.world.counts["poison"] += 1
        self.post.carry(self._spoilt(good), "vandal")

    def _spoilt(self, good: Draft) -> Draft:
        chance, headers = self._chance, dict(good.headers)
        values = (
            b"",
            b"{",
            b"[]",
            b'{"a":NaN}',
            b'{"a":1e400}',
            b"\xff\xfe",
            b'{"a":1,"a":2}',
            b"[" * 5_000,
            b'{"a":' + b"9" * 5_000 + b"}",
            b'{"a":"\\ud800"}',
            b'{"a":' * 60 + b"1" + b"}" * 60,
            b'{"namespace":"sim"}',
        )
        kind = chance.choice(("value", "value", "headers", "place", "type"))
        if kind == "value":
            return good._replace(value=chance.choice(values))
        if kind == "place":
            shards = self.world.plan.shards
            if good.topic == "control" or shards == 1:
                return good._replace(key=None)
            return good._replace(partition=(shard_of(b"c-nobody", shards) + 1) % shards)
        odd: tuple[dict[str, bytes], ...] = (
            {"ce_id": b""},
            {"ce_dssematerial": b"bm9uc2Vuc2U="},
            {"ce_source": b"\xff\xff"},
            {"ce_type": b"task.granted", "ce_dataschema": b""},
        )
        if kind == "type":
            odd = (
                {"ce_type": b"case.unheard-of", "ce_dataschema": b""},
                {"ce_dataschema": b"urn:caseway:schema:" + headers["ce_type"] + b":99"},
            )
        return good._replace(headers=tuple({**headers, **chance.choice(odd)}.items()))


def _person(chance: Random) -> str:
    return f"person-{chance.getrandbits(64):016x}"
