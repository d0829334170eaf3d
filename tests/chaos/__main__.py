"""`python -m tests.chaos`: torment a whole namespace on a real broker, and judge what is left."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from caseway_control.bench import machine
from tests.chaos.plan import LANES, Plan, Report
from tests.chaos.run import chaos


def main() -> int:
    """Exit code 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=Plan.minutes)
    parser.add_argument("--cases", type=int, default=Plan.cases)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--only", nargs="+", choices=LANES, default=LANES, help="these faults alone"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON alone")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    plan = Plan(minutes=given.minutes, cases=given.cases, seed=seed, lanes=tuple(given.only))
    began = time.monotonic()

    def tell(said: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {said}\n")

    tell(f"SEED={seed} COMMIT={_commit()}")
    directory = Path(tempfile.mkdtemp(prefix="caseway-chaos-"))
    report = asyncio.run(chaos(plan, directory, tell))
    found = asdict(report) | {"machine": machine(), "seed": seed}
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if given.json else _text(report))
    if report.violations or given.keep:
        tell(f"logs are kept in {directory}")
    else:
        subprocess.run(["rm", "-rf", str(directory)], check=False)
    return 1 if report.violations else 0


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def _text(report: Report) -> str:
    lines = [
        f"{report.closed} of {report.submitted} cases closed; torment {report.torment_s:.0f} s, "
        f"the rest closed {report.closed_after_s:.0f} s after it",
        *(f"  {count:6d}  {what}" for what, count in sorted(report.did.items())),
        "proxy:",
        *(f"  {count:6d}  {what}" for what, count in sorted(report.proxy_faults.items())),
        "answers to what came late:",
        *(f"  {count:6d}  {what}" for what, count in sorted(report.late_answers.items())),
        "takeovers (aim: p99 of 5 s beside nothing but kills):",
        *(
            f"  {', '.join(f'{what} {value}' for what, value in spans.items())}  beside {beside}"
            for beside, spans in report.takeovers.items()
        ),
        "longest reader stall (aim: 1 s beside nothing but kills):",
        *(
            f"  {stall.seconds:6.2f} s  {stall.partition}  beside {beside}"
            for beside, stall in report.longest_stalls.items()
        ),
        "read by the oracle: " + ", ".join(f"{n} {what}" for what, n in report.oracle.items()),
        f"rows in the database: {report.rows}",
        "replay digests: " + ", ".join(f"{k} {v[:12]}" for k, v in report.digests.items()),
        f"{len(report.violations)} violations",
        *(f"  {violation}" for violation in report.violations),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
