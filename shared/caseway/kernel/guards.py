"""Guards of transitions: a total subset of CEL over typed facts.

A guard may compare facts with each other and with literals, ask `in` a list and the three text
questions, and join with `&&`, `||`, `!` and brackets. Arithmetic, conversions, indexes, macros
and escapes are refused at publish time, because each of them can fail or surprise at run time:
a guard that compiles gives true or false for every case. CEL is named in this file alone, behind
three methods: `Guards.compile`, `Guard.names` and `Guard.holds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from cel_expr_python import cel

from caseway.errors import ContractError

GuardType = Literal["boolean", "integer", "text"]

_CEL_TYPES = {"boolean": cel.Type.BOOL, "integer": cel.Type.INT, "text": cel.Type.STRING}
_METHODS = frozenset({".startsWith", ".endsWith", ".contains"})
_WORDS = frozenset({"true", "false", "in"})
_TOKEN = re.compile(
    r"""(?P<text>"[^"\\\n]*"|'[^'\\\n]*')|(?P<number>[0-9]+)"""
    r"""|(?P<name>\.?[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>&&|\|\||[=!<>]=|[<>!()\[\],-])"""
)
_COLUMN = re.compile(r"ERROR: <input>:[0-9]+:[0-9]+: (?P<syntax>Syntax error)?")
# After one of these (or at the start) a minus belongs to a number; elsewhere it is arithmetic.
_BEFORE_NUMBER = frozenset({"", "&&", "||", "==", "!=", "<=", ">=", "<", ">", "(", "[", ",", "in"})


class Comparison(NamedTuple):
    """A fact compared with one text literal, so that a misspelt word is found when published."""

    name: str
    literal: str


@dataclass(frozen=True)
class Guard:
    """A guard that compiled: the facts it reads, and the words it compares them with."""

    text: str
    where: str
    names: frozenset[str]
    comparisons: tuple[Comparison, ...]
    _program: Any = field(repr=False, compare=False)

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Say whether the guard is true of these facts.

        Raises:
            ContractError: MACHINE_FACT_ABSENT or MACHINE_GUARD_FAILED; neither happens to facts
                that were admitted under the definition this guard belongs to.
        """
        for name in sorted(self.names):
            if facts.get(name) is None:
                raise ContractError(
                    f"{self.where}: fact {name!r} is absent, though it was proven to be there; "
                    "the case needs its facts checked by hand",
                    code="MACHINE_FACT_ABSENT",
                    where=self.where,
                )
        try:
            value = self._program.eval(data={name: facts[name] for name in self.names})
        except RuntimeError:
            value = None
        if value is None or value.type() != cel.Type.BOOL:
            raise ContractError(
                f"{self.where}: the guard gives neither true nor false; the type of a fact it "
                "names is not the declared one, and the case needs its facts checked by hand",
                code="MACHINE_GUARD_FAILED",
                where=self.where,
            )
        return bool(value.value())


class Guards:
    """Compiles guards over variables of known types."""

    def __init__(self, types: Mapping[str, GuardType]) -> None:
        self._types = dict(types)
        self._env = cel.NewEnv(variables={n: _CEL_TYPES[t] for n, t in self._types.items()})

    def compile(self, text: str, where: str) -> Guard:
        """Compile a guard, or say what in it cannot be proven.

        Raises:
            ContractError: MACHINE_GUARD_SYNTAX, MACHINE_GUARD_UNKNOWN or MACHINE_GUARD_TYPE.

        Example:
            >>> guard = Guards({"amount_known": "boolean"}).compile("!amount_known", "/when")
            >>> guard.holds({"amount_known": False})
            True
        """
        tokens = list(_tokens(text, where))
        _refuse_partial(tokens, where)
        names = self._names(tokens, where)
        try:
            program = self._env.compile(text)
        except RuntimeError as error:
            raise self._refusal(str(error), where) from None
        if program.return_type() != cel.Type.BOOL:
            raise ContractError(
                f"{where}: the guard is not a condition; compare the fact with a value, so that "
                "it gives true or false",
                code="MACHINE_GUARD_TYPE",
                where=where,
            )
        return Guard(text, where, names, tuple(_comparisons(tokens)), program)

    def _names(self, tokens: list[str], where: str) -> frozenset[str]:
        names = {token for token in tokens if re.match(r"[A-Za-z_]", token) and token not in _WORDS}
        for name in sorted(names - self._types.keys()):
            close = get_close_matches(name, self._types, 1)
            hint = f"did you mean {close[0]!r}?" if close else "declare it, or correct the name"
            raise ContractError(
                f"{where}: {name!r} is not a boolean, text or integer fact; {hint}",
                code="MACHINE_GUARD_UNKNOWN",
                where=where,
            )
        return frozenset(names)

    @staticmethod
    def _refusal(text: str, where: str) -> ContractError:
        # CEL's own text quotes the guard and changes between releases; only its kind is kept.
        found = _COLUMN.search(text)
        if found is None or found["syntax"]:
            return _syntax(where, "the guard is not an expression, or is nested too deeply")
        return ContractError(
            f"{where}: the guard compares values of different types; compare boolean with "
            "boolean, text with quoted text, integer with integer",
            code="MACHINE_GUARD_TYPE",
            where=where,
        )


def _tokens(text: str, where: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        found = _TOKEN.match(text, position)
        if found is None:
            raise _syntax(where, f"a guard has no such character at column {position + 1}")
        yield found.group()
        position = found.end()


def _refuse_partial(tokens: list[str], where: str) -> None:
    """Refuse what CEL would accept but could fail at run time."""
    before = ""
    for token in tokens:
        if token == "-" and before not in _BEFORE_NUMBER:
            raise _syntax(where, "a guard does no arithmetic; let a task compute the fact")
        if before == "-" and not token.isdecimal():
            raise _syntax(where, "a minus stands before a number only")
        if token == "[" and before != "in":
            raise _syntax(where, "a list stands after `in` only")
        if token.startswith(".") and token not in _METHODS:
            raise _syntax(where, f"the text questions are {', '.join(sorted(_METHODS))}")
        if token == "(" and re.match(r"[A-Za-z_]", before):
            raise _syntax(where, "a guard calls no functions")
        before = token


def _comparisons(tokens: list[str]) -> Iterator[Comparison]:
    """The words facts are compared with, in a guard that compiled: both sides are there."""
    for index, token in enumerate(tokens):
        if token in {"==", "!="}:
            before, after = tokens[index - 1], tokens[index + 1]
            for one, other in ((before, after), (after, before)):
                if _is_literal(one):
                    yield Comparison(other, one[1:-1])
        if token == "in":
            listed = tokens[index + 1 : tokens.index("]", index)]
            for one in filter(_is_literal, listed):
                yield Comparison(tokens[index - 1], one[1:-1])


def _is_literal(token: str) -> bool:
    return token[0] in "\"'"


def _syntax(where: str, what: str) -> ContractError:
    return ContractError(
        f"{where}: {what}; write comparisons of facts joined by &&, || and !",
        code="MACHINE_GUARD_SYNTAX",
        where=where,
    )
