"""Deciding what of a checkpoint goes into a network, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from convzoo.errors import first_of
from convzoo.network.inputs import RGB, for_images
from convzoo.network.keys import COUNTER
from convzoo.network.model import ConvNet
from convzoo.network.reading import Reading
from convzoo.network.report import LoadReport
from convzoo.network.values import Misfit, ShapeMisfit, fitted, plain


def fit(
    network: ConvNet, wanted: Mapping[str, Any], reading: Reading, classifier: str, wish: bool | None
) -> tuple[LoadReport, dict[str, Any], list[str]]:
    """What becomes of each value, the values to write by the network's keys, and what to warn of.

    Args:
        network: what they are for.
        wanted: its state dict.
        reading: the values.
        classifier: name of the network's classifier, or of the one it would have.
        wish: whether the classifier is wanted; None: if it has the same shape.
    """
    in_chans = network.spec.in_chans
    report = LoadReport(reading.dialect, unexpected=reading.rest)
    chosen: dict[str, Any] = {}
    misfits: dict[str, Misfit] = {}
    for key, tensor in wanted.items():
        if key not in reading.found:
            report.missing += [] if key.endswith(COUNTER) else [key]
        elif not isinstance(tensor, torch.Tensor):  # what a part keeps beside its tensors
            chosen[key] = reading.found[key]
        else:
            try:
                given = plain(reading.found[key])
                value = for_images(key, given, tensor, in_chans)
                chosen[key] = fitted(value, tensor)
                report.adapted += [] if value is given else [key]
            except Misfit as misfit:
                misfits[key] = misfit

    notes = []
    if report.adapted:
        how = "summed over red, green and blue" if in_chans == 1 else f"repeated, and scaled by {RGB}/{in_chans}"
        notes.append(
            f"{', '.join(report.adapted)} is for RGB images; for in_chans={in_chans} it is {how}, as timm does."
        )
    own = [key for key in wanted if key.startswith(f"{classifier}.")]
    other = {key: misfit for key, misfit in misfits.items() if key in own and isinstance(misfit, ShapeMisfit)}
    if wish is None and other:
        notes.append(
            f"The classifier of {network.spec.name} is left as it is, since that of the weights has another shape:"
            f" {_listed(other)}. To take it, build the network with the num_classes that the weights have;"
            " load_weights(..., classifier=False) leaves it out without this warning."
        )
    if wish is False or not own or (wish is None and other):
        report.left_out = own
        report.missing = [key for key in report.missing if key not in own]
        report.unexpected = [key for key in reading.rest if key not in reading.classifier]
        chosen, misfits = ({key: v for key, v in each.items() if key not in own} for each in (chosen, misfits))
    report.mismatched = [f"{key} ({misfit})" for key, misfit in misfits.items()]
    report.used = list(chosen)
    return report, chosen, notes


def _listed(misfits: Mapping[str, Misfit]) -> str:
    return ", ".join(first_of([f"{key} ({misfit})" for key, misfit in misfits.items()]))
