"""Every error of Caseway as one tree; the branch is the host's policy.

    CasewayError
    ├── ContractError    a record or document nobody may interpret
    │     inbound topic: dead letter, go on; command line and configuration: exit 2
    ├── CodeTooOld       a log holds what only newer code can read: the shard waits, not ready
    ├── Unavailable      broker, store or peer did not answer, or our ownership is in doubt
    │     throw the producer away, back off, take over again, read the log
    ├── ConfigError      a setting, file or key is wrong: exit 2 with one line, before any I/O
    └── IntegrityError   a log is damaged or a fold is impossible: halt this shard, page someone

A refusal ("not authorised", "lease expired") is not an exception but an event with a reason
code, because auditors must find it in the log.
"""

from __future__ import annotations


class CasewayError(Exception):
    """The root: `code` is stable, used in logs, metrics and dead-letter headers."""

    code = "caseway.error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class ContractError(CasewayError):
    """What was read does not fit its contract.

    `where` is a JSON pointer or `line N column M`; the message says what was found, without
    ever quoting a value, what was expected, and what to do.
    Operator action: none for the service; correct the sender.
    """

    code = "contract.invalid"

    def __init__(self, message: str, *, code: str | None = None, where: str = "") -> None:
        super().__init__(message, code=code)
        self.where = where


class Unattributable(ContractError):
    """A readable record that belongs to no known case or comes from no known actor.

    Operator action: none for the service; tell the sender what the dead letter says.
    """

    code = "contract.unattributable"


class CodeTooOld(CasewayError):
    """A sole-writer topic holds a record newer than this code can read.

    Operator action: none; the shard waits, not ready, until a newer version takes over.
    """

    code = "code_too_old"


class Unavailable(CasewayError):
    """A broker, store or peer did not answer in time, or the outcome of a call is unknown.

    Operator action: none at first; the host takes over again. Look at the broker if it lasts.
    """

    code = "unavailable"


class Fenced(Unavailable):
    """Another owner has taken this shard, or our own transaction timed out: both look the same.

    Operator action: none; the host confirms its ownership before it takes over again.
    """

    code = "unavailable.fenced"


class ConfigError(CasewayError):
    """A setting, file or argument is wrong, found before any I/O.

    Operator action: correct what the message names.
    """

    code = "config.invalid"


class IntegrityError(CasewayError):
    """A log is damaged, or a fold over it is impossible or gives another result than before.

    Operator action: stop writing to this namespace, keep the logs, run `caseway verify`.
    """

    code = "integrity.broken"
