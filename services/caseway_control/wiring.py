"""The composition root: which services run in this process, over which log, watched by whom.

Everything is made here and handed down; nothing below reads a setting or a clock of its own.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path

import structlog

from caseway.errors import CodeTooOld, ConfigError, Unavailable
from caseway.hosting.host import Phase, Shard, ShardLike
from caseway.hosting.inbox import Inbox
from caseway.hosting.log import Log
from caseway.hosting.projector import Projector
from caseway.hosting.registry_reader import RegistryReader
from caseway.hosting.runner import ServiceRunner, ShardRunner
from caseway.hosting.sealing_host import LINGER_MS as SEALING_LINGER_MS
from caseway.hosting.sealing_host import SealingShard, sealed_places
from caseway.ops.health import Health, PortInUse, Probes, judge_liveness, judge_readiness
from caseway.ops.logs import configure_logs
from caseway.ops.metrics import Metrics, ShardReading
from caseway_audit.rows import ROWS_VERSION, TABLES, rows_of
from caseway_audit.sealing import Sealer
from caseway_control.files import read_text
from caseway_control.keys import CHECKPOINT, key_path, load_key
from caseway_control.metered import MeteredLog
from caseway_control.roster import CARDS
from caseway_control.spaces import Space

AUDIT_SERVICE = "audit"
SERVICES = (*CARDS, AUDIT_SERVICE)
_BACKOFF_S, _BACKOFF_MAX_S = 0.1, 5.0
_TURN_S = 0.5
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_log = structlog.get_logger("caseway.wiring")


def now_ms() -> int:
    """The clock of the machine: for people and for metrics, and for nothing that decides."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """A clock that only counts, from the machine's start: nobody can set it.

    Linux has one that counts on while the machine sleeps.
    """
    return time.clock_gettime_ns(_STEADY) // 1_000_000


class Engine:
    """Some services of one namespace in this process, with their metrics and probes."""

    def __init__(self, space: Space, services: Sequence[str]) -> None:
        self._space = space
        self._settings = space.settings
        self.metrics = Metrics(lambda: [*self.readings(), *self._projection()], now_ms)
        self._metered = MeteredLog(space.log, self.metrics.commit_observer)
        self._registry = RegistryReader(self._metered)
        self._turned = time.monotonic()
        self._probes = Probes(self.metrics.exposition, self._liveness, self._readiness)
        member = self._settings.member or socket.gethostname().lower()
        self._runners = [
            runner for service in services if (runner := self._runner(service, member)) is not None
        ]
        self._projector = self._make_projector() if AUDIT_SERVICE in services else None

    def readings(self) -> Iterator[ShardReading]:
        """The numbers of every shard that this process owns now."""
        for runner in self._runners:
            for shard in list(runner.shards):
                yield reading_of(runner.service, shard)

    def _projection(self) -> Iterator[ShardReading]:
        """The projector's numbers in the shape of a shard's: its lag is its queue's age."""
        if (projector := self._projector) is not None:
            yield ShardReading(
                service="projector",
                shard=0,
                phase=(Phase.DOUBTING if projector.failures else Phase.RUNNING).value,
                records=projector.events_written,
                oldest_ms=projector.oldest_ms,
            )

    @property
    def is_ready(self) -> bool:
        """Whether every service knows its shards and each of them runs and progresses."""
        return self._readiness().is_well

    async def run(self) -> None:
        """Run until cancelled, then drain: the commits in hand are finished."""
        tasks = [self._keep(runner.service, runner.run) for runner in self._runners]
        tasks += [self._keep("registry", self._registry.watch), self._turn()]
        if self._projector is not None:
            tasks.append(self._keep("projector", self._projector.run))
        running = [asyncio.ensure_future(task) for task in tasks]
        try:
            # `gather` would hand a cancellation down by itself, and the second one, below, would
            # then break into the drain of whatever still drains.
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def listen(self) -> int:
        """Answer probes and scrapes from now on; returns the port.

        Raises:
            ConfigError: PORT_IN_USE.
        """
        try:
            return self._probes.start(self._settings.http_host, self._settings.http_port)
        except PortInUse as error:
            raise ConfigError(str(error.strerror), code=error.code) from None

    def close(self) -> None:
        """Answer no more."""
        self._probes.stop()

    # -- parts --------------------------------------------------------------------------------

    def _runner(self, service: str, member: str) -> ShardRunner | None:
        if service != AUDIT_SERVICE:
            card = CARDS[service]
            return ServiceRunner(card, self._metered, self._registry, steady_ms, member=member)
        file = _checkpoint_key(self._space)
        if file is None:
            _log.warning("no checkpoint key: nothing is sealed", service=service)
            return None
        key = load_key(file, "checkpoint")
        places = sealed_places(self._settings.pool_names, self._space.log.shards)
        return ShardRunner(
            service,
            lambda _: SealingShard(Sealer, key, places),
            self._metered,
            self._registry,
            steady_ms,
            member=member,
            only=frozenset({0}),
            linger_ms=SEALING_LINGER_MS,
        )

    def _make_projector(self) -> Projector | None:
        dsn = self._settings.postgres_url
        if self._settings.postgres_url_file:
            dsn = read_text(Path(self._settings.postgres_url_file)).strip()
        if not dsn:
            return None
        from caseway.hosting.postgres_store import PostgresStore  # noqa: PLC0415 - paid where used

        definition = resources.files("caseway_audit").joinpath("schema.sql").read_text("utf-8")
        return Projector(
            self._metered, PostgresStore(dsn, definition, TABLES, version=ROWS_VERSION), rows_of
        )

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part for ever: what a broker's outage ends is begun anew."""
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                await run()
                return
            except (Unavailable, CodeTooOld, TimeoutError) as error:
                attempt = 0 if time.monotonic() - began > _BACKOFF_MAX_S else attempt + 1
                _log.warning("begins anew", service=name, attempt=attempt, reason=str(error))
                await asyncio.sleep(min(_BACKOFF_S * 2**attempt, _BACKOFF_MAX_S))

    async def _turn(self) -> None:
        while True:
            self._turned = time.monotonic()
            await asyncio.sleep(_TURN_S)

    def _liveness(self) -> Health:
        return judge_liveness(time.monotonic() - self._turned)

    def _readiness(self) -> Health:
        told = {runner.service: runner.is_told for runner in self._runners}
        return judge_readiness(
            self.readings(), told, self._registry.silent_s, now_ms(), self._settings.stall_s
        )


@asynccontextmanager
async def running_engine(space: Space, services: Sequence[str] = SERVICES) -> AsyncIterator[Engine]:
    """An engine that runs beside the body, for a demo or a test; drained at the end."""
    engine = Engine(space, services)
    task = asyncio.create_task(engine.run(), name="engine")
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        engine.close()


async def run_services(
    space: Space, services: Sequence[str], announce: Callable[[Engine, int], None]
) -> None:
    """Run services until cancelled; `announce` is told the port once probes are answered.

    Raises:
        ConfigError: PORT_IN_USE, KEY_*, or FILE_*: before anything is begun.
    """
    configure_logs(space.settings.log_level)
    engine = Engine(space, services)
    port = engine.listen()
    try:
        announce(engine, port)
        await engine.run()
    finally:
        engine.close()


def own_directory(log: Log) -> None:
    """Take an embedded directory for this process, at once and not at the first commit.

    Raises:
        Unavailable: ENGINE_RUNNING, another engine has it.
    """
    own = getattr(log, "own", None)
    if own is not None:
        own()


def reading_of(service: str, shard: ShardLike) -> ShardReading:
    """The plain numbers of a shard; asked from another thread, so it copies before it counts."""
    reading = ShardReading(
        service=service,
        shard=shard.number,
        phase=shard.phase.value,
        halt_reason=shard.halt_reason,
        commits=shard.commits,
        replayed_events=shard.replayed_events,
        progress_ms=_by_the_machine(shard.progress_ms),
        oldest_ms=getattr(shard, "oldest_ms", None),
    )
    if not isinstance(shard, Shard):
        return reading
    worker, inbox = shard.worker, shard.inbox
    census = worker.fold.committed.census()
    return replace(
        reading,
        records=worker.decided,
        dead_letters=worker.dead_letters,
        faults=worker.faults,
        torn_records=inbox.torn_records,
        queue_records=inbox.queued,
        oldest_ms=_oldest_ms(inbox),
        open_cases=census.open,
        faulted_cases=census.faulted,
        stuck_cases=census.stuck,
    )


def _by_the_machine(at_ms: int) -> int:
    """A time of the steady clock as one of the machine's; 0 stays 0, which is never."""
    return now_ms() - (steady_ms() - at_ms) if at_ms else 0


def _oldest_ms(inbox: Inbox) -> int | None:
    try:
        return inbox.oldest_ms
    except IndexError:  # the queue was emptied between the look and the take
        return None


def _checkpoint_key(space: Space) -> Path | None:
    if space.settings.checkpoint_key_file:
        return Path(space.settings.checkpoint_key_file)
    if space.home is None:
        return None
    made = key_path(space.home.keys, CHECKPOINT)
    return made if made.exists() else None
