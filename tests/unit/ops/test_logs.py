"""Logs: one JSON object a line, with the same keys whoever writes it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from caseway.ops.logs import configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_json_and_begins_with_what_it_concerns() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out)
    structlog.get_logger().info("decided", reason="x", case="c-1", service="router", shard=2)
    line = json.loads(out.getvalue())
    assert list(line)[1:] == ["level", "event", "service", "shard", "case", "reason"]
    assert line["event"] == "decided"


def test_less_severe_messages_are_left_out() -> None:
    out = io.StringIO()
    configure_logs("warning", stream=out)
    structlog.get_logger().info("decided")
    assert out.getvalue() == ""


def test_libraries_log_in_the_same_form() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out)
    logging.getLogger("aiokafka").warning("no %s", "broker")
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("no broker", "warning", "aiokafka")


def test_an_exception_stays_on_one_line() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out)
    try:
        raise ValueError("x")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert out.getvalue().count("\n") == 1
    assert "ValueError" in json.loads(out.getvalue())["exception"]


def test_a_terminal_reads_plain_text() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out, is_terminal=True)
    structlog.get_logger().info("decided")
    assert "decided" in out.getvalue()
    assert not out.getvalue().startswith("{")
