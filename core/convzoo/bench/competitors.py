"""The two networks of a cell, with the same weights where they can be carried over, and what shows that they are equal.

Norms are jittered first: a fresh network's branches end in a scale of 0, behind which everything is equal.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from convzoo.api import create_model, model_info
from convzoo.bench.cells import Cell, Competitor, read_options
from convzoo.bench.inputs import examine, images_of
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.rewrites import rewrites_for
from convzoo.errors import ConvzooError, SpecError, WeightsError
from convzoo.network.counting import count
from convzoo.network.lifecycle import set_progress
from convzoo.network.weights import load_weights
from convzoo.spec.references import Reference
from convzoo.testing.numerics import jitter_norms, largest_difference
from convzoo.testing.parity import reference_model
from convzoo.testing.transplant import TransplantError, transplant

BOUNDS = {"float64": 1e-10, "float32": 1e-4, "bfloat16": 5e-2, "float16": 2e-2}
"""By type, the largest difference of outputs, by the largest output, that counts as equal."""
SMALL = 64
"""Pixels of the image that a transplant is tried on."""


@dataclass
class Pair:
    """``ours``, ``theirs`` and ``twin`` in float32 and eval mode, on the cell's device, and the row's ``work``."""

    ours: nn.Module
    theirs: nn.Module
    twin: nn.Module
    work: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


def create(competitor: Competitor, rival: Competitor | None = None) -> Any:
    """A fresh network of a competitor, on the processor.

    Args:
        competitor: what to make.
        rival: of another library, whose options of the same network it gets, such as timm's way of dilating.

    Raises:
        ConvzooError: it cannot be made.
    """
    if competitor.library != "convzoo":
        return reference_model(_reference(competitor))
    overrides: dict[str, Any] = {}
    if rival is not None and rival.library != "convzoo":
        reference = model_info(competitor.name).spec.reference(rival.library)
        overrides = dict(reference.overrides) if reference and reference.name == rival.name else {}
    return create_model(competitor.name, **{**overrides, **read_options(competitor.options)})


def build_pair(cell: Cell, seed: int = 0) -> Pair:
    """The networks of a cell, and what was found out about their work.

    Args:
        cell: of which.
        seed: of the weights, the jitter and the images.

    Raises:
        ConvzooError: a network cannot be made, or computes numbers that nothing should be timed on.
        RuntimeError: torch's own, such as that memory is out.
    """
    torch.manual_seed(seed)
    device, settings = torch.device(cell.settings.device), cell.settings
    theirs, ours = create(cell.theirs, cell.ours), create(cell.ours, cell.theirs)
    for network in (theirs, ours):
        jitter_norms(network)
        if "deployed" in (cell.ours.form, cell.theirs.form) and cell.ours.library == "convzoo":
            _as_trained(network)
    channels = model_info(cell.ours.name).spec.in_chans
    shape = (channels, settings.image_size, settings.image_size)
    carried = carry_over(cell, ours, theirs, channels)
    theirs, ours = (
        deployed_by(network, rewrites_for(settings.engine))[0] if competitor.form == "deployed" else network.eval()
        for network, competitor in ((theirs, cell.theirs), (ours, cell.ours))
    )
    theirs, ours = theirs.to(device), ours.to(device)
    images = images_of(2, settings.image_size, channels, seed).to(device)
    found = examine(ours, images, cell.ours.label), examine(theirs, images, cell.theirs.label)
    counts = count(ours, shape), count(theirs, shape)
    work: dict[str, Any] = {
        "carried": carried,
        "ours": counts[0]._asdict(),
        "theirs": counts[1]._asdict(),
        "values": {key: max(each.to_dict()[key] for each in found) for key in found[0].to_dict()},
        "outputs": None,
        "timed": None,
    }
    if carried:
        with torch.no_grad(), full_precision():
            work["outputs"] = difference(ours(images), theirs(images), "float32")
    work.update(judged(work, cell))
    remarks = dict.fromkeys(each.remark() for each in found if each.remark())
    return Pair(ours, theirs, copy.deepcopy(ours), work, ", ".join(remarks))


def judged(work: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """``same`` and ``why`` of a row's ``work``."""
    differ = [
        f"{label} {work['ours'][key]:,} against {work['theirs'][key]:,}"
        for key, label in (("params", "parameters"), ("macs", "MACs"))
        if work["ours"][key] != work["theirs"][key]
    ]
    outputs = [each for each in (work["outputs"], work["timed"]) if each]
    wrong = [each for each in outputs if not each["relative"] <= each["bound"]]
    equal = "outputs are equal"
    if wrong:
        differ.append(f"outputs differ by {wrong[0]['relative']:.1e} of the largest, the bound is {wrong[0]['bound']}")
    elif differ and outputs:
        differ.append(equal)
    if differ:
        return {"same": False, "why": ", ".join(differ)}
    if not outputs:
        return {"same": None, "why": "parameters and MACs are equal; weights could not be carried over to compare more"}
    return {"same": True, "why": ""}


def carry_over(cell: Cell, ours: Any, theirs: nn.Module, channels: int) -> str | None:
    """Give ours the weights of theirs, if there is a way, and say which."""
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    if cell.theirs.library == "convzoo":
        if (cell.theirs.name, cell.theirs.options) == (cell.ours.name, cell.ours.options):
            ours.load_state_dict(state)
            return "same weights"
    elif not cell.ours.options:
        try:
            load_weights(ours, state)
            return "key map"
        except WeightsError:
            pass
    sizes = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    if sizes[0] != sizes[1]:
        return None
    try:
        return "transplant" if transplant(theirs, ours, images_of(2, SMALL, channels)).equal else None
    except (TransplantError, RuntimeError):
        return None


def difference(ours: Any, theirs: Any, dtype: str) -> dict[str, float]:
    """``absolute``, ``relative`` and ``bound`` of two outputs, which may be numpy's."""
    pair = [torch.as_tensor(each).detach().cpu().double() for each in (ours, theirs)]
    if pair[0].shape != pair[1].shape:
        return {"absolute": float("inf"), "relative": float("inf"), "bound": BOUNDS[dtype]}
    found = largest_difference({"output": pair})
    return {"absolute": found.absolute, "relative": found.relative, "bound": BOUNDS[dtype]}


class full_precision:
    """Within it CUDA computes float32 in float32."""

    def __enter__(self) -> None:
        self._before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *error: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before


def _as_trained(network: nn.Module) -> None:
    """What is scheduled is brought to the end of its training, before which it may have no deployed form."""
    set_progress(network, 1.0)


def _reference(competitor: Competitor) -> Reference:
    try:
        return Reference(competitor.library, competitor.name, read_options(competitor.options))
    except SpecError as error:
        raise ConvzooError(f"{competitor.label}: {error}") from None
