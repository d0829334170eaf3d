"""A process that is told to stop does stop, whatever one of its parts does about it."""

from __future__ import annotations

import subprocess
import sys

_DEAF = """
import asyncio
from caseway_control.draining import cut_after

async def deaf():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    part = asyncio.create_task(deaf(), name="router-pump")
    await asyncio.sleep(0)
    cut_after(0.2, asyncio.get_running_loop(), 143)
    part.cancel()
    await part

asyncio.run(main())
"""


def test_a_part_that_does_not_hear_its_cancellation_is_named_and_cut() -> None:
    command = [sys.executable, "-c", _DEAF]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 143
    assert "error DRAIN_CUT" in done.stderr
    assert "router-pump" in done.stderr
