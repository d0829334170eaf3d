"""Structured logs on standard error: one JSON object a line, or coloured text on a terminal.

Every line names what it concerns under the same keys: service, shard, case, cause. Libraries
that log through the standard library come out in the same form. Payloads are never logged.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

_THIN_S, _THIN_MAX = 10.0, 500
# What a line concerns, in the order in which a reader looks for it.
_FIRST = ("timestamp", "level", "event", "service", "shard", "case", "cause")


def configure_logs(
    level: str, *, stream: TextIO | None = None, is_terminal: bool | None = None
) -> None:
    """Write messages of this level and above to `stream`, standard error by default."""
    out = stream if stream is not None else sys.stderr
    on_terminal = out.isatty() if is_terminal is None else is_terminal
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *_rendering(on_terminal)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        # A test, or a second call, may configure anew.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(on_terminal),
        ],
    )
    handler.setFormatter(formatter)
    handler.addFilter(_Thinned())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Clients log each reconnect at this level; what they do to a shard, the shard says itself.
    root.setLevel(max(number, logging.WARNING))


class _Thinned(logging.Filter):
    """Of what a library says again and again, one line in ten seconds, with the count of the rest.

    While a broker is away its client says so at each attempt: 130 lines a second and process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written; what differs in the arguments alone is the same line."""
        if len(self._said) >= _THIN_MAX:  # lines that are all different are not what this is for
            self._said.clear()
        said = self._said.setdefault((record.name, record.levelno, str(record.msg)), _Said())
        if 0 <= record.created - said.at_s < _THIN_S:
            said.left_out += 1
            return False
        if said.left_out:
            record.msg = f"{record.getMessage()} (and {said.left_out} more like it)"
            record.args = ()
        said.at_s, said.left_out = record.created, 0
        return True


@dataclass(slots=True)
class _Said:
    at_s: float = -math.inf
    left_out: int = 0


def _rendering(on_terminal: bool) -> list[Processor]:
    if on_terminal:
        return [structlog.dev.ConsoleRenderer(colors=True)]
    return [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer()]


def _ordered(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    first = {key: event[key] for key in _FIRST if key in event}
    return {**first, **{key: value for key, value in event.items() if key not in first}}
