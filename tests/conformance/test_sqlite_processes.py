"""An engine on the embedded log, and a command line in another process that appends to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from caseway.hosting.sqlite_log import SqliteLog
from tests.conformance.log_suite import values

_SEEN_S = 1.0
_VISITOR = """
import asyncio, sys
from pathlib import Path
from caseway.contracts.record import Draft
from caseway.hosting.sqlite_log import SqliteLog

async def main():
    log = SqliteLog(Path(sys.argv[1]), 2)
    for text in sys.stdin:
        await log.append([Draft("submissions", 0, b"k", text.strip().encode(), ())])
        print("appended", flush=True)
    await log.close()

asyncio.run(main())
"""


async def test_what_another_process_appends_is_seen_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "caseway.db"
    engine = SqliteLog(path, 2)
    writer = await engine.fence("router", 0)
    feed = await engine.feed()
    await feed.seek({("submissions", 0): 0})
    command = [sys.executable, "-c", _VISITOR, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(5):
            waiting = asyncio.create_task(feed.fetch(10))
            child.stdin.write(f"{number}\n")
            child.stdin.flush()
            await asyncio.to_thread(child.stdout.readline)
            appended = time.monotonic()
            found = await waiting
            assert time.monotonic() - appended < _SEEN_S
            assert values(found["submissions", 0]) == [str(number)]
        child.stdin.close()
        child.wait(10)
    await feed.close()
    await writer.close()
    await engine.close()
