"""Persons and agents as documents: YAML of kinds Person and Agent, beside the other kinds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from caseway.contracts.control import AgentCard, PersonCard, PublicKeyText
from caseway.contracts.fields import Contract, Identifier
from caseway.errors import ContractError
from caseway_control.documents import API_VERSION, Document, load_document
from caseway_control.yaml_text import Path, YamlText, read_yaml


class _Name(Contract):
    name: Identifier


class _PersonSpec(Contract):
    roles: tuple[Identifier, ...]
    public_key: PublicKeyText


class _AgentSpec(Contract):
    owner: Identifier
    pool: Identifier
    skills: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    public_key: PublicKeyText


class PersonDocument(Contract):
    """A person, as written down."""

    api_version: Annotated[Literal["caseway.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["Person"]
    metadata: _Name
    spec: _PersonSpec

    def card(self) -> PersonCard:
        """What the registry holds of the person."""
        return PersonCard(person_id=self.metadata.name, **self.spec.model_dump())


class AgentDocument(Contract):
    """An agent, as written down."""

    api_version: Annotated[Literal["caseway.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["Agent"]
    metadata: _Name
    spec: _AgentSpec

    def card(self) -> AgentCard:
        """What the registry holds of the agent."""
        return AgentCard(agent_id=self.metadata.name, **self.spec.model_dump())


Published = Document | PersonCard | AgentCard
_MODELS: dict[str, type[PersonDocument] | type[AgentDocument]] = {
    "Person": PersonDocument,
    "Agent": AgentDocument,
}


def load_published(text: str | bytes, source: str) -> Published:
    """What an operator may publish: a document, a person's card or an agent's.

    Raises:
        ContractError: as `load_document`; `where` is `line N column M`.
    """
    written = read_yaml(text, source)
    value = written.value
    kind = value.get("kind") if isinstance(value, dict) else None
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return load_document(text, source)
    try:
        return model.model_validate(value).card()
    except ValidationError as error:
        raise _refused(error, written, source) from None


def card_yaml(card: PersonCard | AgentCard, comment: str) -> str:
    """A card as the document that `load_published` reads, under a comment of one line."""
    spec: dict[str, Any] = card.model_dump()
    kind = "Person" if isinstance(card, PersonCard) else "Agent"
    name = spec.pop("person_id" if kind == "Person" else "agent_id")
    lines = [f"# {comment}", f"apiVersion: {API_VERSION}", f"kind: {kind}"]
    lines += [f"metadata: {{name: {name}}}", "spec:"]
    for key, field in spec.items():
        shown = f"[{', '.join(field)}]" if isinstance(field, tuple) else f'"{field}"'
        lines.append(f"  {key}: {shown}")
    return "\n".join(lines) + "\n"


def _refused(error: ValidationError, written: YamlText, source: str) -> ContractError:
    first = error.errors(include_url=False, include_input=False)[0]
    path: list[str | int] = []
    value: Any = written.value
    for step in first["loc"]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
        path.append(step)
    at: Path = tuple(path)
    place = written.place(at, key=first["type"] == "extra_forbidden")
    code, text = {
        "missing": ("FIELD_MISSING", f"field {first['loc'][-1]} is missing; add it"),
        "extra_forbidden": ("UNKNOWN_FIELD", "is not a field of a card; drop it"),
    }.get(first["type"], ("FIELD_INVALID", first["msg"][:1].lower() + first["msg"][1:]))
    return ContractError(
        f"{source}: {place}: {written.pointer(at)}: {text}", code=code, where=str(place)
    )
