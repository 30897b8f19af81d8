"""Checks of stochastic depth and dropout: what is dropped, how often, and when."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from convzoo.errors import OptionError
from convzoo.spec.kinds import SHARED
from convzoo.testing.kit.cases import all_cases
from convzoo.testing.kit.combinations import Affine, empty_slots
from convzoo.testing.kit.offered import geometries
from convzoo.testing.kit.probe import CLASSES, Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import close, evaluated
from convzoo.testing.kit.watch import Operations, Sums

RATE, HIGH_RATE = 0.3, 0.95
"""Of what is dropped; at the high one, hardly anything is kept."""
SEEDS = 16


@promise("block")
def drops_whole_branches(probe: Probe) -> None:
    """With a drop_path_rate, training drops the branch of whole samples, at every stride, and keeps the mean.

    The shortcut stays, and in eval mode nothing is dropped.
    """
    if not probe.part.declares("drop_path_rate"):
        raise NotApplicable("it does not declare drop_path_rate")
    # So that nothing mixes samples, or bends what is averaged.
    plain: dict[str, Any] = {name: plain_part for name in SHARED if probe.part.declares(name)}
    filled = plain | dict.fromkeys(empty_slots(probe), plain_part)
    cases = [(where, sizes, plain) for where, sizes in geometries(probe) if "drop_path_rate" not in sizes]
    if filled.keys() - plain.keys():
        cases.append((f" with {' and '.join(filled.keys() - plain.keys())} filled", {}, filled))
    for where, sizes, offers in cases:
        try:
            rates = (0.0, RATE, HIGH_RATE)
            never, module, high = (probe.make(**sizes, offers=offers, drop_path_rate=rate) for rate in rates)
        except OptionError:
            continue
        widths = sizes.get("widths") or (None,)
        images = probe.images(batch=8, channels=widths[0])
        if not close(evaluated(module, images), evaluated(never, images), 1e-6):
            raise CheckFailed(
                f"{where.strip() or 'as it stands'}, in eval mode drop_path_rate={RATE} changes the output",
                means="what is measured is another network than the one that was trained",
                mend="drop only `if self.training`, as convzoo.layers.drop_path does, and scale up what is kept",
            )
        outputs = [_trained(module, images, seed) for seed in range(SEEDS)]
        undropped = [_trained(never, images, seed) for seed in range(2)]
        if _sums(never, images) == 0 and where:
            continue  # without a sum there is no branch to drop
        if all(torch.equal(outputs[0], other) for other in outputs[1:]):
            raise CheckFailed(
                f"{where.strip() or 'as it stands'}, it declares drop_path_rate, and drops nothing",
                means="stochastic depth is asked for, and does nothing",
                mend="put convzoo.layers.drop_path(drop_path_rate) at the end of the branch, or do not declare it",
            )
        if "norm" in offers and _norms_what_is_dropped(probe, sizes, images):
            raise CheckFailed(
                f"{where.strip() or 'as it stands'}, a norm stands behind what drop_path_rate drops",
                means="it adds its shift to samples whose branch is dropped, and takes their zeros for data",
                mend="put convzoo.layers.drop_path(drop_path_rate) at the end of the branch, behind its last norm",
            )
        if torch.equal(*undropped):  # else it has randomness of its own
            with Operations() as operations:
                evaluated(never, images)
            mostly = [_trained(high, images, seed) for seed in range(SEEDS)]
            for sample in range(len(images)):
                kept = _Sample([out[sample] for out in outputs], [out[sample] for out in mostly], undropped[0][sample])
                kept.require(linear=not operations.found, where=where.strip() or "as it stands")


class _ZerosSeen(Affine):
    """A norm that sees whether some samples are nothing but zeros, and others are not."""

    seen = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros = x.detach().flatten(1).eq(0).all(1)
        self.seen = self.seen or bool(zeros.any() and not zeros.all())
        return super().forward(x)


def _norms_what_is_dropped(probe: Probe, sizes: dict[str, Any], images: torch.Tensor) -> bool:
    """Whether a norm is given a sample that has been dropped."""
    offers: dict[str, Any] = {"norm": lambda channels, **_: _ZerosSeen(channels)}
    if probe.part.declares("act"):
        offers["act"] = lambda **_: nn.Tanh()  # which leaves zeros only of zeros
    found = {}
    for rate in (0.0, RATE):
        module = probe.make(**sizes, offers=offers, drop_path_rate=rate)
        for seed in range(4):
            _trained(module, images, seed)
        found[rate] = any(isinstance(each, _ZerosSeen) and each.seen for each in module.modules())
    return found[RATE] and not found[0.0]


def plain_part(*_: Any, **__: Any) -> nn.Module:
    """A part that does nothing."""
    return nn.Identity()


def _sums(module: nn.Module, images: torch.Tensor) -> int:
    """How often maps of the output's shape are added up, or put side by side."""
    with Sums() as sums:
        shape = evaluated(module, images).shape
    return sum(each == shape for each in sums.shapes)


def _trained(module: nn.Module, images: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        return module.train()(images)


class _Sample:
    """What one sample's outputs are: at a rate, at a high rate, and where nothing is dropped."""

    def __init__(self, outputs: list[torch.Tensor], mostly: list[torch.Tensor], undropped: torch.Tensor) -> None:
        self.counts = _counted(outputs)
        self.dropped = max(_counted(mostly), key=lambda form: form[1])[0]
        self.undropped = undropped

    def require(self, *, linear: bool, where: str) -> None:
        """Raise CheckFailed unless there are two: without the branch at the rate, else with more of it."""
        forms = len(self.counts)
        scale = max(float(self.undropped.abs().max()), 1e-3)
        if forms > 4:  # which two branches with rates of their own have
            raise CheckFailed(
                f"{where}, drop_path_rate={RATE} gives a sample {forms} outputs in {SEEDS} passes",
                means="it is not stochastic depth, which drops a branch for a whole sample or keeps it",
                mend="draw one number a sample, of shape (N, 1, 1, 1), as convzoo.layers.drop_path does",
            )
        if float(self.dropped.abs().max()) < 1e-6 * scale:
            raise CheckFailed(
                f"{where}, drop_path_rate drops whole samples, the shortcut with the branch",
                means="dropped samples are lost for all layers behind it",
                mend="put convzoo.layers.drop_path(drop_path_rate) at the end of the branch, before the sum",
            )
        if forms != 2:
            return
        kept = [form for form, _ in self.counts if not close(form, self.dropped, 1e-5)]
        if len(kept) != 1:
            raise CheckFailed(
                f"{where}, drop_path_rate={HIGH_RATE} mostly gives an output that drop_path_rate={RATE} never gives",
                means="the rate is not that of dropping",
                mend="keep with probability 1 - drop_path_rate, and divide what is kept by that",
            )
        off = float((self.dropped * RATE + kept[0] * (1 - RATE) - self.undropped).abs().max())
        if linear and off > 1e-3 * scale:
            raise CheckFailed(
                f"{where}, the mean over what drop_path_rate={RATE} gives is off by {off:.3g}",
                means="eval mode computes something else than what training gives on average",
                mend="divide what is kept by 1 - rate, and let no norm stand between dropping and the sum",
            )


def _counted(outputs: list[torch.Tensor]) -> list[tuple[torch.Tensor, int]]:
    """Different outputs, and how often each is there."""
    forms: list[tuple[torch.Tensor, int]] = []
    for output in outputs:
        for number, (form, count) in enumerate(forms):
            if close(output, form, 1e-5):
                forms[number] = form, count + 1
                break
        else:
            forms.append((output, 1))
    return forms


@promise(*(kind for kind in MODULES if kind != "norm"))
def drops_only_in_training(probe: Probe) -> None:
    """If it declares drop_rate, that changes its outputs in training, and not in eval mode."""
    if not probe.part.declares("drop_rate"):
        raise NotApplicable("it does not declare drop_rate")
    for case in all_cases(probe):
        ref = case.geometry.get("ref", probe.ref)
        try:
            never, module = (case.make(ref=ref.with_options(drop_rate=rate)) for rate in (0.0, RATE))
        except OptionError:
            continue
        images = case.images(batch=8)
        if not close(evaluated(module, images), evaluated(never, images), 1e-6):
            raise CheckFailed(
                f"with {case.name}, in eval mode drop_rate={RATE} changes the output",
                means="what is measured is another network than the one that was trained",
                mend="use nn.Dropout, or F.dropout(x, rate, self.training)",
            )
        forms = {"": module}
        if probe.kind == "head":
            with torch.no_grad():
                features = [module.eval()(images, pre_logits=True) for _ in range(2)]
            if not torch.equal(*features):
                raise CheckFailed(
                    f"with {case.name}, in eval mode drop_rate={RATE} drops features that pre_logits gives",
                    means="features of one image differ from run to run",
                    mend="use nn.Dropout, or F.dropout(x, rate, self.training)",
                )
            forms["after reset(), "] = copy.deepcopy(module)
            forms["after reset(), "].reset(CLASSES)
        for when, form in forms.items():
            if all(torch.equal(_trained(form, images, seed), _trained(form, images, seed + 1)) for seed in range(3)):
                raise CheckFailed(
                    f"with {case.name}, {when}it declares drop_rate, and drops nothing",
                    means="dropout is asked for, and does nothing",
                    mend="call dropout with that rate in forward, also after reset(), or do not declare drop_rate",
                )
