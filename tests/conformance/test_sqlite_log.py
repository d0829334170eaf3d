"""The embedded log keeps a log's promises, also when its process is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from caseway.errors import Unavailable
from caseway.hosting.log import Log
from caseway.hosting.sqlite_log import SqliteLog
from tests.conformance.log_suite import CASES, SHARDS, LogConformance, all_of, draft, values

_COMMITTER = """
import asyncio, sys
from pathlib import Path
from caseway.contracts.record import Draft
from caseway.hosting.sqlite_log import SqliteLog

async def main():
    log = SqliteLog(Path(sys.argv[1]), 2)
    writer = await log.fence("router", 0)
    for number in range(100_000):
        drafts = [Draft("cases", 0, b"k", f"{number}/{n}".encode(), ()) for n in range(3)]
        await writer.commit(drafts, {})
        print(number, flush=True)

asyncio.run(main())
"""


class TestSqliteLog(LogConformance):
    @asynccontextmanager
    async def made(self, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        log = SqliteLog(tmp_path / "caseway.db", SHARDS)
        yield log
        await log.close()


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
async def test_a_kill_leaves_whole_commits_and_every_acknowledged_one(
    tmp_path: Path, acknowledged: int
) -> None:
    path = tmp_path / "caseway.db"
    command = [sys.executable, "-c", _COMMITTER, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = -1
    while last < acknowledged:
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    last = int(rest[-1]) if rest else last
    log = SqliteLog(path, SHARDS)
    texts = values(await all_of(log, CASES))
    await log.close()
    commits = len(texts) // 3
    assert texts == [f"{number}/{n}" for number in range(commits) for n in range(3)]
    assert commits >= last + 1


async def test_a_second_engine_on_the_directory_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "caseway.db"
    child = subprocess.Popen(
        [sys.executable, "-c", _COMMITTER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    log = SqliteLog(path, SHARDS)
    try:
        with pytest.raises(Unavailable) as refused:
            await log.fence("router", 0)
        assert refused.value.code == "ENGINE_RUNNING"
        assert str(child.pid) in str(refused.value)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        await log.close()


async def test_what_another_process_appends_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "caseway.db"
    engine, visitor = SqliteLog(path, SHARDS), SqliteLog(path, SHARDS)
    feed = await engine.feed()
    await feed.seek({("submissions", 0): 0})
    assert dict(await feed.fetch(0.01)) == {}
    await visitor.append([draft("submissions", "from outside")])
    async with asyncio.timeout(5):
        found = await feed.fetch(5)
    assert values(found["submissions", 0]) == ["from outside"]
    await engine.append([draft("submissions", "from inside")])
    assert values((await feed.fetch(5))["submissions", 0]) == ["from inside"]
    await feed.close()
    await engine.close()
    await visitor.close()
