"""``convzoo list``: the models, or the parts, from data alone. This module imports no torch."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence

from convzoo.api import ModelInfo, list_models, model_info
from convzoo.cli.tables import (
    PUBLISHED,
    PUBLISHED_RIGHT,
    billions,
    clean,
    columns,
    millions,
    published_row,
    table,
)
from convzoo.errors import OptionError, cut, did_you_mean, listed, shown
from convzoo.globs import matcher
from convzoo.plugins.host import registry
from convzoo.published.rows import published
from convzoo.spec.kinds import KINDS


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("list", help="list models", description="List the models that are installed.")
    parser.add_argument("words", nargs="*", metavar="GLOB", help="only names that match one of them")
    parser.add_argument(
        "--parts", action="store_true", help="list blocks, attentions, ... instead; a GLOB is of KIND/NAME"
    )
    parser.add_argument("--plugin", help="only what this plugin contributed")
    parser.add_argument("--family", help="only this family")
    parser.add_argument(
        "--pretrained", action="store_true", help="only those that weights are published for, with them"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--columns",
        action=argparse.BooleanOptionalAction,
        help="names alone, in columns by family; default: in a terminal, where a line for each model would not fit",
    )
    form.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


SIZE = (100, 24)
"""Letters and lines, where there is no terminal that says how wide it is."""
AROUND = 5
"""Lines of a table beside its rows, and of the prompt."""


def run(options: argparse.Namespace) -> int:
    """``convzoo list``."""
    if options.parts:
        return _list_parts(options)
    entries = registry()
    for what in ("plugin", "family"):
        choices = {entry.owner.name if what == "plugin" else entry.spec.family for entry in entries.models().values()}
        if (asked := getattr(options, what)) is not None and asked not in choices:
            known = f"{did_you_mean(asked, choices)} Known are {listed(choices)}."
            raise OptionError(f"There are no models of {what} {shown(asked)}.{known}")
    infos = [
        info
        for info in map(model_info, matching(options.words or ["*"]))
        if options.plugin in (None, info.plugin.name) and options.family in (None, info.spec.family)
    ]
    if options.pretrained:
        infos = [info for info in infos if published(info.spec.name)]
    if options.json:
        print(json.dumps([_summary(info, options.pretrained) for info in infos], indent=2))
        return 0
    size = shutil.get_terminal_size(SIZE)
    fits = options.pretrained or len(infos) + AROUND <= size.lines
    if sys.stdout.isatty() and not fits if options.columns is None else options.columns:
        families: dict[str, list[str]] = {}
        for info in infos:
            families.setdefault(clean(info.spec.family), []).append(info.name)
        print(columns(dict(sorted(families.items())), size.columns))
        print(f"\n{len(infos)} models by family; --no-columns has a line for each, with its parameters and MACs")
        return 0
    if options.pretrained:
        return _list_published(infos)
    rows = []
    for info in infos:
        spec = info.spec
        aliases = ", ".join(alias.name for alias in spec.aliases)
        counts = millions(spec.params), billions(spec.macs)
        rows.append([info.name, spec.family, info.plugin.name, *counts, str(spec.input_size), aliases])
    header = ["model", "family", "plugin", "parameters", "MACs", "px", "also called"]
    print(table(header, rows, right=("parameters", "MACs", "px")))
    print(f"\n{len(infos)} models; parameters and MACs on one image of the given size")
    return 0


def matching(globs: Sequence[str]) -> list[str]:
    """Canonical names that match any of the globs, and exact names and aliases as they are, without repeats.

    Raises:
        UnknownNameError: one of them matches nothing.
    """
    found: dict[str, None] = {}
    for glob in globs:
        found.update(dict.fromkeys(list_models(glob) or [model_info(glob).name]))
    return list(found)


def _list_published(infos: Sequence[ModelInfo]) -> int:
    header = ["model", *PUBLISHED]
    found = [[info.name, *published_row(row)] for info in infos for row in published(info.spec.name)]
    print(table(header, found, right=PUBLISHED_RIGHT))
    print(
        f"\n{len(found)} sets of weights for {len(infos)} models, as weights= calls them; accuracies are as published"
    )
    return 0


def _list_parts(options: argparse.Namespace) -> int:
    for option in ("family", "columns"):
        if getattr(options, option) is not None:
            raise OptionError(f"parts are of no family; leave --{option} out")
    if options.pretrained:
        raise OptionError("parts have no weights; leave --pretrained out")
    found = registry().components()
    if options.plugin is not None and options.plugin not in (names := {owner.name for _, owner in found}):
        raise OptionError(
            f"There are no parts of plugin {shown(options.plugin)}.{did_you_mean(options.plugin, names)}"
            f" Known are {listed(names)}."
        )
    matches = matcher("GLOB", options.words or ["*"])
    chosen = [
        {"kind": component.kind, "name": component.name, "plugin": owner.name, "summary": component.summary}
        for component, owner in found
        if options.plugin in (None, owner.name)
        and any(map(matches, (f"{component.kind}/{component.name}", component.kind, component.name)))
    ]
    if not chosen:
        raise OptionError(f"no part fits {cut(' or '.join(options.words))}; `convzoo list --parts` has all of them")
    if options.json:
        print(json.dumps(chosen, indent=2))
    else:
        print(table(["kind", "name", "plugin", "what it is"], [[*part.values()] for part in chosen]))
        kinds = [KINDS[name] for name in dict.fromkeys(part["kind"] for part in chosen) if name in KINDS]
        called = [[kind.name, ", ".join((*kind.arguments, *(f"{name}=" for name in kind.honoured)))] for kind in kinds]
        print(f"\n{len(chosen)} parts, called with\n{table(['kind', 'arguments'], called)}")
    return 0


def _summary(info: ModelInfo, rows: bool) -> dict[str, object]:
    """A model as JSON, with its published weights by name, or, if ``rows``, with all that is known of them."""
    spec = info.spec
    reference = spec.reference("timm")
    return {
        "name": info.name,
        "family": spec.family,
        "plugin": info.plugin.name,
        "params": spec.params,
        "macs": spec.macs,
        "input_size": spec.input_size,
        "num_classes": spec.num_classes,
        "aliases": [alias.name for alias in spec.aliases],
        "timm": reference.name if reference and not reference.options else None,
        "paper": spec.paper,
        "pretrained": [dataclasses.asdict(row) if rows else row.name for row in published(spec.name)],
    }
