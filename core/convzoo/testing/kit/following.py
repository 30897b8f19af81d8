"""Checks of parts that follow the training, add to the loss, or have another form for inference."""

from __future__ import annotations

import math

import torch
from torch import nn

from convzoo.deploying.deploy import deploy
from convzoo.errors import LifecycleError
from convzoo.network.lifecycle import Regularized, Scheduled, penalty, set_progress
from convzoo.testing.kit.probe import Probe, made_with
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise
from convzoo.testing.kit.runs import changed, close, evaluated, state_of


@promise(*MODULES)
def follows_the_schedule(probe: Probe) -> None:
    """set_progress may come in any steps and jump; what it has done stays, in the state dict of this instance alone.

    The same progress again, or an earlier one, changes nothing.
    """
    walked, jumped, other = made_with(probe, Scheduled), probe.make(), probe.make()
    images = probe.images()
    start, output = state_of(other), evaluated(other, images)
    for percent in range(0, 71):
        set_progress(walked, percent / 100)
    set_progress(jumped, 0.7)
    if names := changed(state_of(walked), jumped.state_dict()):
        raise CheckFailed(
            f"a jump to progress 0.7 and small steps to it end with different {', '.join(names)}",
            means="what a schedule gives depends on how often it is called",
            mend="let set_progress(p) take every step that is due at p",
        )
    before = state_of(walked)
    for progress in (0.7, 0.2, 0.0):
        set_progress(walked, progress)
        if names := changed(before, walked.state_dict()):
            raise CheckFailed(
                f"at 0.7, set_progress({progress}) changes {', '.join(names)}",
                means="a second call, or a restarted loop, undoes or repeats steps",
                mend="do nothing when no further step is due",
            )
    names = changed(start, other.state_dict())
    if names or not torch.equal(evaluated(other, images), output):
        raise CheckFailed(
            f"the progress of one instance changes {', '.join(names) or 'the output'} of another",
            means="two models in one process disturb each other",
            mend="keep the state in buffers of self, not in a class attribute or a global",
        )
    restored = probe.make(seed=1)
    restored.load_state_dict(before)
    for then in (None, 0.7, 1):
        for module in (walked, restored):
            if then is not None:
                set_progress(module, then)
        forms = [_deployed(module) for module in (walked, restored)]
        if (forms[0] is None) != (forms[1] is None):
            one, other = ("it", "one restored from its state dict")[:: 1 if forms[0] else -1]
            raise CheckFailed(
                f"at progress {then or 0.7}, {one} can be deployed, and {other} cannot",
                means="what was trained cannot be deployed from its checkpoint",
                mend="let what is in the state dict decide whether deploy() can start",
            )
        ours, theirs = evaluated(walked, images), evaluated(restored, images)
        if changed(state_of(walked), restored.state_dict()) or not close(theirs, ours, 1e-6):
            raise CheckFailed(
                f"an instance restored from a state dict at 0.7 differs, at progress {then or 0.7}",
                means="a resumed training goes another way",
                mend="keep what the schedule has done in persistent buffers, and let those decide what is still due",
            )


def _deployed(module: nn.Module) -> nn.Module | None:
    try:
        return deploy(module, rewrite=False)
    except LifecycleError:
        return None


@promise(*MODULES)
def penalizes_by_the_rules(probe: Probe) -> None:
    """penalty() is a finite scalar with a gradient at the start of training, and changes nothing."""
    module = made_with(probe, Regularized)
    before = state_of(module)
    set_progress(module, 0)
    term = penalty(module)
    like = next(module.parameters())
    if not isinstance(term, torch.Tensor) or term.ndim or not math.isfinite(float(term.detach())):
        raise CheckFailed(
            f"penalty() gives {term!r}",
            means="loss + weight * penalty(model) is no loss",
            mend="return a tensor of no dimensions: a sum, finite for any weights",
        )
    if term.dtype != like.dtype or term.device != like.device:
        raise CheckFailed(
            f"penalty() is {term.dtype} on {term.device}, its parameters are {like.dtype} on {like.device}",
            means="it cannot be added to the loss where the model is",
            mend="compute it from the parameters themselves",
        )
    if term.requires_grad:
        term.backward()
    if _starts_badly(probe):
        raise CheckFailed(
            "the gradient of penalty() is not finite for weights as they start, or for weights of 0",
            means="training breaks at its first step, or once a weight is 0",
            mend="keep roots away from 0: clamp the squares that go into them",
        )
    if not any(p.grad is not None and p.grad.any() for p in module.parameters()):
        raise CheckFailed(
            "no parameter gets a gradient from penalty()",
            means="the term is in the loss and does nothing",
            mend="compute it from the parameters, without detach() or no_grad()",
        )
    if names := changed(before, module.state_dict()):
        raise CheckFailed(
            f"penalty() changes {', '.join(names)}",
            means="asking for the loss twice is not the same as asking once",
            mend="compute, and write nothing",
        )


def _starts_badly(probe: Probe) -> bool:
    """Whether the penalty of weights as they start, or of zeros, has a gradient that is not finite."""
    for zero in (False, True):
        module = probe.construct()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0 if zero else 1)
        set_progress(module, 0)
        term = penalty(module)
        if term.requires_grad:
            term.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if not (term.isfinite() and all(gradient.isfinite().all() for gradient in gradients)):
            return True
    return False
