"""Process definitions: the phases, tasks, gates and typed facts a case is made of.

A definition is data, published once and pinned by digest for the life of every case under it.
Every key has a reader: the machine (kernel), intake, the router, approval or the console. What
a single model cannot know (reachability, types of guards, the gate of an effect) is proven by
`caseway.kernel.machine.compile_definition` before a definition is used.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    StringConstraints,
    Tag,
    model_serializer,
    model_validator,
)

from caseway.contracts.durations import Duration
from caseway.contracts.fields import Contract, Identifier
from caseway.contracts.money import MINOR_UNITS, Currency

# An integer beyond 2^53 - 1 changes its value in every reader that keeps numbers as doubles.
INTEGER_MAX = 2**53 - 1
# What does not fit here is a document: it travels as a reference, or sealed.
TEXT_MAX = 2000
# One case is shown on one screen and folded in one step.
REFERENCES_MAX = 100
# A withdrawn case closes with this outcome; no phase may end with it.
WITHDRAWN = "withdrawn"
# A fact is a variable of the guards, so the words of the guard language are taken.
RESERVED_NAMES = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in"}
    | {"let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while"}
)


def _unreserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise ValueError("a word of the guard language cannot name a fact; choose another name")
    return name


def _composed(text: str) -> str:
    # Facts are admitted in NFC, so a word in another form could never be sent.
    return unicodedata.normalize("NFC", text)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("an entry is listed twice; list each once")
    return values


def _known_currencies(codes: tuple[str, ...]) -> tuple[str, ...]:
    if not set(codes) <= MINOR_UNITS.keys():
        raise ValueError(f"expected currencies among {', '.join(MINOR_UNITS)}")
    return codes


FactName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$"), AfterValidator(_unreserved)
]
FactNames = Annotated[tuple[FactName, ...], Field(min_length=1), AfterValidator(_distinct)]
Outcome = Identifier
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=TEXT_MAX), AfterValidator(_composed)
]
Integer = Annotated[StrictInt, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)]
GuardText = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ConfidenceFloor = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
# More attempts than this are an outage, and belong to a person.
Attempts = Annotated[StrictInt, Field(ge=1, le=10)]


class _Part(Contract):
    """A part of a definition: it travels under the names of the document, without its defaults.

    So the digest of a definition is over what its owner wrote, and stays the same when later
    code knows more optional keys. An optional key therefore keeps its default for ever.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        for name, field in type(self).model_fields.items():
            if not field.is_required() and getattr(self, name) == field.get_default(
                call_default_factory=True
            ):
                dumped.pop(field.alias or name, None)
                dumped.pop(name, None)
        return dumped


class _Fact(_Part):
    required: StrictBool = False
    origin: Annotated[Literal["submission", "task"], Field(alias="from")] = "submission"

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        has_default = getattr(self, "default", None) is not None
        if self.required and self.origin == "task":
            raise ValueError("`required` is for facts of a submission; a task writes this one")
        if self.required and has_default:
            raise ValueError("a required fact has no use for a `default`; keep one of the two")
        return self


class MoneyFact(_Fact):
    """An exact amount in one of the named currencies."""

    type: Literal["money"]
    currencies: Annotated[
        tuple[Currency, ...],
        Field(min_length=1),
        AfterValidator(_distinct),
        AfterValidator(_known_currencies),
    ]


class TextFact(_Fact):
    """Plain text, free of personal data; with `one_of`, one of the listed words."""

    type: Literal["text"]
    one_of: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_distinct)] | None = (
        None
    )
    default: Text | None = None

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default is not None and self.default not in (self.one_of or (self.default,)):
            raise ValueError("`default` is not among `one_of`; name one of its words")
        return self


class IntegerFact(_Fact):
    """A whole number that every reader keeps exactly."""

    type: Literal["integer"]
    default: Integer | None = None


class BooleanFact(_Fact):
    """True or false."""

    type: Literal["boolean"]
    default: StrictBool | None = None


class DateFact(_Fact):
    """A calendar date without time or zone, as 2026-11-21."""

    type: Literal["date"]


class PseudonymFact(_Fact):
    """A keyed pseudonym of a person or company, never a name or an account number."""

    type: Literal["pseudonym"]


class ReferencesFact(_Fact):
    """A list of claim checks: documents, pictures, recordings."""

    type: Literal["references"]


class SealedFact(_Fact):
    """A classified value: encrypted in every topic, never in a guard, gate or effect."""

    type: Literal["sealed"]


Fact = Annotated[
    MoneyFact
    | TextFact
    | IntegerFact
    | BooleanFact
    | DateFact
    | PseudonymFact
    | ReferencesFact
    | SealedFact,
    Field(discriminator="type"),
]


class _Task(_Part):
    """What every task has: the facts it is shown, those it must write, and what it waits for."""

    input: FactNames
    output: FactNames
    after: Annotated[tuple[Identifier, ...], AfterValidator(_distinct)] = ()


class _Granted(_Task):
    """A task for agents: who may do it, for how long at a time, and who takes over."""

    skill: Identifier
    pool: Identifier
    lease: Duration
    attempts: Attempts
    backoff: Duration
    fallback: Identifier


class AgentTask(_Granted):
    """Work for an agent; a result below the confidence floor goes to the fallback queue."""

    kind: Literal["agent"]
    confidence_floor: ConfidenceFloor


class HumanTask(_Task):
    """Work for people of a queue; when the SLA is missed, `escalates_to` hears of it."""

    kind: Literal["human"]
    queue: Identifier
    sla: Duration
    escalates_to: Identifier


class EffectTask(_Granted):
    """An act that cannot be taken back, permitted once by an approved gate."""

    kind: Literal["effect"]
    gate: Identifier
    amount: FactName
    payee: FactName
    permit: Duration


Task = Annotated[AgentTask | HumanTask | EffectTask, Field(discriminator="kind")]


class Transition(_Part):
    """Where a case goes next, if its guard holds; the last one of a phase has no guard."""

    to: Identifier
    when: GuardText | None = None


class Gate(_Part):
    """A decision under an authority matrix, bound to the facts it was made on."""

    matrix: Identifier
    amount: FactName
    flags: dict[Identifier, FactNames] = Field(default_factory=dict)
    binds: FactNames
    shows: FactNames
    approved: Identifier
    rejected: Identifier
    sent_back: Identifier


class TasksPhase(_Part):
    """A phase of work: it is left when all its tasks are done."""

    tasks: Annotated[dict[Identifier, Task], Field(min_length=1)]
    next: Annotated[tuple[Transition, ...], Field(min_length=1)]


class GatePhase(_Part):
    """A phase in which someone with authority decides."""

    gate: Gate


class EndPhase(_Part):
    """A phase that closes the case with this outcome."""

    end: Outcome


_PHASE_KINDS = {"tasks": TasksPhase, "gate": GatePhase, "end": EndPhase}


def _phase_kind(value: Any) -> str | None:
    if isinstance(value, Mapping):
        kinds = [kind for kind in _PHASE_KINDS if kind in value]
    else:
        kinds = [kind for kind, model in _PHASE_KINDS.items() if isinstance(value, model)]
    return kinds[0] if len(kinds) == 1 else None


Phase = Annotated[
    Annotated[TasksPhase, Tag("tasks")]
    | Annotated[GatePhase, Tag("gate")]
    | Annotated[EndPhase, Tag("end")],
    Discriminator(
        _phase_kind,
        custom_error_type="phase_kind",
        custom_error_message="a phase has exactly one of `tasks` (with `next`), `gate` and `end`",
    ),
]


class DefinitionMetadata(_Part):
    """The name and number a definition is pinned by, and its title for people."""

    name: Identifier
    version: Annotated[StrictInt, Field(ge=1)]
    title: Annotated[str, StringConstraints(min_length=1, max_length=120)]


class ProcessSpec(_Part):
    """The typed facts of a case, where it starts, and its phases."""

    facts: Annotated[dict[FactName, Fact], Field(min_length=1)]
    start: Identifier
    phases: Annotated[dict[Identifier, Phase], Field(min_length=1)]


class ProcessDefinition(_Part):
    """One version of a process, as its owner writes and publishes it."""

    api_version: Annotated[Literal["caseway.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["ProcessDefinition"]
    metadata: DefinitionMetadata
    spec: ProcessSpec
