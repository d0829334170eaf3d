"""Decides what a submission or an operator's wish becomes."""

from __future__ import annotations

import re

from caseway.contracts.submission import AmendCase, SubmitCase, WithdrawCase
from caseway.kernel.authentication import misdirected
from caseway.kernel.processor import NOTHING, Delivery, Step
from caseway.kernel.registry import Registry
from caseway_intake.admission import admit, amend, refusal, withdraw
from caseway_intake.control import HEARS_CONTROL, judge
from caseway_intake.state import Admission

HEARS_SUBMISSIONS = frozenset({SubmitCase.TYPE, AmendCase.TYPE, WithdrawCase.TYPE})
_CASE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

__all__ = ["HEARS_CONTROL", "HEARS_SUBMISSIONS", "decide"]


def decide(state: Admission | None, delivery: Delivery, registry: Registry) -> Step:
    """Answer one record of `control` or `submissions`."""
    data = delivery.event.data
    if delivery.event.envelope.type in HEARS_CONTROL:
        return judge(delivery, registry)
    wrong = misdirected(delivery, registry)
    if wrong is not None:
        return Step((refusal(delivery, wrong[0], "/", wrong[1]),))
    if not _CASE_ID.fullmatch(delivery.event.key):
        message = "a case id has 1 to 64 of a-z, 0-9 and -, and begins with a letter or digit"
        return Step((refusal(delivery, "ID_FORMAT", "key", message),))
    if isinstance(data, SubmitCase):
        event = admit(state, data, delivery, registry)
        return Step((event,)) if event is not None else NOTHING
    if isinstance(data, AmendCase):
        return Step((amend(state, data, delivery, registry),))
    assert isinstance(data, WithdrawCase)
    return Step((withdraw(state, data, delivery),))
