"""Where a part is written: the file and the line of its code, found without importing it, and so without torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from convzoo.errors import shown
from convzoo.spec.contributions import Component
from convzoo.spec.model import PARTS, Model
from convzoo.spec.refs import PerStage, Ref

LONGEST_CHAIN = 8
"""Modules that a name may be handed on through before its code."""


def parts_of(spec: Model) -> list[tuple[str, str]]:
    """``(kind, name)`` of every part that a spec names, each once: the stem, the layers, then the rest."""
    stem, *others = PARTS
    found = dict.fromkeys(_named(stem, getattr(spec, stem)))
    for stage in spec.stages:
        for _, layer in stage.runs():
            found.update(dict.fromkeys(_named("block", layer)))
    for kind in others:
        found.update(dict.fromkeys(_named(kind, getattr(spec, kind))))
    return list(found)


def _named(kind: str, value: Any) -> Iterator[tuple[str, str]]:
    """The part that is the value of an option, and those in its slots."""
    if isinstance(value, Ref):
        yield kind, value.name
        for option, each in value.options.items():
            yield from _named(option, each)
    elif isinstance(value, PerStage):
        for each in value.values:
            yield from _named(kind, each)


def written_in(component: Component) -> str:
    """``file:line`` of a part's code, relative to the working directory if it is in there.

    Where there is no file, as of a class that was typed in, it is ``module:name``.
    """
    target = component.target
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        place = _definition(module, attribute) or _file(module)
        called = target
    else:
        place = _of_object(target)
        name = getattr(target, "__qualname__", None)
        called = f"{target.__module__}:{name}" if isinstance(name, str) else shown(target)
    if place is None:
        return called
    path, line = place
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}{f':{line}' if line else ''}"


def _of_object(target: Any) -> tuple[Path, int] | None:
    try:
        file, (_, line) = inspect.getsourcefile(target), inspect.findsource(target)
    except Exception:  # whatever can be called is a target, and inspect expects classes and functions
        return None
    return (Path(file), line + 1) if file and Path(file).is_file() else None


def _file(module: str) -> tuple[Path, int] | None:
    """The file of a module, and no line."""
    spec = _spec(module)
    return (Path(spec.origin), 0) if spec and spec.origin and spec.has_location else None


def _definition(module: str, name: str, chain: int = LONGEST_CHAIN) -> tuple[Path, int] | None:
    """Where a module, or the one that it has the name from, defines it; None if the text does not say so."""
    place = _file(module) if chain else None
    spec = _spec(module)
    if place is None or spec is None:
        return None
    path, _ = place
    try:
        statements = list(_statements(ast.parse(path.read_bytes()).body))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    stars = []
    for node in reversed(statements):  # the last one holds
        match node:
            case ast.FunctionDef(name=defined) | ast.AsyncFunctionDef(name=defined) | ast.ClassDef(name=defined):
                found = defined == name
            case ast.Assign(targets=targets):
                found = any(isinstance(target, ast.Name) and target.id == name for target in targets)
            case ast.AnnAssign(target=ast.Name(id=assigned)):
                found = assigned == name
            case ast.ImportFrom(module=origin, names=names, level=level):
                origin = _absolute("." * level + (origin or ""), spec.parent)
                for alias in names:
                    if alias.name == "*":
                        stars.append(origin)
                    elif (alias.asname or alias.name) == name:
                        return _definition(origin, alias.name, chain - 1)
                continue
            case _:
                continue
        if found:
            return path, node.lineno
    return next(filter(None, (_definition(origin, name, chain - 1) for origin in stars)), None)


def _absolute(module: str, package: str | None) -> str:
    """The name of a module that a package calls ``module``, with leading dots or without; empty if it has none."""
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:
        return ""


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, and those under its ``if`` and ``try``."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _statements(each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt))


def _spec(module: str) -> ModuleSpec | None:
    """A module's spec; unlike ``importlib.util.find_spec``, this imports no package that it is in."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__spec__", None)
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for name in rest:
            inside = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(f"{spec.name}.{name}", inside) if spec and inside is not None else None
    except (ImportError, ValueError):
        return None
    return spec
