"""Checks of parts that follow the training, add to the loss, or have another form for inference."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.errors import LifecycleError, OptionError
from convzoo.network.lifecycle import Deployable, Regularized, Scheduled, deploy, penalty, set_progress
from convzoo.spec.refs import ref
from convzoo.testing.kit.behaviour import ROUNDING
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import changed, close, difference, evaluated, seeded, state_of, step
from convzoo.testing.kit.surroundings import changed_settings


def _made_with(probe: Probe, protocol: Any) -> nn.Module:
    module: nn.Module = probe.make()
    if not any(isinstance(each, protocol) for each in module.modules()):
        raise NotApplicable(f"it is not {protocol.__name__}")
    return module


@promise(*MODULES)
def follows_the_schedule(probe: Probe) -> None:
    """set_progress may come in any steps and jump; what it has done stays, in the state dict of this instance alone.

    The same progress again, or an earlier one, changes nothing.
    """
    walked, jumped, other = _made_with(probe, Scheduled), probe.make(), probe.make()
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
        ours, theirs = evaluated(walked, images), evaluated(restored, images)
        if changed(state_of(walked), restored.state_dict()) or not close(theirs, ours, 1e-6):
            raise CheckFailed(
                f"an instance restored from a state dict at 0.7 differs, at progress {then or 0.7}",
                means="a resumed training goes another way",
                mend="keep what the schedule has done in persistent buffers, and let those decide what is still due",
            )


@promise(*MODULES)
def penalizes_by_the_rules(probe: Probe) -> None:
    """penalty() is a finite scalar with a gradient at the start of training, and changes nothing."""
    module = _made_with(probe, Regularized)
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


NORMS = ((ref("batch"), False), (ref("batch", eps=1e-3), True), (ref("group"), False), (ref("none"), False))
"""The norms that deploy() is tried with, and whether their running variances are about 0."""


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


@promise(*MODULES)
def deploys_by_the_rules(probe: Probe) -> None:
    """deploy() gives the eval outputs, in tensors of its own; it leaves the original alone, and may be called again.

    Unfinished, it is refused or exact.
    """
    _made_with(probe, Deployable)
    usual = probe.cases()
    for case, progress, (norm, tiny) in itertools.product(probe.all_cases(), (0, 1), NORMS):
        if case not in usual and (progress == 0 or not tiny):
            continue
        offers = {"norm": Factory(probe.registry, "norm", norm, {})} if probe.part.declares("norm") else {}
        try:
            module = case.make(offers=offers).double().train()
        except OptionError:
            continue
        step(module, case.images(batch=2, seed=3).double())
        if tiny:
            _shrink_variances(module)
        set_progress(module, progress)
        before = state_of(module)
        try:
            deployed = deploy(module)
        except LifecycleError as error:
            if progress == 0:
                continue
            raise CheckFailed(
                f"with {case.name}, it cannot be deployed when the training is done: {error}",
                means="nobody gets its faster form",
                mend="let set_progress(1) bring it to where deploy() can start",
            ) from error
        except Exception as error:
            raise CheckFailed(
                f"with {case.name} and norm={norm}, deploy() fails: {type(error).__name__}: {error}",
                means="models with it cannot be deployed with every norm",
                mend="where the norm cannot be folded, give copy.deepcopy(self)",
            ) from error
        if held := [name for name, tensor in deployed.state_dict(keep_vars=True).items() if tensor.grad_fn]:
            raise CheckFailed(
                f"with {case.name}, {', '.join(held)} of the deployed form keeps the graph that it was computed by",
                means="the weights of the original stay in memory, and copies of the deployed form fail",
                mend="put @torch.no_grad() before deploy(), and wrap weights in nn.Parameter",
            )
        shared = []
        for each in list(module.modules()):
            if isinstance(each, Deployable):
                shared += _shared(each, each.deploy())  # type: ignore[arg-type]
        if left := changed_settings():
            raise CheckFailed(
                f"with {case.name}, deploy() changes {', '.join(left)}",
                means="what the process does next goes another way",
                mend="change settings only within a with statement, such as torch.no_grad()",
            )
        images = case.images().double()
        ours = evaluated(copy.deepcopy(module), images)
        with_norm = f" and norm={norm}" + ", and variances near 0" * tiny
        forms = [
            ("the deployed form", deployed),
            ("a second one", deploy(module)),
            ("its own deployed form", deploy(deployed)),
        ]
        for what, form in forms:
            if not close(evaluated(form, images), ours, ROUNDING):
                raise CheckFailed(
                    f"with {case.name}{with_norm}, at progress {progress} {what} differs by"
                    f" {difference(evaluated(form, images), ours):.3g}",
                    means="the accuracy that was measured is not the one that is shipped",
                    mend="compute the same as in eval mode, with each norm's own eps; raise convzoo.LifecycleError,"
                    " with the progress at which it will be possible, where that cannot be yet",
                )
        with torch.no_grad():
            for tensor in deployed.state_dict().values():
                tensor.zero_()
        names = changed(before, module.state_dict())
        if names or shared or not all(each.training for each in module.modules()):
            raise CheckFailed(
                f"with {case.name}, deploying, or what is done to the deployed form, changes"
                f" {', '.join(names or shared) or 'the mode'} of the original",
                means="a training that goes on after a look at the deployed form goes wrong",
                mend="build a new module from copies of the tensors",
            )


def _shared(module: nn.Module, deployed: nn.Module) -> list[str]:
    """Names of the tensors that are in both."""
    own = {tensor.data_ptr() for tensor in deployed.state_dict().values() if tensor.numel()}
    return [name for name, tensor in module.state_dict().items() if tensor.numel() and tensor.data_ptr() in own]


def _shrink_variances(module: nn.Module) -> None:
    """Give running variances the size of a norm's eps, which then counts."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.linspace(1e-7, 1e-4, buffer.numel()).view_as(buffer))


@promise("init")
def starts_tensors_of_the_model(probe: Probe) -> None:
    """It gives pairs (tensor, fill) of the model's own tensors; a fill leaves finite values, the same for one seed."""
    depthwise, pointwise = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 1, 1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), depthwise, nn.Conv2d(8, 8, 3, groups=2), pointwise, nn.Linear(8, 4)
    )
    own = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    for tensor, fill in Factory(probe.registry, "init", probe.ref, {})(model):
        known = id(tensor) in own
        filled: list[torch.Tensor] = []
        before = state_of(model)
        for attempt in (0, 1, 1):
            with torch.no_grad(), seeded(len(filled)):
                torch.default_generator.manual_seed(attempt)
                fill(tensor)
            filled.append(tensor.detach().clone())
        if others := [name for name in changed(before, model.state_dict()) if known and name != own[id(tensor)]]:
            raise CheckFailed(
                f"the fill of {own[id(tensor)]} changes {', '.join(others)}",
                means="tensors start otherwise than it says, or twice",
                mend="let a fill work on the tensor that it is given; a lambda in a loop sees the loop's last value",
            )
        if tensor.isfinite().all() and not torch.equal(filled[1], filled[2]):
            raise CheckFailed(
                f"after torch.manual_seed, it fills {own.get(id(tensor), 'a tensor')} with other values each time",
                means="no training can be repeated",
                mend="draw with torch's functions, without a generator of your own",
            )
        if tensor.dim() > 1 and len(tensor) > 1 and known and torch.equal(tensor, tensor[:1].expand_as(tensor)):
            raise CheckFailed(
                f"it fills {own[id(tensor)]} with the same values for every channel",
                means="all channels compute and learn the same",
                mend="draw the weights of convolutions and linear layers at random",
            )
        if not known or not tensor.isfinite().all():
            raise CheckFailed(
                "it fills a tensor " + ("with values that are not finite" if known else "that is not the model's"),
                means="networks do not start as it says",
                mend="yield (parameter, fill) for parameters of model.modules(), with a fill of torch.nn.init",
            )
