"""Runs the command line in a version of its own: `python program.py newer serve router`.

`older` is the code as it is, and `newer` the release of `newer.py`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    version = sys.argv.pop(1)
    assert version in {"older", "newer"}
    if version == "newer":
        import newer  # noqa: F401 - it patches before the command line is imported

    from caseway.hosting.host import Limits, Shard

    # Both write snapshots within a minute's load, or nothing would be seen of them.
    Shard.__init__.__defaults__ = (Limits(snapshot_events=40),)

    from caseway_control.cli import main

    sys.exit(main())
