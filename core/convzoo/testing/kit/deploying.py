"""Checks of parts that have another form for inference."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.deploying.deploy import deploy
from convzoo.errors import LifecycleError, OptionError
from convzoo.network.lifecycle import Deployable, set_progress
from convzoo.spec.refs import ref
from convzoo.testing.kit.behaviour import ROUNDING
from convzoo.testing.kit.case import Case
from convzoo.testing.kit.cases import all_cases, usual_cases
from convzoo.testing.kit.probe import Probe, made_with
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise
from convzoo.testing.kit.runs import changed, close, difference, evaluated, state_of, step
from convzoo.testing.kit.surroundings import changed_settings

OFFERS = (
    ({"norm": ref("batch")}, False),
    ({"norm": ref("batch", eps=1e-3)}, True),
    ({"norm": ref("group")}, False),
    ({"norm": ref("none")}, False),
    ({"norm": ref("batch"), "act": ref("prelu", init=0.1)}, False),
)
"""What deploy() is tried with, and whether the running variances of its norms are about 0."""


@promise(*MODULES)
def deploys_by_the_rules(probe: Probe) -> None:
    """deploy() gives the eval outputs, in tensors of its own; it leaves the original alone, and may be called again.

    Unfinished, it is refused or exact.
    """
    made_with(probe, Deployable)
    usual = usual_cases(probe)
    for case, progress, (offered, tiny) in itertools.product(all_cases(probe), (0, 1), OFFERS):
        if case not in usual and (progress == 0 or not tiny):
            continue
        given = {name: ref for name, ref in offered.items() if probe.part.declares(name)}
        offers = {name: Factory(probe.registry, name, ref, {}) for name, ref in given.items()}
        said = "".join(f" and {name}={ref}" for name, ref in given.items())
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
            deployed = deploy(module, rewrite=False)
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
                f"with {case.name}{said}, deploy() fails: {type(error).__name__}: {error}",
                means="models with it cannot be deployed with every norm and activation",
                mend="where the norm cannot be folded, give copy.deepcopy(self)",
            ) from error
        shared, held = [], []
        for each in list(module.modules()):
            if isinstance(each, Deployable):
                form = each.deploy()
                shared += _shared(each, form)  # type: ignore[arg-type]
                held += [name for name, tensor in form.state_dict(keep_vars=True).items() if tensor.grad_fn]
        if held:
            raise CheckFailed(
                f"with {case.name}, {', '.join(held)} of the deployed form keeps the graph that it was computed by",
                means="the weights of the original stay in memory, and copies of the deployed form fail",
                mend="put @torch.no_grad() before deploy(), and wrap weights in nn.Parameter",
            )
        if left := changed_settings():
            raise CheckFailed(
                f"with {case.name}, deploy() changes {', '.join(left)}",
                means="what the process does next goes another way",
                mend="change settings only within a with statement, such as torch.no_grad()",
            )
        images = case.images().double()
        ours = evaluated(copy.deepcopy(module), images)
        forms = [
            ("the deployed form", deployed),
            ("a second one", deploy(module, rewrite=False)),
            ("its own deployed form", deploy(deployed, rewrite=False)),
        ]
        for what, form in forms:
            if not close(evaluated(form, images), ours, ROUNDING):
                raise CheckFailed(
                    f"with {case.name}{said}{', and variances near 0' * tiny}, at progress {progress} {what} differs by"
                    f" {difference(evaluated(form, images), ours):.3g}",
                    means="the accuracy that was measured is not the one that is shipped",
                    mend="compute the same as in eval mode, with each norm's own eps; raise convzoo.LifecycleError,"
                    " with the progress at which it will be possible, where that cannot be yet",
                )
        with torch.no_grad():
            for tensor in deployed.state_dict().values():
                tensor.zero_()
        names = changed(before, module.state_dict())
        if case is usual[0]:
            _follows_its_original(case, copy.deepcopy(module), images)
        if names or shared or not all(each.training for each in module.modules()):
            raise CheckFailed(
                f"with {case.name}, deploying, or what is done to the deployed form, changes"
                f" {', '.join(names or shared) or 'the mode'} of the original",
                means="a training that goes on after a look at the deployed form goes wrong",
                mend="build a new module from copies of the tensors",
            )


@promise(*MODULES)
def deploys_rewritten(probe: Probe) -> None:
    """deploy() with its rewrites gives the eval outputs: within 1e-9 in float64, and within 1e-5 in float32 by the
    kernels for inference, whatever the memory format.
    """
    for case in usual_cases(probe):
        offers = {"norm": Factory(probe.registry, "norm", ref("batch"), {})} if probe.part.declares("norm") else {}
        module = case.make(offers=offers).train()
        step(module, case.images(batch=2, seed=3))
        set_progress(module, 1)
        images = case.images()
        for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
            expected = evaluated(copy.deepcopy(module).double(), images.double())
            given = images.to(dtype)
            try:
                form = deploy(copy.deepcopy(module).to(dtype))
            except LifecycleError:  # another check tells
                return
            for layout in (torch.contiguous_format, torch.channels_last):
                found = evaluated(form, given.to(memory_format=layout))
                if not close(found, expected, bound):
                    raise CheckFailed(
                        f"with {case.name}, deployed it differs by {difference(found, expected):.3g} in {dtype}",
                        means="the accuracy that was measured is not the one that is shipped",
                        mend="let nothing but its layers work on the map, each on what it is given",
                    )


def _follows_its_original(case: Case, module: nn.Module, images: torch.Tensor) -> None:
    """Raise CheckFailed if deploying again, after the weights have changed, gives the old ones."""
    deploy(module, rewrite=False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
    expected, found = evaluated(copy.deepcopy(module), images), evaluated(deploy(module, rewrite=False), images)
    if not close(found, expected, ROUNDING):
        raise CheckFailed(
            f"with {case.name}, deployed once, trained on and deployed again it differs by"
            f" {difference(found, expected):.3g}",
            means="what is shipped is an earlier state of the training",
            mend="let deploy() keep nothing",
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
