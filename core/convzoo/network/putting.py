"""Putting weights into a network: everything is decided first, and then all of it is written, or nothing."""

from __future__ import annotations

from typing import Any

from convzoo.errors import WeightsError, require_flag
from convzoo.network.backbone import FeatureNet
from convzoo.network.checkpoints import open_checkpoint
from convzoo.network.fitting import fit
from convzoo.network.forms import other_form
from convzoo.network.keys import COUNTER, bare, network_of
from convzoo.network.model import ConvNet
from convzoo.network.reading import read_under
from convzoo.network.report import LoadReport, warn
from convzoo.network.worlds import Keys
from convzoo.network.writing import write


def put(
    model: ConvNet | FeatureNet,
    source: Any,
    *,
    strict: bool = True,
    classifier: bool | None = None,
    use_ema: bool = True,
    keys: Keys | None = None,
    copy: bool = False,
) -> LoadReport:
    """As :func:`load_weights`; with ``copy``, a model on meta gets copies of tensors that others hold too."""
    strict, use_ema = require_flag("strict", strict), require_flag("use_ema", use_ema)
    classifier = None if classifier is None else require_flag("classifier", classifier)
    model = bare(model)
    network, checkpoint = network_of(model), open_checkpoint(source, use_ema, network_of(model).spec.name)
    # Of a network that was cut, the rest may be in the state dict too; nothing else may.
    cut = model if isinstance(model, FeatureNet) else None
    name = cut.classifier if cut else str(network.get_classifier(name_only=True))
    left_out = cut.left_out if cut else ()
    state = network.state_dict(keep_vars=True)
    reading = read_under(network.spec, checkpoint, state, left_out, name, keys)
    report, chosen, notes = fit(network, state, reading, name, classifier)
    report.entry = checkpoint.entry
    if (strict and not report.fits) or all(key.endswith(COUNTER) for key in chosen):
        amiss = [*report.missing, *report.unexpected, *report.mismatched]
        only = amiss and all(key.startswith(f"{name}.") for key in amiss)
        mend = " All but the classifier fits; load_weights(..., classifier=False) leaves that as it is." if only else ""
        if checkpoint.averaged:
            mend += " These are the averaged weights; use_ema=False takes the others."
        mend += other_form(network, report.missing, report.unexpected)
        raise WeightsError(
            f"The weights in {checkpoint.name} do not fit {network.spec.name}: {report}. The model is unchanged.{mend}"
        )
    warn(notes)
    write(network, state, chosen, copy=copy and not checkpoint.own)
    if checkpoint.input:
        network.tell(checkpoint.input)
        model.default_cfg = network.default_cfg
    return report
