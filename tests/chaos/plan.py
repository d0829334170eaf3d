"""What a chaos run is to do, and what it says at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.gauges import Stall

LANES = ("kill", "restart", "freeze", "come-and-go", "odd", "expire", "proxy")
# A freeze takes this long by itself, however often they are asked for.
_FREEZE_TAKES_S = 13.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much, and seconds from one fault of a kind to the next."""

    minutes: float = 10.0
    cases: int = 5_000
    seed: int = 1
    kill_s: float = 7.0
    restart_s: float = 75.0
    freeze_s: float = 45.0
    come_and_go_s: float = 10.0
    odd_s: float = 9.0
    expire_s: float = 200.0
    patience_s: float = 420.0
    lanes: tuple[str, ...] = LANES

    @property
    def seconds(self) -> float:
        """Of torment."""
        return self.minutes * 60

    def least(self) -> dict[str, int]:
        """Fewer than this, and the run proves nothing: about two thirds of what is drawn."""
        freeze_s = max(self.freeze_s, _FREEZE_TAKES_S)
        least = {
            "kill": ("kills", self.seconds / self.kill_s * 0.7),
            "restart": ("broker restarts", self.seconds / self.restart_s * 0.8),
            "freeze": ("freezes", self.seconds / freeze_s * 0.6),
            "come-and-go": ("comings and goings", self.seconds / self.come_and_go_s * 0.6),
            "expire": ("group offsets expired", self.seconds / self.expire_s * 0.4),
            "proxy": ("proxy faults", self.seconds),
        }
        return {least[lane][0]: int(least[lane][1]) for lane in self.lanes if lane in least}


@dataclass(slots=True)
class Report:
    """All that is printed at the end."""

    plan: dict[str, Any]
    did: Counter[str] = field(default_factory=Counter)
    proxy_faults: dict[str, int] = field(default_factory=dict)
    late_answers: dict[str, int] = field(default_factory=dict)
    takeovers: dict[str, dict[str, float | str]] = field(default_factory=dict)
    longest_stalls: dict[str, Stall] = field(default_factory=dict)
    submitted: int = 0
    closed: int = 0
    torment_s: float = 0.0
    closed_after_s: float = 0.0
    rows: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    oracle: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
