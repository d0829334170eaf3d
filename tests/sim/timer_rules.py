"""What holds of every timer: set as it was asked for, ended exactly once, and never early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sim.reading import Line, millis

if TYPE_CHECKING:
    from tests.sim.checker import Violate


class TimerRules:
    """All timers of all cases, by case and id."""

    def __init__(self, violate: Violate) -> None:
        self._violate = violate
        self.open: dict[tuple[str, str], dict[str, Any]] = {}
        self.set = 0
        self._asked: dict[str, Line] = {}
        self._line: Line

    def note(self, line: Line) -> None:
        """An event of another log that may ask for timers."""
        if line.data.get("timers") or line.data.get("cancels") or line.type == "case.closed":
            self._asked[f"{line.topic}/{line.partition}/{line.offset}"] = line

    def hear(self, line: Line) -> None:
        """An event of the deadlines log."""
        self._line = line
        if line.type == "timers.updated":
            self._updated(line.data)
        elif line.type == "timer.warned":
            timer = self._known(line.data["timer_id"])
            self._require(timer["warn_at"], "warned, and nobody asked for it")
            seen = millis(line.data["detected_at"])
            self._require(seen >= millis(timer["warn_at"]), "warned early")
            self._require(not timer.get("warned"), "warned twice")
            timer["warned"] = True
        else:
            self._ended(line.data)

    def _updated(self, data: dict[str, Any]) -> None:
        source = self._asked.get(self._line.cause.partition("/")[2])
        if source is None:
            self._require(False, f"{self._line.cause} asks for no timer")
            return
        for name in data["cancelled"]:
            self._known(name)
            wanted = source.type == "case.closed" or name in source.data["cancels"]
            self._require(wanted, f"{name} cancelled unasked")
            del self.open[self._line.key, name]
        requests = {each["timer_id"]: each for each in source.data["timers"]}
        for timer in data["armed"]:
            request = requests[timer["timer_id"]]
            due_ms = source.at_ms + 1000 * (request["after_s"] or 0)
            if request["due_at"]:
                due_ms = millis(request["due_at"])
            self._require(millis(timer["due_at"]) == due_ms, f"{timer['timer_id']}: another time")
            self._require(timer["about"] == request["about"], "about something else")
            self.open[self._line.key, timer["timer_id"]] = dict(timer)
            self.set += 1

    def _ended(self, data: dict[str, Any]) -> None:
        timer = self._known(data["timer_id"])
        due = data.get("due_at") or data["breached_at"]
        self._require(due == timer["due_at"], "it was due at another time")
        detected = millis(data["detected_at"])
        self._require(detected >= millis(due), "it ended early")
        self._require(self._line.at_ms >= detected, "it was noticed before the log came so far")
        self._require(data["about"] == timer["about"], "about something else")
        del self.open[self._line.key, data["timer_id"]]

    def _known(self, name: str) -> dict[str, Any]:
        timer = self.open.get((self._line.key, name))
        if timer is None:
            self._require(False, f"{name} is not open")
            return {}
        return timer

    def _require(self, holds: object, text: str) -> None:
        if not holds:
            line = self._line
            self._violate(
                "I05 timers", f"{line.key} {line.type} {line.place}@{line.offset}: {text}"
            )
