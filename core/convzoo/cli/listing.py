"""``list``, ``show`` and ``plugins``: what the zoo holds, from data alone. This module imports no torch."""

from __future__ import annotations

import argparse
import fnmatch
import json
from collections import Counter
from collections.abc import Iterator

from convzoo.api import ModelInfo, model_info
from convzoo.cli.tables import billions, millions, table
from convzoo.errors import OptionError, did_you_mean
from convzoo.plugins import Plugins, plugins, registry
from convzoo.specs import Model, parse_value


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the three commands."""
    parser = commands.add_parser("list", help="list models", description="List the models that are installed.")
    parser.epilog = "A GLOB with a slash is of PLUGIN/NAME: 'mine/*'."
    parser.add_argument("words", nargs="*", metavar="GLOB", help="only names that match one of them")
    parser.add_argument(
        "--parts", action="store_true", help="list blocks, attentions, ... instead; a GLOB is of KIND/NAME"
    )
    parser.add_argument("--plugin", help="only what this plugin contributed")
    parser.add_argument("--family", help="only this family")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_list)

    parser = commands.add_parser(
        "show",
        help="show a model stage by stage",
        description="Show a model stage by stage, changed by options, as create_model would build it.",
        epilog="Example: convzoo show resnet50 stem=deep 'attention=se(reduction=8)' --build",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("words", nargs="*", metavar="OPTION=VALUE", help="as for create_model; imports torch")
    parser.add_argument(
        "--build", action="store_true", help="build it without storage, for shapes and counts; imports torch"
    )
    parser.add_argument("--json", action="store_true", help="print the spec as JSON")
    parser.set_defaults(run=run_show)

    parser = commands.add_parser("plugins", help="list plugins", description="List the plugins that are installed.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_plugins)


def run_list(options: argparse.Namespace) -> int:
    """``convzoo list``."""
    if options.parts:
        return _list_parts(options)
    entries = registry()
    for what in ("plugin", "family"):
        choices = {entry.owner.name if what == "plugin" else entry.spec.family for entry in entries.models().values()}
        if (asked := getattr(options, what)) and asked not in choices:
            known = f"{did_you_mean(asked, choices)} Known are {', '.join(sorted(choices))}."
            raise OptionError(f"There are no models of {what} {asked!r}.{known}")
    infos = [
        info
        for info in map(model_info, entries.matching(options.words or ["*"]))
        if options.plugin in (None, info.plugin.name) and options.family in (None, info.spec.family)
    ]
    if options.json:
        print(json.dumps([_summary(info) for info in infos], indent=2))
        return 0
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


def _list_parts(options: argparse.Namespace) -> int:
    if options.family:
        raise OptionError("parts are of no family; leave --family out")
    found = registry().components()
    if options.plugin and options.plugin not in (names := {owner.name for _, owner in found}):
        raise OptionError(
            f"There are no parts of plugin {options.plugin!r}.{did_you_mean(options.plugin, names)}"
            f" Known are {', '.join(sorted(names))}."
        )
    chosen = [
        {"kind": component.kind, "name": component.name, "plugin": owner.name, "summary": component.summary}
        for component, owner in found
        if options.plugin in (None, owner.name)
        and any(
            fnmatch.fnmatchcase(text, glob)
            for glob in options.words or ["*"]
            for text in (f"{component.kind}/{component.name}", component.kind, component.name)
        )
    ]
    if not chosen:
        raise OptionError(f"no part fits {' or '.join(options.words)}; `convzoo list --parts` has all of them")
    if options.json:
        print(json.dumps(chosen, indent=2))
    else:
        print(table(["kind", "name", "plugin", "what it is"], [[*part.values()] for part in chosen]))
        print(f"\n{len(chosen)} parts")
    return 0


def _summary(info: ModelInfo) -> dict[str, object]:
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
    }


def run_show(options: argparse.Namespace) -> int:
    """``convzoo show``."""
    info = model_info(options.name)
    spec = info.spec
    changes = dict(_assignment(text) for text in options.words)
    if changes or info.overrides:
        from convzoo.compose import compose  # imports torch, to read what the parts take

        spec = compose(compose(spec, info.overrides, registry()), changes, registry())
    if options.json:
        print(json.dumps(spec.to_dict(), indent=2))
        return 0
    title = f"{info.name}, of {spec.name}" if info.name.rpartition("/")[2] != spec.name else info.name
    print(f"{title}: {spec.family}, {info.plugin}")
    facts = {"paper": spec.paper, "input": f"{spec.in_chans} x {spec.input_size} x {spec.input_size} ({spec.dataset})"}
    facts["parameters"] = f"{spec.params:,}" if spec.params else ""
    facts["MACs"] = f"{spec.macs:,}" if spec.macs else ""
    facts["equals"] = ", ".join(
        f"{reference.library} {reference.name}" + (" with options" if reference.options else "")
        for reference in spec.references
    )
    facts["also called"] = ", ".join(str(alias) for alias in spec.aliases)
    facts["norm, act"] = f"{spec.norm}, {spec.act}"
    facts["init"] = str(spec.init)
    for key, value in facts.items():
        if value:
            print(f"  {key:<12} {value}")
    print()
    print(_built(spec) if options.build else _outline(spec))
    return 0


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionError(f"{text!r}: options read NAME=VALUE, such as attention=se or 'attention=se(reduction=8)'")
    return name, parse_value(value)


def _lines(spec: Model) -> list[list[str]]:
    rows = [["stem", "", "", str(spec.stem)]]
    for number, stage in enumerate(spec.stages, start=1):
        for place, (count, layer) in enumerate(stage.runs()):
            rows.append([f"stage {number}", str(stage.stride if place == 0 else 1), f"{count} x", str(layer)])
    rows.append(["head", "", "", f"{spec.head}, {spec.num_classes} classes"])
    return rows


def _outline(spec: Model) -> str:
    return table(["", "stride", "", "parts"], _lines(spec), right=("stride",))


def _built(spec: Model) -> str:
    from convzoo.inspection import inspect_stages

    rows = []
    costs = inspect_stages(spec)
    measured = {row.name: row for row in costs}
    for name, stride, count, parts in _lines(spec):
        row = measured.pop(name, None)
        cells = [" x ".join(map(str, row.output)), f"{row.params:,}", f"{row.macs:,}"] if row else ["", "", ""]
        rows.append([name, stride, count, parts, *cells])
    rows.append(["total", "", "", "", "", f"{sum(c.params for c in costs):,}", f"{sum(c.macs for c in costs):,}"])
    header = ["", "stride", "", "parts", "output", "parameters", "MACs"]
    return table(header, rows, right=("stride", "output", "parameters", "MACs"))


SLOW = 1.0
"""Seconds from which a plugin is said to be slow."""


def run_plugins(options: argparse.Namespace) -> int:
    """``convzoo plugins``."""
    found = plugins()
    models = Counter(entry.owner for entry in found.registry.models().values())
    components = Counter(owner for _, owner in found.registry.components())
    rows = [
        {
            "plugin": record.owner.name,
            "distribution": record.owner.distribution,
            "version": record.owner.version,
            "status": record.status,
            "models": models[record.owner],
            "components": components[record.owner],
            "seconds": round(record.seconds, 1),
            "imported_torch": record.imported_torch,
            "error": record.error,
        }
        for record in found.records.values()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    header = [key for key in rows[0] if key not in ("imported_torch", "error")]  # which are told beneath
    cells = [[str(row[key]) for key in header] for row in rows]
    print(table(header, cells, right=("models", "components", "seconds")))
    for note in _notes(found):
        print(f"\n{note}")
    return 0


def _notes(found: Plugins) -> Iterator[str]:
    """What is to be said of plugins beneath their table, and what to do about it."""
    for record in found.records.values():
        disable = f"CONVZOO_DISABLE={found.handle(record.owner)}"
        if record.status == "broken":
            yield f"{record.owner} is broken: {record.error}. Mend, update or uninstall it, or leave it out: {disable}."
        ways = [f"took {record.seconds:.1f} s"] * (record.seconds > SLOW) + ["imported torch"] * record.imported_torch
        if ways:
            yield (
                f"{record.owner} {' and '.join(ways)} on loading, so that every listing is slow. Import torch, and what"
                f" else is slow, only in the modules that its targets name, or leave it out: {disable}."
            )
    if any(record.status == "disabled" for record in found.records.values()):
        yield "Disabled are those that CONVZOO_DISABLE names, or CONVZOO_PLUGINS does not."
    yield from found.registry.ambiguities()
