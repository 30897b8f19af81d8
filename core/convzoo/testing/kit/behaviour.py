"""Checks of what a part does to its input, its samples and its surroundings."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.layers import out_of_place
from convzoo.spec.refs import Ref
from convzoo.testing.kit.case import Case
from convzoo.testing.kit.cases import all_cases, plain_cases, some_cases, usual_cases
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import changed, close, difference, evaluated, seeded, state_of, step

ROUNDING = 1e-9
"""What two float64 runs of the same arithmetic may differ by, relative to the largest value."""


def _cases(probe: Probe) -> list[tuple[Case, Any]]:
    return [(case, case.make()) for case in all_cases(probe)]


@promise(*(kind for kind in MODULES if kind != "act"))
def leaves_its_input_alone(probe: Probe) -> None:
    """It changes nothing of the tensor that it is given, in training and in eval mode, whatever the norm gives."""
    identity = Factory(probe.registry, "norm", Ref("none"), {})
    for case in all_cases(probe):
        norms: dict[str, dict[str, Any]] = {"": {}}
        if case not in combined_cases(probe):
            norms[" and a norm that gives its input"] = {"offers": {"norm": identity}}
        for norm, offers in norms.items():
            module = case.make(**offers)
            for mode, loud in itertools.product((True, False), (1, 100)):
                images = case.images() * loud
                before = images.clone()
                with torch.no_grad():
                    module.train(mode)(images)
                if not torch.equal(images, before):
                    raise CheckFailed(
                        f"with {case.name}{norm}, forward changes its input in {'training' if mode else 'eval'} mode",
                        means="a shortcut or a dense layer that still reads that tensor gets wrong values",
                        mend="work in place (inplace=True, x += ..., relu_) only on tensors that you made yourself",
                    )


@promise(*MODULES)
def computes_the_same_behind_a_norm_that_gives_its_input(probe: Probe) -> None:
    """With a norm that gives the very tensor that it is given, it computes the same as with one that gives a copy."""
    if not probe.part.declares("norm"):
        raise NotApplicable("it does not declare norm")
    given = Factory(probe.registry, "norm", Ref("none"), {})
    for case in plain_cases(probe):
        modules = [case.make(offers={"norm": norm}) for norm in (given, _copying)]
        outputs = [evaluated(module, case.images()) for module in modules]
        if not torch.equal(*outputs):
            raise CheckFailed(
                f"with {case.name}, the outputs with norms that give their input and that give a copy differ by"
                f" {difference(*outputs):.3g}",
                means="with norm='none' it computes something else than it says",
                mend=AFTER_NORMS,
            )
        steps = []
        for module in modules:
            with seeded(0):
                try:
                    out = step(module, case.images())
                except RuntimeError as error:
                    if "inplace operation" not in str(error) or module is not modules[0]:
                        raise
                    raise CheckFailed(
                        f"with {case.name} and norms that give their input, it cannot be trained: {error}",
                        means="with norm='none' training stops at its first step",
                        mend=AFTER_NORMS,
                    ) from error
            steps.append([out, *(p.grad for p in module.parameters() if p.grad is not None)])
        if not _same(*steps):
            raise CheckFailed(
                f"with {case.name}, a step of training with norms that give their input and with such that give a copy"
                " differ",
                means="with norm='none' it learns something else than it says",
                mend=AFTER_NORMS,
            )


AFTER_NORMS = "let no operation in place follow a norm, where what went into the norm is still read"


class _Copying(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


def _copying(*_: Any, **__: Any) -> nn.Module:
    return _Copying()


@promise("act")
def works_out_of_place_when_told(probe: Probe) -> None:
    """With ``inplace`` False, where it has that, it changes nothing of the tensor that it is given."""
    for case, mode in itertools.product(usual_cases(probe), (True, False)):
        module, images = out_of_place(case.make()), probe.images()
        before = images.clone()
        with torch.no_grad():
            module.train(mode)(images)
        if not torch.equal(images, before):
            raise CheckFailed(
                f"with {case.name}, in {'training' if mode else 'eval'} mode, forward changes its input, though none"
                " of its modules has inplace=True",
                means="behind a norm that gives its very input, shortcuts and later layers get wrong values",
                mend="keep whether it works in place in an attribute `inplace`, and let forward follow that",
            )


@promise(*MODULES)
def repeats_itself_in_eval_mode(probe: Probe) -> None:
    """In eval mode one input always gives one output, whatever the state of the random number generators."""
    for case, module in _cases(probe):
        images = case.images()
        outputs = []
        for seed in range(3):
            with seeded(seed):
                outputs.append(evaluated(module, images))
        if not all(torch.equal(outputs[0], other) for other in outputs[1:]):
            raise CheckFailed(
                f"with {case.name}, eval outputs of one input differ by {difference(outputs[0], outputs[1]):.3g}",
                means="accuracy changes from run to run",
                mend="draw random numbers only `if self.training`",
            )


@promise(*MODULES)
def treats_samples_independently(probe: Probe) -> None:
    """In eval mode the output for a sample does not depend on the others in its batch."""
    for (case, module), loud in itertools.product(_cases(probe), (1, 100)):
        module.double()
        images = case.images().double()
        images[1] *= loud
        together = evaluated(module, images)
        try:
            alone = torch.cat([evaluated(module, image[None]) for image in images])
        except ValueError as error:
            if "more than 1 value" in str(error):  # torch's group norm of single values
                continue
            raise
        if not close(together, alone, ROUNDING):
            raise CheckFailed(
                f"with {case.name}, a sample's output alone and in a batch differ by {difference(together, alone):.3g}",
                means="results depend on the batch size, and on who else is in it",
                mend="reduce over channels and pixels, not over dimension 0, and leave batch statistics to training",
            )


@promise(*MODULES)
def forgets_what_ran_before(probe: Probe) -> None:
    """In eval mode an output does not depend on earlier inputs or other instances, and no state changes."""
    for case, module in _cases(probe):
        images = case.images()
        first = evaluated(module, images)
        state = state_of(module)
        for other in (case.images(batch=2, seed=5) * 3, case.images(size=(6, 12), seed=6)):
            evaluated(module, other)
        if names := changed(state, module.state_dict()):
            raise CheckFailed(
                f"with {case.name}, forward in eval mode changes {', '.join(names)}",
                means="evaluating a model makes another model of it",
                mend="update statistics only `if self.training`",
            )
        step(case.make(), case.images(seed=7) * 3)
        loud = copy.deepcopy(module)
        with torch.no_grad():
            for parameter in loud.parameters():
                parameter.mul_(20)
        before = state_of(loud)
        evaluated(loud, images)
        if names := changed(before, loud.state_dict()):
            raise CheckFailed(
                f"with {case.name}, forward in eval mode changes {', '.join(names)} where weights are large",
                means="evaluating a model makes another model of it",
                mend="bound weights in training only, or compute with bounded ones and leave the weights as they are",
            )
        again = evaluated(module, images)
        if not close(again, first, ROUNDING):
            raise CheckFailed(
                f"with {case.name}, the output of one input differs by {difference(again, first):.3g} after others ran",
                means="results depend on the order of the data, or on other models in the process",
                mend="keep no values in attributes, class attributes or globals that forward reads and writes",
            )


@promise(*MODULES)
def reads_its_input_as_it_lies(probe: Probe) -> None:
    """It gives the same for a crop, some channels of another tensor or a turned map as for a copy of that."""
    for case in some_cases(probe):
        module, images = case.make(), case.images(size=(8, 10))
        channels, (height, width) = images.shape[1], images.shape[2:]
        whole = torch.cat([images, images], 1)
        views = {
            "a crop": images[..., 1 : height - 1, 2 : width - 1],
            "half of the channels of another tensor": whole[:, channels // 2 : channels // 2 + channels],
            "a turned map": images.transpose(2, 3),
        }
        if probe.kind != "act":  # which may overwrite it
            views["one sample, repeated"] = images[:1].expand_as(images)
        for name, view in views.items():
            with torch.no_grad():
                ours, expected = (module.eval()(x) for x in (view, view.contiguous()))
            if not close(ours, expected, 1e-5):
                raise CheckFailed(
                    f"with {case.name}, for {name} its output is off by {difference(ours, expected):.3g}",
                    means="it computes something else wherever the layer before it gives a part of a tensor",
                    mend="use reshape, and leave as_strided and data_ptr out: an input may lie otherwise in memory",
                )


@promise(*MODULES)
def trains_after_evaluating(probe: Probe) -> None:
    """A pass in eval mode, under inference_mode too, changes nothing of the step of training that follows."""
    for case in some_cases(probe):
        module, images = case.make_random(), case.images()
        fresh, start = copy.deepcopy(module), state_of(module)
        with torch.inference_mode():
            module.eval()(images.clone())
        with torch.no_grad():
            module.train()(images[:1].expand_as(images).clone())
        outcome = []
        for each in (fresh, module):
            each.load_state_dict(start)
            with seeded(0):
                try:
                    out = step(each, images)
                except Exception as error:
                    if each is fresh:
                        raise
                    raise CheckFailed(
                        f"with {case.name}, after a pass under inference_mode training fails: {error}",
                        means="a training that evaluates in between stops",
                        mend="keep no tensor of a pass, or make it again when the mode changes",
                    ) from error
            outcome.append([out, *(p.grad for p in each.parameters() if p.grad is not None)])
        if not _same(*outcome):
            raise CheckFailed(
                f"with {case.name}, a step of training gives something else after a pass in eval mode",
                means="evaluating in between changes what is trained",
                mend="keep nothing of a pass in attributes that forward reads",
            )


@promise(*MODULES)
def draws_from_torch(probe: Probe) -> None:
    """It draws every random number from torch's default generator, so that a seed repeats a step of training."""
    for case in all_cases(probe):
        module, images = case.make_random(), case.images()
        state = state_of(module)

        def run(module: nn.Module, attempt: int, images: torch.Tensor = images) -> list[torch.Tensor]:
            with seeded(attempt):
                torch.default_generator.manual_seed(0)
                out = step(module, images)
            return [out, *(p.grad for p in module.parameters() if p.grad is not None)]

        fresh = [run(copy.deepcopy(module), attempt) for attempt in range(3)]
        if not all(_same(fresh[0], other) for other in fresh[1:]):
            raise CheckFailed(
                f"with {case.name}, two steps of training after torch.manual_seed(0) differ",
                means="a run cannot be repeated, and a resumed one goes another way",
                mend="draw with torch.rand, Tensor.bernoulli_ and the like, without a generator of your own,"
                " Python's random or numpy; and keep no state in a class or a global",
            )
        run(module, 0)
        module.load_state_dict(state)
        if not _same(run(module, 0), fresh[0]):
            raise CheckFailed(
                f"with {case.name}, a step of training gives something else after another one, though the state dict"
                " was loaded again and the seed is the same",
                means="something that it has kept is not in the state dict, so a resumed training goes another way",
                mend="keep what training changes in buffers (self.register_buffer), and derive the rest from them",
            )


def _same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))
