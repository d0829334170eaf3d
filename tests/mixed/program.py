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

    from caseway.hosting.host import Limits
    from caseway.hosting.runner import ServiceRunner

    # Both write snapshots within a minute's load, or nothing would be seen of them.
    assert ServiceRunner.__init__.__kwdefaults__ is not None
    ServiceRunner.__init__.__kwdefaults__["limits"] = Limits(snapshot_events=40)

    from caseway_control.cli import main

    sys.exit(main())
