"""A process that commits is killed at any moment, again and again, on one and the same file."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from caseway.hosting.sqlite_log import SqliteLog
from tests.conformance.log_suite import all_of, values

SHARDS = 4
_ROUNDS = 5
_COMMITTER = """
import asyncio, sys
from pathlib import Path
from caseway.contracts.record import Draft
from caseway.hosting.sqlite_log import SqliteLog

async def work(log, shard, name):
    writer = await log.fence("router", shard)
    for number in range(100_000):
        text = f"{name}/{number}".encode()
        drafts = [
            Draft("cases", shard, b"k", text + b"/0", ()),
            Draft("offers.claims", shard, b"k", text, ()),
            Draft("cases", shard, b"k", text + b"/1", ()),
        ]
        await writer.commit(drafts, {("intake", shard): number})
        print(shard, number, flush=True)

async def main():
    log = SqliteLog(Path(sys.argv[1]), 4)
    await asyncio.gather(*(work(log, shard, sys.argv[2]) for shard in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_kill_leaves_whole_commits_and_all_that_were_acknowledged(
    tmp_path: Path, seed: int
) -> None:
    moments = random.Random(seed)
    path = tmp_path / "caseway.db"
    acknowledged: dict[tuple[int, int], int] = {}
    for number in range(_ROUNDS):
        for shard, last in killed_after(path, number, moments.randint(1, 120)).items():
            acknowledged[number, shard] = last
    log = SqliteLog(path, SHARDS)
    for shard in range(SHARDS):
        events = values(await all_of(log, ("cases", shard)))
        offers = values(await all_of(log, ("offers.claims", shard)))
        assert events == [f"{offer}/{half}" for offer in offers for half in (0, 1)]
        for number in range(_ROUNDS):
            there = [int(o.partition("/")[2]) for o in offers if o.startswith(f"{number}/")]
            assert there == list(range(len(there)))
            assert len(there) > acknowledged.get((number, shard), -1)
        position = log.positions("router").get(("intake", shard))
        assert position == (int(offers[-1].partition("/")[2]) if offers else None)
    await log.close()


def killed_after(path: Path, number: int, lines: int) -> dict[int, int]:
    """Commit until so many were acknowledged, then SIGKILL; the last of each shard."""
    command = [sys.executable, "-c", _COMMITTER, str(path), str(number)]
    last: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout, 1):
            if count == lines:
                child.kill()
            if line.endswith("\n"):
                shard, acknowledged = line.split()
                last[int(shard)] = int(acknowledged)
    assert last, "the committer did not start"
    return last
