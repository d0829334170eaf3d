"""The frozen models of event versions that are no longer the latest."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from caseway.contracts.fields import Contract, Instant, JsonObject, Sha256
from caseway.contracts.money import Money
from caseway.contracts.report import LongText, ShortText, SystemCall, TaskId, Token


class CompleteTaskV1(Contract):
    """The result of a task; its confidence is a JSON number, which version 2 made exact text."""

    namespace: str
    task_id: TaskId
    token: Token
    inputs_digest: Sha256
    output: JsonObject
    confidence: Annotated[float, Field(ge=0, le=1)]
    expires_at: Instant
    rationale: LongText = ""
    sources: dict[str, ShortText] = {}
    systems: tuple[SystemCall, ...] = ()
    model: ShortText = ""
    prompt_version: ShortText = ""
    cost: Money | None = None


# (type, version) → what its records looked like.
RELEASED = {("task.complete", 1): CompleteTaskV1}
