"""A planted defect as data: a sentence, and a few lines of the product read another way.

An edit names a function of the product, words of its source, and the words put in their place.
Only the function's code is exchanged, so that whoever imported it runs the defect too, and it is
put back afterwards. Words that are no longer there, or are there twice, are an error: the bank
has to follow the product.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from tests.sim.founding import founding


class Edit(NamedTuple):
    """What one function of the product would have to say for the defect to be there."""

    function: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True)
class Defect:
    """What goes wrong, which invariants should notice, and how it is planted.

    `needs_places` is for what shows only between processes with other hash seeds.
    """

    name: str
    wrong: str
    expected: str
    edits: tuple[Edit, ...]
    needs_places: bool = False


class OutOfDate(AssertionError):
    """The product no longer has the words that a defect replaces."""


@contextmanager
def planted(defect: Defect) -> Iterator[None]:
    """Inside, the product has this defect.

    Raises:
        OutOfDate: an edit no longer fits.
    """
    texts: dict[FunctionType, str] = {}
    for edit in defect.edits:
        function = _plain(edit.function)
        text = texts.get(function) or textwrap.dedent(inspect.getsource(function))
        if text.count(edit.old) != 1:
            times = f"{text.count(edit.old)} times in {function.__qualname__}"
            raise OutOfDate(f"{defect.name}: {edit.old!r} is {times}")
        texts[function] = text.replace(edit.old, edit.new)
    made = {function: _compiled(function, text) for function, text in texts.items()}
    kept = {function: function.__code__ for function in made}
    founding.cache_clear()  # what was compiled before is not what the defect makes of it
    try:
        for function, code in made.items():
            function.__code__ = code
        yield
    finally:
        for function, code in kept.items():
            function.__code__ = code
        founding.cache_clear()


def _plain(function: Any) -> FunctionType:
    """The function below a property, a class method or a cache."""
    while not isinstance(function, FunctionType):
        names = ("fget", "__func__", "__wrapped__")
        function = next(getattr(function, n) for n in names if hasattr(function, n))
    return function


def _compiled(function: FunctionType, text: str) -> CodeType:
    tree = ast.parse(text)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list.clear()
    name = f"planted in {function.__module__}"
    module = compile(tree, name, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    code = next(each for each in _codes(module) if each.co_name == function.__name__)
    assert code.co_freevars == function.__code__.co_freevars, "a closure cannot be edited"
    return code


def _codes(code: CodeType) -> Iterator[CodeType]:
    """All that lies within: scopes of type parameters and of annotations stand around or beside."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)
