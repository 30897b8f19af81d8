"""Checks of a part's state: where it is kept, how it moves, in which form tensors leave."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import torch

from convzoo.network.lifecycle import set_progress
from convzoo.testing.kit.case import PLAIN
from convzoo.testing.kit.cases import all_cases, some_cases, usual_cases
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MAPS, MODULES, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import close, descend, difference, evaluated, seeded, state_of, step

COARSE = 0.3
"""What bfloat16 may cost, relative to the largest value: a sum whose terms cancel loses that much."""
MANY = 40
"""Passes, after which a warm-up is over."""


@promise(*MODULES)
def keeps_its_state_in_state_dict(probe: Probe) -> None:
    """After some training, its state dict loaded into a new one makes that compute the same."""
    cases = some_cases(probe)
    for case, used in itertools.product(cases, (False, True)):
        trained, fresh = case.make(), case.make(seed=1)
        if plain := [name for each in trained.modules() for name, value in vars(each).items() if _learns(value)]:
            raise CheckFailed(
                f"with {case.name}, {', '.join(plain)} is a tensor that learns, and no parameter",
                means="no optimizer moves it, and no checkpoint has it",
                mend="make it an nn.Parameter",
            )
        for number in range(3):
            step(trained, case.images(seed=number, **PLAIN))
            descend(trained, 0.01)
        for number in range(MANY if case is cases[0] else 0):  # for what counts the passes
            step(trained, case.images(batch=2, size=(3, 4), seed=number))
        set_progress(trained, 0.4)
        if used:  # what it keeps of a pass must not survive what is loaded
            evaluated(fresh, case.images())
        try:
            fresh.load_state_dict(trained.state_dict())
        except RuntimeError as error:
            raise CheckFailed(
                f"with {case.name}, its state dict does not load into another instance: {error}",
                means="no checkpoint can be restored",
                mend="let the constructor alone decide which parameters and buffers there are, and their shapes",
            ) from error
        mine_at = {tensor.data_ptr() for tensor in trained.state_dict().values() if tensor.numel()}
        if both := [n for n, tensor in fresh.state_dict().items() if tensor.numel() and tensor.data_ptr() in mine_at]:
            raise CheckFailed(
                f"with {case.name}, after loading, {', '.join(both)} is the very tensor that was loaded",
                means="training one model changes another",
                mend="copy what is loaded: self.buffer.copy_(value)",
            )
        images = case.images()
        mine = evaluated(trained, images)
        with torch.no_grad():  # in eval mode, if it is used; nobody calls eval() again after loading
            restored = fresh(images) if used else evaluated(fresh, images)
        if not close(restored, mine, 1e-6):
            raise CheckFailed(
                f"with {case.name}, a new instance with its state dict differs by {difference(mine, restored):.3g}",
                means="something learned or drawn is lost when a model is saved",
                mend="keep it in an nn.Parameter, or in a buffer (self.register_buffer) that is persistent",
            )
        with seeded(0):
            going_on = step(trained, images)
        with seeded(0):
            resumed = step(fresh, images)
        if not close(resumed, going_on, 1e-5):
            raise CheckFailed(
                f"with {case.name}, a step of training of a new instance with its state dict gives something else, by"
                f" {difference(going_on, resumed):.3g}",
                means="a training that is resumed from a checkpoint goes another way",
                mend="keep what training has changed in buffers (self.register_buffer), and not in numbers",
            )


@promise(*MODULES)
def follows_device_and_dtype(probe: Probe) -> None:
    """It runs where and in what it was moved to: meta, float64, bfloat16, and CUDA where there is one."""
    for case in some_cases(probe):
        images = case.images(**PLAIN)
        with torch.device("meta"):
            shape = _moved(case.name, "the meta device", case.make_random(), images.to("meta"))
        here = case.make_random()
        expected = evaluated(here, images)
        _moved(case.name, "the meta device, where it was moved", copy.deepcopy(here).to("meta"), images.to("meta"))
        if shape.device.type != "meta" or shape.shape != expected.shape:
            raise CheckFailed(
                f"with {case.name}, on the meta device it gives {tuple(shape.shape)} on {shape.device}",
                means="models cannot be looked at without storage",
                mend="make tensors with x.new_zeros(...) or device=x.device, and let no value decide a shape",
            )
        places: list[dict[str, Any]] = [{"dtype": torch.float64}, {"dtype": torch.bfloat16}]
        if torch.cuda.is_available():
            places.append({"device": torch.device("cuda")})
        for place in places:
            where = str(next(iter(place.values())))
            out = _moved(case.name, where, copy.deepcopy(here).to(**place), images.to(**place))
            wanted = torch.empty(0).to(**place)
            if out.dtype != wanted.dtype or out.device.type != wanted.device.type:
                raise CheckFailed(
                    f"with {case.name}, moved to {where} it gives {out.dtype} on {out.device}",
                    means="the next layer refuses its output, or runs slowly in another precision",
                    mend="keep tensors in parameters and buffers, which move along; make others with x.new_zeros()",
                )
            if not close(out.float().cpu(), expected, COARSE if wanted.dtype == torch.bfloat16 else 1e-3):
                raise CheckFailed(
                    f"with {case.name}, in {where} its output is off by {difference(out.cpu(), expected):.3g}",
                    means="it computes something else there",
                    mend="sum and normalise in float32 where bfloat16 is too coarse",
                )


def _moved(case: str, where: str, module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    try:
        out, trained = evaluated(module, images), step(module, images)
        if trained.dtype != out.dtype:
            raise TypeError(f"{trained.dtype} in training mode, {out.dtype} in eval mode")
        return out
    except Exception as error:
        raise CheckFailed(
            f"with {case}, it fails on {where}: {type(error).__name__}: {_line(error)}",
            means="models with it cannot be moved there",
            mend="make tensors with x.new_zeros(...) or device=x.device, dtype=x.dtype; cast where an operator lacks a"
            " dtype; and compute sizes from x.shape",
        ) from error


@promise(*MAPS)
def keeps_channels_last(probe: Probe) -> None:
    """What comes in as channels_last goes out as channels_last, in training and in eval mode."""
    last = torch.channels_last
    cases = [(case, "") for case in all_cases(probe)]
    cases += [(case, ", where only the images are channels_last") for case in usual_cases(probe)]
    for (case, images_only), mode in itertools.product(cases, (True, False)):
        module = case.make().train(mode)
        try:
            module = module if images_only else module.to(memory_format=last)
        except RuntimeError as error:
            raise CheckFailed(
                f"with {case.name}, .to(memory_format=torch.channels_last) fails: {_line(error)}",
                means="no network with it can be turned to channels_last",
                mend="torch turns tensors of four dimensions, and fails on five: give parameters and buffers another"
                " number of them, and unflatten them in forward",
            ) from error
        with torch.no_grad():
            out = module(case.images().to(memory_format=last))
        if not out.is_contiguous(memory_format=last):
            raise CheckFailed(
                f"with {case.name}, in {'training' if mode else 'eval'} mode the output has strides"
                f" {out.stride()}{images_only}",
                means="every layer behind it converts the memory format, or runs the slow kernel",
                mend="end with convzoo.layers.match_memory_format(out, x); or avoid view, x[:, index] and"
                " .contiguous(), and use unflatten, flatten, chunk, sums and products",
            )


@promise(*MODULES)
def runs_under_autocast(probe: Probe) -> None:
    """Under torch.autocast in bfloat16 it trains and evaluates, and gives about the same."""
    for case in some_cases(probe):
        # Few values amplify rounding, in norms, and in the sums of a classifier.
        module, images = case.make_random(), case.images(**PLAIN, size=(9, 7), batch=32 if probe.kind == "head" else 4)
        state = state_of(module)
        for mode in (True, False):
            module.load_state_dict(state)
            module.train(mode)
            outputs = []
            for enabled, dtype in ((False, torch.float32), (True, torch.float32), (True, torch.bfloat16)):
                module.load_state_dict(state)
                try:
                    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                        torch.default_generator.manual_seed(0)
                        out = module(images.to(dtype))  # after a convolution it is bfloat16
                    if mode and out.requires_grad:
                        out.float().square().sum().backward()  # outside, as it is in training loops
                except Exception as error:
                    if not enabled:
                        raise
                    raise CheckFailed(
                        f"with {case.name}, it fails under autocast: {type(error).__name__}: {_line(error)}",
                        means="models with it cannot be trained in mixed precision",
                        mend="make tensors in the dtype of those that they meet, as x.new_zeros(...) and y.to(x.dtype)"
                        " do; an autograd function of your own needs torch.amp.custom_fwd and custom_bwd",
                    ) from error
                outputs.append(out.detach())
            plain = outputs[0]
            mixed = max((out.float() for out in outputs[1:]), key=lambda out: difference(out, plain))
            if not close(mixed, plain, COARSE) and not (mode and _alike_on_average(module, state, images)):
                raise CheckFailed(
                    f"with {case.name}, in {'training' if mode else 'eval'} mode, under autocast its output is off by"
                    f" {difference(mixed, plain):.3g}",
                    means="mixed precision trains something else",
                    mend="sum and normalise in float32 where bfloat16 is too coarse",
                )


@promise(*MODULES)
def copies(probe: Probe) -> None:
    """It pickles and deep-copies, before and after a step of training; a copy shares nothing with the original."""
    for case, trained in itertools.product(some_cases(probe), (False, True)):
        module, images = case.make(), case.images()
        if trained:
            step(module, images)
        copied = {}
        for how, make in (("pickle", lambda m: pickle.loads(pickle.dumps(m))), ("deepcopy", copy.deepcopy)):
            if how == "pickle" and _is_parametrized(module):
                continue
            try:
                copied[how] = make(module)
            except Exception as error:
                when = " after a step of training" if trained else ""
                raise CheckFailed(
                    f"with {case.name}, {how} fails{when}: {type(error).__name__}: {error}",
                    means="it cannot be saved whole, sent to another process, or averaged over training",
                    mend="keep no tensor of a pass, lambda, local function, generator or open file in an attribute",
                ) from error
        expected = evaluated(module, images)
        for how, other in copied.items():
            same = torch.equal(evaluated(other, images), expected)
            with torch.no_grad():
                for tensor in other.state_dict().values():
                    tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
            if not same or not torch.equal(evaluated(module, images), expected):
                raise CheckFailed(
                    f"with {case.name}, a {how} "
                    + ("computes something else" if not same else "shares tensors with the original"),
                    means="copies for averaging, deploying or distilling go wrong in silence",
                    mend="keep modules, parameters and buffers as attributes of self, not in closures or globals",
                )

    if _is_parametrized(module):
        raise NotApplicable("it deep-copies; torch itself does not pickle parametrized layers, only their state dict")


DRAWS = 16


def _alike_on_average(module: torch.nn.Module, state: dict[str, Any], images: torch.Tensor) -> bool:
    """Whether a random part, which may draw other numbers in another type, gives about the same means over draws."""
    outputs: dict[torch.dtype, list[torch.Tensor]] = {torch.float32: [], torch.bfloat16: []}
    for seed, (dtype, found) in itertools.product(range(DRAWS), outputs.items()):
        module.load_state_dict(state)
        with seeded(seed), torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            found.append(module(images.to(dtype)).float())
    plain, mixed = (torch.stack(found) for found in outputs.values())
    error = plain.std(0).square().add(mixed.std(0).square()).div(DRAWS).sqrt()
    off = (plain.mean(0) - mixed.mean(0)).abs() > 0.1 * plain.abs().max() + 5 * error
    return bool(plain.std(0).any() and mixed.isfinite().all() and not off.any())


def _learns(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _is_parametrized(module: torch.nn.Module) -> bool:
    return any(torch.nn.utils.parametrize.is_parametrized(each) for each in module.modules())
