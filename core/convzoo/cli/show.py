"""``convzoo show``: a model stage by stage. This module imports no torch until options are to be read."""

from __future__ import annotations

import argparse
import json

from convzoo.api import model_info
from convzoo.cli.assignments import assignments
from convzoo.cli.tables import table
from convzoo.plugins.host import registry
from convzoo.spec.model import Model


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="show a model stage by stage",
        description="Show a model stage by stage, changed by options, as create_model would build it.",
        epilog="Example: convzoo show resnet50 stem=deep 'attention=per_stage(None, None, cbam, se)' --build",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("words", nargs="*", metavar="OPTION=VALUE", help="as for create_model; imports torch")
    parser.add_argument(
        "--build", action="store_true", help="build it without storage, for shapes and counts; imports torch"
    )
    parser.add_argument("--json", action="store_true", help="print the spec as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``convzoo show``."""
    info = model_info(options.name)
    spec = info.spec
    changes = assignments(options.words)
    if changes or info.overrides:
        from convzoo.building.compose import compose  # imports torch, to read what the parts take

        spec = compose(spec, registry(), info.overrides, changes)
    if options.json:
        print(json.dumps(spec.to_dict(), indent=2))
        return 0
    parts = _built(spec) if options.build else _outline(spec)  # before anything is printed, since it may be refused
    title = info.name if info.name == spec.name else f"{info.name}, of {spec.name}"
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
    print(parts)
    return 0


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
    from convzoo.cli.inspection import inspect_stages

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
