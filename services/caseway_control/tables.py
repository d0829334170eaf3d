"""Writes the generated tables of docs/: settings and metrics, from the models that define them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from caseway.ops.metrics import metrics_table
from caseway.ops.settings import settings_table

_SETTINGS = """# Settings

Every setting is an environment variable, read once when a process starts. An unknown `CASEWAY_*`
variable is refused with its nearest name, and a secret in a variable is refused too: it goes into a
file that a `*_FILE` setting names. Options of the command line win over the environment.

"""
_METRICS = """# Metrics

Every process answers `/metrics` in Prometheus' text format, beside `/livez` (the event loop turns)
and `/readyz` (every shard it owns runs and progresses). Numbers are read when somebody scrapes.
Counters begin anew when a shard is taken over; `rate()` knows how to deal with that.

"""
# file of docs/ → its whole text
TABLES: dict[str, Callable[[], str]] = {
    "settings.md": lambda: _SETTINGS + settings_table(),
    "metrics.md": lambda: _METRICS + metrics_table(),
}


def write_tables(docs: Path) -> list[Path]:
    """Write every generated document; returns those that changed."""
    changed = []
    for name, text in TABLES.items():
        path = docs / name
        if not path.exists() or path.read_text(encoding="utf-8") != text():
            path.write_text(text(), encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for written in write_tables(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        sys.stdout.write(f"wrote {written}\n")
