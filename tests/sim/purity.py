"""Takes clocks, chance, environment, files and sockets away while pure code decides and evolves."""

from __future__ import annotations

import builtins
import os
import random
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

from caseway.kernel.processor import Card

_FORBIDDEN: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
    (time, ("localtime", "gmtime", "strftime")),
    (random, ("random", "randint", "choice", "shuffle", "getrandbits", "Random", "seed")),
    (secrets, ("token_bytes", "token_hex", "randbelow", "choice")),
    (uuid, ("uuid1", "uuid4")),
    (os, ("urandom", "getenv", "open", "stat", "listdir", "getpid")),
    (socket, ("socket", "create_connection", "gethostname")),
    (builtins, ("open", "input")),
)


class Impure(AssertionError):
    """Pure code reached for the world."""


class _NoEnvironment(dict[str, str]):
    def _refuse(self, *_arguments: Any) -> NoReturn:
        raise Impure("os.environ was read in a pure room")

    __getitem__ = get = __contains__ = __iter__ = keys = items = _refuse


@contextmanager
def pure() -> Iterator[None]:
    """Inside, nothing of the world can be had."""
    kept: list[tuple[Any, str, Any]] = []
    for module, names in _FORBIDDEN:
        for name in names:
            kept.append((module, name, getattr(module, name)))
            setattr(module, name, _refusing(f"{module.__name__}.{name}"))
    environment = os.environ
    os.environ = _NoEnvironment()  # type: ignore[assignment]  # noqa: B003
    try:
        yield
    finally:
        os.environ = environment  # noqa: B003
        for module, name, value in kept:
            setattr(module, name, value)


def guarded(card: Card[Any]) -> Card[Any]:
    """The card of a service whose every function runs inside the guard."""
    return replace(
        card,
        decide=_inside(card.decide),
        evolve=_inside(card.evolve),
        touched=_inside(card.touched),
        due_ms=_inside(card.due_ms),
        wake=_inside(card.wake),
    )


def _inside(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        with pure():
            made = function(*arguments)
            # What is made bit by bit is made in here.
            return list(made) if isinstance(made, Iterator) else made

    return run


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_arguments: Any, **_named: Any) -> NoReturn:
        raise Impure(f"{name} was called in a pure room")

    return refuse
