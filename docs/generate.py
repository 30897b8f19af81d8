"""Writes ``docs/reference.md`` from the docstrings: ``python docs/generate.py``."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from convzoo.building.parts import read
from convzoo.plugins import hook
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS
from convzoo.testing.kit.promises import ANY, MAPS, MODULES, PROMISES

PAGE = Path(__file__).parent / "reference.md"

MODULE_NAMES = (
    "convzoo",
    "convzoo.testing",
    "convzoo.layers",
    "convzoo.layouts",
    "convzoo.dialects",
    "convzoo.published.rows",
    "convzoo.resnet.blocks",
    "convzoo.resnet.stems",
    "convzoo.resnet.heads",
    "convzoo.network.model",
    "convzoo.network.classifier",
    "convzoo.network.features",
    "convzoo.network.backbone",
    "convzoo.network.lifecycle",
    "convzoo.deploying.deploy",
    "convzoo.deploying.convolution",
    "convzoo.network.checkpointing",
    "convzoo.network.following",
    "convzoo.network.training",
    "convzoo.network.weights",
    "convzoo.network.keys",
    "convzoo.network.counting",
    "convzoo.exporting.export",
    "convzoo.testing.numerics",
    "convzoo.bench.results",
    "convzoo.timm",
)
"""What users and authors may rely on, in the order of the page."""

ENVIRONMENT = """| variable | meaning |
|---|---|
| `CONVZOO_PLUGINS` | only the plugins named here are used, separated by commas; empty: none |
| `CONVZOO_DISABLE` | the plugins named here are kept out |
| `CONVZOO_STRICT` | `1`: a broken plugin raises instead of being skipped |

A name in them that no plugin has, and another value than `0` and `1`, gets a warning; so does a pattern that fails."""


def public(module: ModuleType) -> dict[str, Any]:
    """What a module offers: its ``__all__``; or the functions and classes that it defines, or imports ``x as x``."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    offered = {name for name in vars(module) if not name.startswith("_")}
    imports = (node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom))
    handed_on = {alias.name for node in imports for alias in node.names if alias.asname == alias.name}
    return {
        name: value
        for name, value in vars(module).items()
        if name in offered
        and (inspect.isclass(value) or inspect.isfunction(value))
        and (value.__module__ == module.__name__ or name in handed_on)
    }


def documented(text: str) -> str:
    """A docstring as Markdown: cross-references as code, sections as lists."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", inspect.cleandoc(text)).replace("``", "`")
    lines: list[str] = []
    section = False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Attributes|Raises|Returns):", line):
            section = True
            lines += ["", f"*{line.rstrip(':')}*", ""]
        elif section and (match := re.match(r"    (\S[^:]*): (.*)", line)):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif section and line.startswith("    "):
            lines.append(("  " if lines[-1].startswith(("- ", "  ")) else "") + line.strip())
        else:
            section = section and not line
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def signature(value: Any) -> str:
    """Names and defaults, without types, which the text says."""
    parameters = []
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:
        return ""
    for parameter in found:
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        default = parameter.default
        shown = f"={getattr(default, '__name__', None) or repr(default)}" if default is not parameter.empty else ""
        name = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name
        parameters.append(name + shown)
    return f"({', '.join(parameters)})"


def entry(name: str, value: Any) -> Iterator[str]:
    """A heading and the docstring; of a class, those of its methods too."""
    callable_ = callable(value) and not (inspect.isclass(value) and issubclass(value, (Exception, Warning)))
    yield f"### `{name}{signature(value) if callable_ else ''}`"
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        yield "The marker for a plugin's `convzoo_contribute`." if name == "hookimpl" else f"`{value}`"
        return
    yield documented(value.__doc__ or "")
    if inspect.isclass(value):
        for method, function in vars(value).items():
            public = not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, classmethod))
            if public and function.__doc__ and method != "forward":
                yield f"**`.{method}{signature(getattr(value, method))}`**  \n{documented(function.__doc__)}"


def constants(module: ModuleType) -> Iterator[str]:
    """What a module defines in capitals, or names as a type, with the string that follows it."""
    body = ast.parse(inspect.getsource(module)).body
    for node, after in itertools.pairwise(body):
        match node, after:
            case (
                ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)),
                ast.Expr(ast.Constant(str(text))),
            ) if not name.startswith("_"):
                yield f"### `{name}`"
                yield documented(text)


def parts() -> Iterator[str]:
    """Every first-party component by kind: those of the core with their texts, the plugins' with their summaries."""
    found = [each for each in registry().components() if normalized(each[1].distribution) in first_party()]
    for kind in dict.fromkeys(component.kind for component, _ in found):
        yield f"### Kind `{kind}`"
        rows = ["| name | plugin | what it is | options |", "|---|---|---|---|"]
        texts = []
        for component, owner in found:
            if component.kind != kind:
                continue
            target = component.load()
            part = read(component, owner)
            shown = [
                name
                if (default := part.signature.parameters[name].default) is inspect.Parameter.empty
                else f"{name}={getattr(default, '__name__', None) or repr(default)}"
                for name in part.options
            ]
            rows.append(f"| `{component.name}` | {owner.name} | {component.summary} | `{', '.join(shown) or 'none'}` |")
            if owner.name == "builtin" and target.__module__.startswith("convzoo"):
                texts.append(f"**`{component.name}`**: {documented(target.__doc__ or '')}")
        yield "\n".join(rows)
        yield from texts


def kinds() -> Iterator[str]:
    """The table of kinds."""

    def code(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names) or "nothing"

    yield "| kind | called with | honoured, or refused if not 1 | offered to who declares it | gives |"
    yield "|---|---|---|---|---|"
    for kind in KINDS.values():
        columns = (code(kind.arguments), code(kind.honoured), code(kind.offered), kind.gives)
        yield f"| `{kind.name}` | {' | '.join(columns)} |"


def promises() -> Iterator[str]:
    """The table of checks."""
    yield "| check | of | promise |\n|---|---|---|"
    names = {MODULES: "all kinds of modules", MAPS: "all of feature maps", (ANY,): "every component"}
    for p in PROMISES:
        yield f"| `{p.name}` | {names.get(p.binds, ', '.join(p.binds))} | {p.text} |"


def reference() -> str:
    """The whole page."""
    page = ["# Reference", "Written from the docstrings by `make reference`."]
    contents = ["The hook and the kinds", "Checks", "Parts", *(f"`{name}`" for name in MODULE_NAMES), "Environment"]
    page.append(" · ".join(contents))
    page += ["## The hook and the kinds", "### `convzoo_contribute()`"]
    page += [documented(hook.convzoo_contribute.__doc__ or ""), "\n".join(kinds())]
    page += ["## Checks", "What `convzoo check` and `convzoo.testing.conformance` examine.", "\n".join(promises())]
    page += ["## Parts", "What fits where, and the options of each with their defaults.", *parts()]
    for name in MODULE_NAMES:
        module = importlib.import_module(name)
        page += [f"## `{name}`", documented(module.__doc__ or "")]
        for each, value in public(module).items():
            page += entry(each, value)
        page += constants(module)
    page += ["## Environment", ENVIRONMENT]
    return "\n\n".join(page) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE}")
