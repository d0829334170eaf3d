"""People who decide and work: quick, slow, tired, absent, racing each other, or not entitled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.sim.desk import Desk, Gate, Key, Task
from tests.sim.founding import PEOPLE, card_of
from tests.sim.reading import Line

if TYPE_CHECKING:
    from tests.sim.bank import Bank
    from tests.sim.post import Post
    from tests.sim.world import World

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
_POLLS_MAX = 120
_CALLS = {"gate.opened", "gate.escalated", "gate.overdue"}
_QUEUED = {"task.opened", "task.escalated"}
_SEND_BACKS_MAX = 2
_STAND_IN = "olga"  # decides nothing otherwise


class People:
    """Everybody with a role, at one desk of public knowledge."""

    def __init__(self, world: World, post: Post, bank: Bank) -> None:
        self.world, self.post, self.bank = world, post, bank
        self.desk = Desk()
        self._ways = dict(world.plan.people)
        self._chance = world.chance.stream("people")
        self._handovers = world.chance.stream("handovers")
        self._sent_back: Counter[str] = Counter()
        self._polls = 0

    def hear(self, line: Line) -> None:
        """Read on, and react to what asks for people."""
        self.desk.hear(line)
        if line.type in _CALLS:
            self._call(line)
        elif line.type in _QUEUED and (line.key, line.data["task_id"]) in self.desk.tasks:
            key = (line.key, line.data["task_id"])
            for who in self._holders(self.desk.tasks[key].queue):
                self._after(who, self._claim, who, key)
        elif line.type == "decision.endorsed" and self._chance.random() < 0.5:
            self._look_again(line)
        elif line.type == "task.granted" and line.data["holder"].startswith("person:"):
            self._after(line.data["holder"][7:], self._do, (line.key, line.data["task_id"]))
        elif line.type == "effect.permitted":
            key = (line.key, line.data["task_id"])
            if key in self.desk.tasks:
                self.world.at(1_000, self._pay, key)

    def poll(self) -> None:
        """Once all is well, people look at their lists until these are empty.

        Raises:
            Violation: the lists never get empty.
        """
        for key, gate in list(self.desk.gates.items()):
            stand_in = [_STAND_IN] if self._polls > _POLLS_MAX // 2 else []
            for who in [*stand_in, *(who for role in gate.roles for who in self._holders(role))]:
                self._decide(who, key, gate.revision, gate.digest, "approve")
        if self._polls == _POLLS_MAX // 2:
            self._appoint_stand_in({r for gate in self.desk.gates.values() for r in gate.roles})
        for key, task in list(self.desk.tasks.items()):
            if task.holder:
                self._do(key)
            else:
                for who in self._holders(task.queue)[:1]:
                    self._claim(who, key)
        self._polls += 1
        if self._polls > _POLLS_MAX:
            left = [*self.desk.gates, *self.desk.tasks]
            self.world.violate("stuck", f"people still have on their lists: {left}")

    def _appoint_stand_in(self, roles: set[str]) -> None:
        """What operators do when all who may decide had a hand in it, and the top rung is overdue
        day after day."""
        if roles:
            self.world.counts["stand-in appointed"] += 1
            card = card_of(_STAND_IN, (*PEOPLE[_STAND_IN], *sorted(roles))).model_dump()
            self.post.control(
                "person.appoint", f"person/{_STAND_IN}", ("root:1", "root:2"), card=card
            )

    # -- gates ------------------------------------------------------------------------------------

    def _call(self, line: Line) -> None:
        key = (line.key, line.data["gate_id"])
        gate = self.desk.gates.get(key)
        if gate is None:
            return
        for role in gate.roles:
            for who in self._holders(role):
                self._after(who, self._consider, who, key, replace(gate))
                if self._way(who) == "absent" and self._chance.random() < 0.3:
                    self.world.at(self._chance.randint(MINUTE, HOUR), self._hand_on, who, key)
        if len(gate.roles) > 1 and self._handovers.random() < 0.4:  # nobody wants it
            for who in (who for role in gate.roles for who in self._holders(role)):
                self.world.at(self._handovers.randint(1_000, MINUTE), self._hand_on, who, key)
        if self.world.faults.strikes("intruder"):
            self.world.at(self._chance.randint(MINUTE, HOUR), self._intrude, key, gate)

    def _look_again(self, line: Line) -> None:
        """Whoever approved finds the gate still on the list, because another has to approve too."""
        key = (line.key, line.data["gate_id"])
        if key in self.desk.gates:
            who = line.data["by"].removeprefix("person:")
            self._after(who, self._consider, who, key, replace(self.desk.gates[key]))

    def _consider(self, who: str, key: Key, seen: Gate) -> None:
        way = self._way(who)
        gate = self.desk.gates.get(key)
        if way == "tired":
            gate = gate or seen  # from memory, without a look
        if gate is None or (gate.revision != seen.revision and way != "tired"):
            return
        luck = self._chance.random()
        revision = seen.revision
        choice = self._choice(key[0])
        if luck < 0.05 and way != "quick":
            fields = {"gate_id": key[1], "revision": gate.revision, "question": "Which garage?"}
            self.post.decide(f"person:{who}", "gate.ask", key[0], **fields)
        elif luck < 0.3 and way in ("slow", "racing"):
            self._hand_on(who, key)
        elif way == "tired" and luck < 0.6:
            self.world.counts["tired decision"] += 1
            digest = gate.digest if luck < 0.3 else gate.digest[::-1]
            self._decide(who, key, max(1, revision - (luck < 0.2)), digest, choice)
            self._decide(who, key, gate.revision, gate.digest, choice)
            self._decide(who, key, gate.revision, gate.digest, self._choice(key[0]))
        else:
            for _ in range(1 + (luck > 0.85)):  # not a few click twice
                self._decide(who, key, gate.revision, gate.digest, choice)

    def _hand_on(self, who: str, key: Key) -> None:
        """Whoever is away, or would rather not, names another: as often as not anybody at all."""
        gate = self.desk.gates.get(key)
        if gate is None:
            return
        alike = [other for role in PEOPLE[who] for other in self._holders(role)]
        to = self._chance.choice(alike if self._chance.random() < 0.5 else list(PEOPLE))
        if len(gate.roles) > 1 and self._handovers.random() < 0.7:
            # To whom it would be the second role: then the rung may lack a person.
            both = [other for other in alike if set(gate.roles) <= set(PEOPLE[other])]
            to = self._handovers.choice(both or [to])
        fields = {"gate_id": key[1], "revision": gate.revision, "to": to, "reason": "away"}
        self.post.decide(f"person:{who}", "gate.delegate", key[0], **fields)

    def _choice(self, case: str) -> str:
        luck = self._chance.random()
        if self.world.is_healed or luck < 0.8:
            return "approve"
        if luck < 0.9 and self._sent_back[case] < _SEND_BACKS_MAX:
            self._sent_back[case] += 1
            return "send_back"
        return "reject"

    def _decide(self, who: str, key: Key, revision: int, digest: str, choice: str) -> None:
        fields = {
            "gate_id": key[1],
            "revision": revision,
            "digest": digest,
            "choice": choice,
            "reason": "looked at it",
        }
        self.post.decide(f"person:{who}", "gate.decide", key[0], **fields)

    def _intrude(self, key: Key, gate: Gate) -> None:
        """Somebody decides who may not: of no role or another, the agents' owner, an agent."""
        names = ["person:mallory", "person:olga", "agent:settler-1", "person:adam", "person:dora"]
        who = self._chance.choice([n for n in names if not self._may(n, gate)])
        fields: dict[str, Any] = {"gate_id": key[1], "revision": gate.revision}
        fields["digest"] = gate.digest
        self.world.counts["intrusion"] += 1
        self.post.decide(who, "gate.decide", key[0], **fields, choice="approve", reason="mine")

    @staticmethod
    def _may(name: str, gate: Gate) -> bool:
        return bool(set(PEOPLE.get(name[7:], ())) & set(gate.roles))

    # -- tasks ------------------------------------------------------------------------------------

    def _claim(self, who: str, key: Key) -> None:
        task = self.desk.tasks.get(key)
        if task is None or task.holder or task.queue not in PEOPLE[who]:
            return
        self.post.report(f"person:{who}", "task.claim", key[0], task_id=key[1])

    def _do(self, key: Key) -> None:
        task = self.desk.tasks.get(key)
        if task is None or not task.holder:
            return
        if task.task == "pay":
            self._pay(key)
            return
        output: dict[str, Any] = {
            "triage": {"line": "home", "fraud_suspected": False},
            "assess": {"severity": "minor", "evidence_complete": True},
            "cover": {"covered": True},
            "request": {"evidence": []},
            "settle": {"settlement": self.desk.facts[key[0]].get("amount")},
        }[task.task]
        if not self.world.is_healed and self._chance.random() < 0.05:
            output = {"line": "boat"}  # people mistype
        fields = {"inputs_digest": task.digest, "output": output, "confidence": "1"}
        self._report(key, task, "task.complete", **fields)

    def _pay(self, key: Key) -> None:
        """Ask for the permit, pay on it, or find out what became of it."""
        task = self.desk.tasks.get(key)
        if task is None or not task.holder:
            return
        effect = task.effect
        if not effect:
            self._report(key, task, "effect.begin", inputs_digest=task.digest)
            return
        outcome = self.bank.find(effect["effect_id"])
        if outcome == "not_done" and effect["token"] == task.token:
            amount = f"{effect['amount']['amount']} {effect['amount']['currency']}"
            outcome = self.bank.pay(effect["effect_id"], key[0], amount, effect["payee"])
        if outcome == "unknown":
            self.world.at(20 * MINUTE, self._pay, key)
            return
        done = {"payment_reference": f"pay-{effect['effect_id'][:12]}"}
        output = done if outcome == "done" else {}
        fields = {"effect_id": effect["effect_id"], "outcome": outcome, "output": output}
        self._report(key, task, "effect.report", **fields)

    def _report(self, key: Key, task: Task, kind: str, **fields: Any) -> None:
        fields = {"task_id": key[1], "token": task.token, **fields}
        self.post.report(task.holder, kind, key[0], **fields)

    # -- characters -------------------------------------------------------------------------------

    def _holders(self, role: str) -> list[str]:
        return [name for name, roles in PEOPLE.items() if role in roles]

    def _way(self, who: str) -> str:
        return "quick" if self.world.is_healed else self._ways.get(who, "quick")

    def _after(self, who: str, action: Any, *arguments: Any) -> None:
        way = self._way(who)
        if way == "absent":
            return
        low, high = (MINUTE, HOUR)
        if way == "slow":
            low, high = HOUR, 12 * DAY
        elif way == "racing":
            low, high = 10 * MINUTE, 10 * MINUTE + 200
        self.world.at(self._chance.randint(low, high), action, *arguments)
