"""`make bugbank`: for each planted defect, how many seeds it takes the simulator to find it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

from tests.bugbank.bank import BANK
from tests.bugbank.hunting import Found, hunt, hunt_nothing

SEEDS = 1_000


def main() -> int:
    """Hunt the chosen defects, then nothing; 1 when one was missed or nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.bugbank", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="defects; without, all")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many for each")
    parser.add_argument("--off", type=int, help="so many without a defect; as many by default")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BANK))
    if unknown:
        parser.error(f"no defect is called {', '.join(unknown)}; there are {', '.join(BANK)}")
    chosen = [BANK[name] for name in arguments.names or BANK]
    found: list[Found] = []
    for defect in chosen:
        began = time.monotonic()
        found.append(hunt(defect, arguments.seeds, arguments.jobs))
        _progress(found[-1], len(found), len(chosen), time.monotonic() - began)
    number = arguments.seeds if arguments.off is None else arguments.off
    false_alarms = hunt_nothing(number, arguments.jobs)
    if arguments.json:
        rows = [asdict(each) for each in found]
        off = {"seeds": number, "findings": false_alarms}
        sys.stdout.write(json.dumps({"defects": rows, "off": off}, indent=2) + "\n")
    else:
        _table(found, arguments.seeds)
        sys.stdout.write(f"\noff: {len(false_alarms)} findings in {number:,} seeds\n")
        for text in false_alarms:
            sys.stdout.write(f"  {text}\n")
    return 1 if false_alarms or not all(each.by for each in found) else 0


def _progress(found: Found, done: int, of: int, wall_s: float) -> None:
    said = f"found in {found.seeds}" if found.by else f"MISSED in {found.seeds}"
    sys.stderr.write(f"{done:>3}/{of}  {found.name:<34} {said:<16} {wall_s:6.1f} s  {found.by}\n")
    sys.stderr.flush()


def _table(found: list[Found], seeds: int) -> None:
    width = max(len(each.name) for each in found)
    sys.stdout.write(f"\n{'defect':<{width}}  {'seeds':>6}  found by\n")
    for each in found:
        number = f"{each.seeds:,}" if each.by else f">{seeds:,}"
        sys.stdout.write(f"{each.name:<{width}}  {number:>6}  {each.by or 'MISSED'}\n")
    missed = sum(not each.by for each in found)
    sys.stdout.write(f"\n{len(found)} defects, {missed} missed\n")


if __name__ == "__main__":
    sys.exit(main())
