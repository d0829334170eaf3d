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


def test_what_a_library_repeats_is_thinned_and_counted() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out)
    library = logging.getLogger("aiokafka")
    began = 1_000.0
    for number in range(100):
        record = library.makeRecord(
            "aiokafka", logging.ERROR, "x.py", 1, "no node %s", (number % 3,), None
        )
        record.created = began + number / 10  # ten seconds of attempts
        library.handle(record)
    library.error("something else")
    late = library.makeRecord("aiokafka", logging.ERROR, "x.py", 1, "no node %s", (7,), None)
    late.created = began + 10
    library.handle(late)
    events = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert events == ["no node 0", "something else", "no node 7 (and 99 more like it)"]


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    out = io.StringIO()
    configure_logs("info", stream=out)
    library = logging.getLogger("aiokafka")
    for created in (1_000.0, 400.0):
        record = library.makeRecord("aiokafka", logging.ERROR, "x.py", 1, "no node", (), None)
        record.created = created
        library.handle(record)
    assert len(out.getvalue().splitlines()) == 2


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
