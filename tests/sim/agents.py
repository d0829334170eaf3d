"""Agents of every kind of character; they know what the offers topics say, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sim.founding import AGENTS
from tests.sim.reading import Line

if TYPE_CHECKING:
    from tests.sim.bank import Bank
    from tests.sim.post import Post
    from tests.sim.world import World


class Agent:
    """One agent; `way` is its character, of which faults come only while faults may be."""

    def __init__(self, world: World, post: Post, bank: Bank, name: str, way: str) -> None:
        self.world, self.post, self.bank = world, post, bank
        self.name, self.who = name, f"agent:{name}"
        self.pool, self.skill = AGENTS[name]
        self._way = way
        self._chance = world.chance.stream(f"agent/{name}")
        world.listeners[f"offers.{self.pool}"].append(self.hear)

    @property
    def way(self) -> str:
        """How it behaves now: even a villain does honest work half of the time."""
        if self.world.is_healed or self._chance.random() < 0.4:
            return "honest"
        return self._way

    def hear(self, line: Line) -> None:
        """A record of its pool's offers."""
        addressee, data = line.headers.get("ce_agent", ""), line.data
        mine = line.headers.get("ce_skill", "") == self.skill
        delay = self._chance.randint(500, 20_000)
        if addressee == self.name and line.type == "permit.issued":
            self.world.at(delay, self._execute, line)
        elif addressee == self.name and data.get("token"):
            self._accept(line, delay)
        elif addressee == "" and mine and self.way != "silent":
            self.world.at(delay, self._claim, line)
        elif self._way == "thief" and self.way == "thief":
            self.world.at(delay, self._steal, line)
        elif addressee == "" and self._way == "eager" and self.way == "eager":
            self.world.at(delay, self._claim, line)  # whatever it is that nobody has

    def _accept(self, line: Line, delay: int) -> None:
        way, world = self.way, self.world
        lease_ms = line.data["lease_s"] * 1000
        if way == "silent":
            return
        if way == "slow":
            delay = int(lease_ms * self._chance.uniform(0.7, 2.5))
            world.at(lease_ms * 0.6, self._say, line, "task.heartbeat")
        if line.data["task"] == "pay":
            world.at(delay, self._pay, line, way)
        else:
            world.at(delay, self._work, line, way)

    # -- work -------------------------------------------------------------------------------------

    def _work(self, line: Line, way: str) -> None:
        output = result_of(line.data["task"], line.data["facts"], self._chance)
        confidence = "0.95"
        data = line.data
        if way == "quitter":
            self._say(line, "task.fail", code="gave-up", is_retryable=self._chance.random() < 0.7)
            return
        if way == "flip-flop":
            self._say(line, "task.release", reason="rather not")
        if way == "lying":
            output = self._chance.choice(({}, {"line": "boat"}, {"settlement": "a lot"}))
        if way == "unsure":
            confidence = "0.1"
        if way == "forger":
            self._forge(line, output)
        if way == "stale":
            token, digest = max(1, data["token"] - 1), data["inputs_digest"][::-1]
            old = ({"token": token}, {"inputs_digest": digest})
            stale = self._chance.choice((*old, {**old[0], **old[1]}))
            self._complete(line, output, confidence, **stale)
        self._complete(line, output, confidence)
        if way == "double":
            self._complete(line, output, "0.99")

    def _complete(self, line: Line, output: Any, confidence: str, **changes: Any) -> None:
        fields = {
            "task_id": line.data["task_id"],
            "token": line.data["token"],
            "inputs_digest": line.data["inputs_digest"],
            "output": output,
            "confidence": confidence,
        }
        self.post.report(self.who, "task.complete", line.key, **{**fields, **changes})

    def _say(self, line: Line, kind: str, **fields: Any) -> None:
        task = {"task_id": line.data["task_id"], "token": line.data["token"]}
        self.post.report(self.who, kind, line.key, **task, **fields)

    def _claim(self, line: Line) -> None:
        self.post.report(self.who, "task.claim", line.key, task_id=line.data["task_id"])

    # -- villainy ---------------------------------------------------------------------------------

    def _steal(self, line: Line) -> None:
        """Do another's task under one's own name."""
        if line.type != "task.offered":
            return
        self.world.counts["theft"] += 1
        self._claim(line)
        if AGENTS[self.name][1] != line.headers.get("ce_skill"):
            return
        if line.data["task"] == "pay":
            self._say(line, "effect.begin", inputs_digest=line.data["inputs_digest"])
            return
        output = result_of(line.data["task"], line.data["facts"], self._chance)
        self._complete(line, output, "1.0")

    def _forge(self, line: Line, output: Any) -> None:
        """Claim to be another; or do not sign at all; or change what was signed."""
        self.world.counts["forgery"] += 1
        body = {
            "namespace": "sim",
            "task_id": line.data["task_id"],
            "token": line.data["token"],
            "inputs_digest": line.data["inputs_digest"],
            "output": output,
            "confidence": "1",
            "expires_at": "2027-12-31T00:00:00Z",
        }
        draft = self.post.letter("agent-reports", line.key, "task.complete", body, (self.who,))
        how = self._chance.randrange(3)
        headers = list(draft.headers)
        if how == 0:
            headers.append(("ce_authid", b"person:cora"))
        elif how == 1:
            headers = [each for each in headers if each[0] != "ce_dssematerial"]
        value = draft.value if how != 2 else (draft.value or b"").replace(b'"1"', b'"0.9"')
        self.post.carry(draft._replace(headers=tuple(headers), value=value), "forger")

    # -- payments ---------------------------------------------------------------------------------

    def _pay(self, line: Line, way: str) -> None:
        if line.data["purpose"] == "reconcile":
            outcome = self.bank.find(line.data["effect_id"])
            if way in ("lying", "denier"):
                outcome = self._chance.choice(("unknown", "not_done"))
                self.world.counts["lie about a payment"] += 1
            self._settle(line, outcome)
            return
        if way == "quitter":
            self._say(line, "task.fail", code="gave-up", is_retryable=True)
        self._say(line, "effect.begin", inputs_digest=line.data["inputs_digest"])
        if way in ("double", "forger"):
            self._say(line, "effect.begin", inputs_digest=line.data["inputs_digest"])
            self.bank.lied_about.add(line.data["effect_id"])
            self._settle(line, "done")  # before any permit

    def _execute(self, line: Line) -> None:
        data = line.data
        # A permit is short-lived, and an honest cashier looks at the clock before paying.
        if self.world.now_ms > line.at_ms + data["permit_s"] * 1000:
            return
        money = f"{data['amount']['amount']} {data['amount']['currency']}"
        outcome = self.bank.pay(data["effect_id"], line.key, money, data["payee"])
        way = self.way
        if way == "silent" or self.world.faults.strikes("cashier dies"):
            return
        if way == "denier" and outcome == "done":
            self.world.counts["lie about a payment"] += 1
            outcome = "not_done"
        self._settle(line, outcome)
        if way == "double":
            self._settle(line, outcome)

    def _settle(self, line: Line, outcome: str) -> None:
        effect = line.data["effect_id"]
        output = {"payment_reference": f"pay-{effect[:12]}"} if outcome == "done" else {}
        fields = {"effect_id": effect, "outcome": outcome, "output": output}
        self._say(line, "effect.report", **fields)


def result_of(task: str, facts: Any, chance: Any) -> dict[str, Any]:
    """A good result of a task, now and then one that asks for more."""
    if task == "triage":
        lines = {"collision": "motor", "theft": "motor", "liability": "liability"}
        line = lines.get(str(facts.get("incident_kind")), "home")
        return {"line": line, "fraud_suspected": chance.random() < 0.08}
    if task == "assess":
        return {"severity": "major", "evidence_complete": chance.random() < 0.92}
    if task == "cover":
        return {"covered": True}
    if task == "settle":
        return {"settlement": facts["amount"]}
    return {}
