"""Demo agents and a demo bank: they speak only through the public topics, like anybody's.

They are scripted, so that a demo, a test and a benchmark see the same case. The bank is the
outside world: it pays an effect id once, however often it is asked, and may time out the first
time although it paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from caseway.client import Client, Offer
from caseway.contracts.control import AgentCard
from caseway.contracts.fields import JsonObject
from caseway.contracts.money import Money
from caseway.contracts.report import EffectOutcome, PermitIssued, Purpose, TaskOffered
from caseway.hosting.log import Log

CLAIMS, PAYMENTS = "claims", "payments"
# agent → (pool, skill); each is owned by the person who answers for it.
DEMO_AGENTS: dict[str, tuple[str, str]] = {
    "triage-1": (CLAIMS, "claim-triage"),
    "assessor-1": (CLAIMS, "claim-assessment"),
    "settler-1": (CLAIMS, "claim-settlement"),
    "cashier-1": (PAYMENTS, "claim-payment"),
}
_LINES = {"collision": "motor", "theft": "motor", "liability": "liability"}


class BankTimeout(Exception):
    """The bank did not answer in time; whether it paid is not known."""


class DemoBank:
    """Pays each effect id once; `timeouts` counts the first payments whose answer is lost."""

    def __init__(self, *, timeouts: int = 0) -> None:
        self.payments: dict[str, tuple[Money, str]] = {}
        self.requests = 0
        self._timeouts = timeouts

    async def pay(self, effect_id: str, amount: Money, payee: str) -> str:
        """Pay, and give the reference.

        Raises:
            BankTimeout: the payment went through and the answer did not.
        """
        self.requests += 1
        self.payments.setdefault(effect_id, (amount, payee))
        if self._timeouts > 0:
            self._timeouts -= 1
            raise BankTimeout
        return _reference(effect_id)

    async def find(self, effect_id: str) -> str | None:
        """The reference of a payment that went through, or None."""
        return _reference(effect_id) if effect_id in self.payments else None


class DemoAgent:
    """One agent: takes what is offered to it, reports, and asks for permits."""

    def __init__(self, log: Log, client: Client, agent_id: str, bank: DemoBank) -> None:
        self._log = log
        self._client = client
        self._agent_id = agent_id
        self._pool, self._skill = DEMO_AGENTS[agent_id]
        self._bank = bank
        self.done = 0
        self._work: dict[str, Callable[[Offer, TaskOffered], Awaitable[None]]] = {
            "claim-triage": self._triage,
            "claim-assessment": self._assess,
            "claim-settlement": self._settle,
            "claim-payment": self._pay,
        }

    async def run(self, *, start: Mapping[Any, int] | None = None) -> None:
        """Work until cancelled; many offers at a time, because waiting is most of the work."""
        begin = dict(start) if start is not None else None
        async with asyncio.TaskGroup() as group:
            async for offer in self._client.offers(self._pool, self._agent_id, start=begin):
                group.create_task(self._answer(offer))

    async def _answer(self, offer: Offer) -> None:
        if isinstance(offer.data, PermitIssued):
            await self._execute(offer, offer.data)
        elif offer.data.token and offer.agent == self._agent_id:
            await self._work[self._skill](offer, offer.data)
        self.done += 1

    async def _triage(self, offer: Offer, task: TaskOffered) -> None:
        line = _LINES.get(str(task.facts.get("incident_kind")), "home")
        await self._client.complete(
            offer,
            {"line": line, "fraud_suspected": False},
            "0.97",
            rationale=f"The incident kind maps to line {line}; no sign of fraud in the facts.",
            model="demo-rules",
            prompt_version="1",
        )

    async def _assess(self, offer: Offer, task: TaskOffered) -> None:
        severity = "major" if _amount(task.facts) >= 10_000 else "minor"
        await self._client.complete(
            offer,
            {"severity": severity, "evidence_complete": True},
            "0.93",
            rationale=f"The amount and the evidence speak for {severity} damage.",
            sources={"severity": "estimate", "evidence_complete": "evidence list"},
            model="demo-rules",
            prompt_version="1",
        )

    async def _settle(self, offer: Offer, task: TaskOffered) -> None:
        await self._client.complete(
            offer,
            {"settlement": task.facts["amount"]},
            "0.95",
            rationale="The claimed amount is covered; it is settled in full.",
            model="demo-rules",
            prompt_version="1",
        )

    async def _pay(self, offer: Offer, task: TaskOffered) -> None:
        if task.purpose is Purpose.RECONCILE:
            reference = await self._bank.find(task.effect_id)
            outcome = EffectOutcome.DONE if reference else EffectOutcome.NOT_DONE
            output: JsonObject = {"payment_reference": reference} if reference else {}
            await self._client.report_effect(offer, outcome, output, "asked by effect id")
        else:
            await self._client.begin_effect(offer)

    async def _execute(self, offer: Offer, permit: PermitIssued) -> None:
        try:
            reference = await self._bank.pay(permit.effect_id, permit.amount, permit.payee)
        except BankTimeout:
            await self._client.report_effect(
                offer, EffectOutcome.UNKNOWN, detail="the bank did not answer in time"
            )
            return
        output = {"payment_reference": reference}
        await self._client.report_effect(offer, EffectOutcome.DONE, output)


def demo_cards(owner: str, keys: Mapping[str, str]) -> list[AgentCard]:
    """The cards of the demo agents; `keys` are their public keys by agent id."""
    return [
        AgentCard(agent_id=name, owner=owner, pool=pool, skills=(skill,), public_key=keys[name])
        for name, (pool, skill) in DEMO_AGENTS.items()
    ]


def _amount(facts: JsonObject) -> int:
    return int(str(facts["amount"]["amount"]).partition(".")[0])


def _reference(effect_id: str) -> str:
    return f"pay-{effect_id[:12]}"
