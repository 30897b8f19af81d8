"""``convzoo show``: a model stage by stage. This module imports no torch until options are to be read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convzoo.api import build, model_info
from convzoo.cli.assignments import assignments
from convzoo.cli.sources import parts_of, written_in
from convzoo.cli.tables import PUBLISHED, PUBLISHED_RIGHT, published_row, table
from convzoo.errors import OptionError, UnknownNameError, shown
from convzoo.plugins.host import registry
from convzoo.published.rows import published
from convzoo.spec.model import Model

if TYPE_CHECKING:
    from convzoo.cli.inspection import StageCost


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
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--svg", type=Path, metavar="FILE", help="also draw it to FILE, block by block; as --build does")
    form.add_argument("--json", action="store_true", help="print the spec as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``convzoo show``."""
    info = model_info(options.name)
    spec = info.spec
    changes = assignments(options.words)
    if changes or info.overrides:
        from convzoo.building.compose import compose  # imports torch, to read what the parts take

        spec = compose(spec, registry(), info.overrides, changes)
        build(spec, device="meta")  # what the parts themselves refuse, such as a negative eps
    if options.json:
        print(json.dumps(spec.to_dict(), indent=2))
        return 0
    # All of it before anything is printed or written, since it may be refused.
    whole, costs = spec, []
    if options.build or options.svg:
        from convzoo.building.compose import compose
        from convzoo.cli.inspection import inspect_stages

        whole, costs = compose(spec, registry()), inspect_stages(spec)
    parts = _built(spec, costs) if costs else _outline(spec)
    title = info.name if info.name == spec.name else f"{info.name}, of {spec.name}"
    facts = _facts(spec)
    if options.svg:
        from convzoo.cli.drawing import drawing

        changed = ", ".join(options.words)
        beneath = [f"{spec.family}, {info.plugin}", *filter(None, [f"with {changed}" if changed else "", spec.paper])]
        text = drawing(whole, costs, title, beneath)
        try:
            options.svg.write_text(text, encoding="utf-8")
        except ValueError as error:  # such as a name with a NUL
            raise OptionError(f"--svg {shown(str(options.svg))}: no file is called so: {error}") from None
    print(f"{title}: {spec.family}, {info.plugin}")
    for key, value in facts.items():
        print(f"  {key:<12} {value}")
    print(f"\n{parts}\n\n{_places(whole)}")
    if whole is info.spec:
        print("\nthe parts that it names; --build adds those that stand in a slot by default")
    if rows := published(spec.name):
        print("\nPublished weights; the first are those of pretrained=True")
        weights = [[*published_row(row), row.said] for row in rows]
        print(table([*PUBLISHED, "accuracy as of"], weights, right=PUBLISHED_RIGHT))
    if options.svg:
        print(f"\ndrawn in {options.svg}")
    return 0


def _facts(spec: Model) -> dict[str, str]:
    """What is to be said of a network as a whole."""
    equals = (
        f"{reference.library} {reference.name}" + (" with options" if reference.options else "")
        for reference in spec.references
    )
    facts = {
        "paper": spec.paper,
        "input": f"{spec.in_chans} x {spec.input_size} x {spec.input_size} ({spec.dataset})",
        "parameters": f"{spec.params:,}" if spec.params else "",
        "MACs": f"{spec.macs:,}" if spec.macs else "",
        "equals": ", ".join(equals),
        "also called": ", ".join(map(str, spec.aliases)),
        "norm, act": f"{spec.norm}, {spec.act}",
        "init": str(spec.init),
    }
    return {key: value for key, value in facts.items() if value}


def _places(spec: Model) -> str:
    """In which file each part is written, and whose it is."""
    rows = []
    for kind, name in parts_of(spec):
        try:
            component, owner = registry().component(kind, name)
            rows.append([kind, name, owner.name, written_in(component)])
        except UnknownNameError:  # a model can be shown whose parts are not all there
            rows.append([kind, name, "-", "not installed, or kept out"])
    return table(["kind", "part", "plugin", "written in"], rows)


def _lines(spec: Model) -> list[list[str]]:
    rows = [["stem", "", "", str(spec.stem)]]
    for number, stage in enumerate(spec.stages, start=1):
        for place, (count, layer) in enumerate(stage.runs()):
            rows.append([f"stage {number}", str(stage.stride if place == 0 else 1), f"{count} x", str(layer)])
    rows.append(["head", "", "", f"{spec.head}, {spec.num_classes} classes"])
    return rows


def _outline(spec: Model) -> str:
    return table(["", "stride", "", "parts"], _lines(spec), right=("stride",))


def _built(spec: Model, costs: Sequence[StageCost]) -> str:
    rows = []
    measured = {row.name: row for row in costs}
    for name, stride, count, parts in _lines(spec):
        row = measured.pop(name, None)
        cells = [" x ".join(map(str, row.output)), f"{row.params:,}", f"{row.macs:,}"] if row else ["", "", ""]
        rows.append([name, stride, count, parts, *cells])
    rows.append(["total", "", "", "", "", f"{sum(c.params for c in costs):,}", f"{sum(c.macs for c in costs):,}"])
    header = ["", "stride", "", "parts", "output", "parameters", "MACs"]
    return table(header, rows, right=("stride", "output", "parameters", "MACs"))
