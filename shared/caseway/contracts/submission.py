"""What submitters send, and what intake makes of it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from caseway.contracts.fields import Contract, Identifier, Instant, JsonObject, Pin, Sha256

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/-]{0,127}$")]
SubmissionKey = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,126}[!-~])?$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class SubmitCase(Contract):
    """A wish to open a case; the same (source, key) with the same body is the same case."""

    TYPE: ClassVar[str] = "case.submit"
    VERSION: ClassVar[int] = 1
    namespace: str
    definition: Identifier
    source: SourceName
    key: SubmissionKey
    facts: JsonObject


class AmendCase(Contract):
    """A wish to change facts of an open case, by the source that submitted it."""

    TYPE: ClassVar[str] = "case.amend"
    VERSION: ClassVar[int] = 1
    namespace: str
    source: SourceName
    key: SubmissionKey
    changes: JsonObject
    reason: Reason


class WithdrawCase(Contract):
    """A wish to end an open case, by the source that submitted it."""

    TYPE: ClassVar[str] = "case.withdraw"
    VERSION: ClassVar[int] = 1
    namespace: str
    source: SourceName
    key: SubmissionKey
    reason: Reason


class CaseAdmitted(Contract):
    """The submission fits its definition; the facts are normalised and pinned to a version."""

    TYPE: ClassVar[str] = "case.admitted"
    VERSION: ClassVar[int] = 1
    definition: Pin
    source: SourceName
    key: SubmissionKey
    body_sha256: Sha256
    facts: JsonObject
    submitted_at: Instant


class SubmissionRefused(Contract):
    """What was wrong, where and what is expected; never the value."""

    TYPE: ClassVar[str] = "submission.refused"
    VERSION: ClassVar[int] = 1
    wish: str
    code: str
    where: str
    message: str


class AmendmentAdmitted(Contract):
    """The changes fit the definition; the router says whether they still come in time."""

    TYPE: ClassVar[str] = "amendment.admitted"
    VERSION: ClassVar[int] = 1
    changes: JsonObject
    reason: Reason


class WithdrawalAdmitted(Contract):
    """The submitter's own wish to end the case; the router says whether it comes in time."""

    TYPE: ClassVar[str] = "withdrawal.admitted"
    VERSION: ClassVar[int] = 1
    reason: Reason
