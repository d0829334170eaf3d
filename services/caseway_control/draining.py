"""A bound on how long a process may take to stop: killing one is always safe."""

from __future__ import annotations

import asyncio
import os
import sys
import threading


def cut_after(seconds: float, loop: asyncio.AbstractEventLoop, code: int) -> threading.Timer:
    """End this process with `code` unless it ended by itself before; says what was still there.

    A part that never answers its cancellation must not keep a pod until it is killed in silence.
    Nothing is lost: what was not committed is decided again by the next owner.
    """

    def cut() -> None:
        left = sorted(task.get_name() for task in asyncio.all_tasks(loop))
        sys.stderr.write(
            f"error DRAIN_CUT: not drained within {seconds:g} s; still there: {', '.join(left)}; "
            "nothing is lost, the next owner decides again\n"
        )
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    return timer
