"""Checks of what a part does to the process around it, and to its own modes."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convzoo.network.lifecycle import set_progress
from convzoo.testing.kit.cases import all_cases, some_cases
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise
from convzoo.testing.kit.runs import evaluated, seeded, step


@dataclass(frozen=True)
class _Setting:
    """A setting of the process: ``get()`` reads it, ``set(value)`` sets it, and it is no part's to change."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], Any]
    usual: Any

    def ensure(self, value: Any) -> None:
        """Set it, unless it has that value: setting may import half of torch."""
        if self.get() != value:
            self.set(value)


SETTINGS = (
    _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads, 1),
    _Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled, True),
    _Setting(
        "deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
        False,
    ),
    _Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    _Setting(
        "the precision of matrix products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        "highest",
    ),
    *(
        _Setting(
            f"torch.backends.cudnn.{name}",
            functools.partial(getattr, torch.backends.cudnn, name),
            functools.partial(setattr, torch.backends.cudnn, name),
            usual,
        )
        for name, usual in (("enabled", True), ("benchmark", False), ("deterministic", False))
    ),
)


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Within, every setting has its usual value; afterwards, the value that it had."""
    before = [setting.get() for setting in SETTINGS]
    for setting in SETTINGS:
        setting.ensure(setting.usual)
    try:
        yield
    finally:
        for setting, value in zip(SETTINGS, before, strict=True):
            setting.ensure(value)


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Within, what a part may change of Python's is watched; afterwards the list names it, and it is as before."""
    changed: list[str] = []
    environment, path, level = dict(os.environ), list(sys.path), logging.root.level
    with warnings.catch_warnings():
        warnings.resetwarnings()
        yield changed
        if warnings.filters:
            changed.append("which warnings are shown")
    if dict(os.environ) != environment:
        changed.append("os.environ")
        os.environ.clear()
        os.environ.update(environment)
    if sys.path != path:
        changed.append("sys.path")
        sys.path[:] = path
    if logging.root.level != level:
        changed.append("the level of logging")
        logging.root.setLevel(level)
    if not gc.isenabled():
        changed.append("Python's garbage collection")
        gc.enable()


def changed_settings() -> list[str]:
    """Names of those that have not their usual value."""
    return [setting.name for setting in SETTINGS if setting.get() != setting.usual]


@promise(*MODULES)
def leaves_the_process_alone(probe: Probe) -> None:
    """Making it and running it changes no setting of the process, and no state of random numbers but torch's.

    Of torch's default generator it takes numbers in turn, and never seeds it.
    """
    for case, what in itertools.product(some_cases(probe), ("making it", "training it", "evaluating it")):
        module = None if what == "making it" else case.make()
        images, states = case.images(batch=2, size=(4, 4)), []
        with usual_settings():
            for seed in (1, 2):
                with watched() as changed, seeded(seed) as others:
                    if module is None:
                        case.construct()
                    else:
                        step(module, images) if what == "training it" else evaluated(module, images)
                    changed += others.changed()
                    states.append(torch.default_generator.get_state())
            changed += changed_settings()
        if module is not None:
            before = _shared_values(module)
            with seeded(0):
                step(module, images) if what == "training it" else evaluated(module, images)
            now = _shared_values(module)
            changed += [name for name, value in before.items() if now.get(name) != value]
        if torch.equal(*states):
            changed.append("the seed of torch's default generator")
        if changed:
            raise CheckFailed(
                f"with {case.name}, {what} changes {', '.join(changed)}",
                means="what runs beside it or after it goes another way, and no seed repeats a run",
                mend="draw with torch's functions, without seeding; leave settings to those who train",
            )


def _shared_values(module: nn.Module) -> dict[str, Any]:
    """Numbers, texts and tensors that all instances of the part's classes share, and that are not constants of torch.

    What one pass after another leaves in containers, another check sees.
    """
    found: dict[str, Any] = {}
    for kind in {cls for each in module.modules() for cls in type(each).__mro__}:
        home = str(kind.__module__)
        if home.partition(".")[0] in ("torch", "torchvision", "builtins", "typing", "abc"):
            continue
        for where, namespace in ((kind.__qualname__, vars(kind)), (home, vars(sys.modules.get(home, kind)))):
            for name, value in list(namespace.items()):
                if isinstance(value, torch.Tensor):
                    found[f"{where}.{name}"] = id(value), value._version
                elif isinstance(value, (bool, int, float, str, type(None))) and not name.startswith("__"):
                    found[f"{where}.{name}"] = value
    return found


@promise(*MODULES)
def starts_by_the_seed(probe: Probe) -> None:
    """Made twice after one torch.manual_seed, it starts with the same weights; and no two instances share any."""
    for case in all_cases(probe):
        made = []
        with torch.random.fork_rng(devices=[]):
            for seed in (0, 0, 1):
                torch.default_generator.manual_seed(seed)
                made.append(case.construct())
        first, second, other = (dict(module.state_dict(keep_vars=True)) for module in made)
        if differing := [key for key in first if key not in second or not torch.equal(first[key], second[key])]:
            raise CheckFailed(
                f"with {case.name}, two instances made after torch.manual_seed(0) differ in {', '.join(differing)}",
                means="no training can be repeated",
                mend="fill weights with the functions of torch.nn.init, without a generator of your own",
            )
        if fixed := [key for key, tensor in first.items() if _is_drawn(tensor) and torch.equal(tensor, other[key])]:
            raise CheckFailed(
                f"with {case.name}, {', '.join(fixed)} is drawn, and the same after every seed",
                means="all layers of a network start alike, and another seed is no other start",
                mend="draw from torch's default generator, without a seed of your own",
            )
        storages = {tensor.untyped_storage().data_ptr() for tensor in first.values() if tensor.numel()}
        if shared := [k for k, t in second.items() if t.numel() and t.untyped_storage().data_ptr() in storages]:
            raise CheckFailed(
                f"with {case.name}, two instances share {', '.join(shared)}",
                means="layers of one network are tied, and training one moves the other",
                mend="make modules and tensors in the constructor, not in the class, a default value or a global",
            )


def _is_drawn(tensor: torch.Tensor) -> bool:
    """Whether a weight looks like random numbers: no two of them are equal."""
    weight = isinstance(tensor, nn.Parameter) and tensor.is_floating_point() and tensor.dim() > 1
    return weight and tensor.numel() > 8 and len(tensor.unique()) > 0.99 * tensor.numel()


@promise(*MODULES)
def follows_train_and_eval(probe: Probe) -> None:
    """train() and eval() reach every module of it, and running it changes no module's mode."""
    for case in all_cases(probe):
        module = case.make()
        for number, mode in enumerate((True, True, False, True)):
            where = "as it is made,"
            if number:
                where = "after " + ("train()" if mode else "eval()")
                if module.train(mode) is not module:
                    raise CheckFailed(
                        f"with {case.name}, train() does not return the part",
                        means="model.eval() and model.train() give something else than the model",
                        mend="do not override train(), or let it return self",
                    )
            wrong = _in_other_mode(module, mode)
            if not wrong:
                for size in (4, case.stride):  # the last makes a map of one pixel
                    (step if mode else evaluated)(module, case.images(batch=2, size=(size, size)))
                with contextlib.suppress(ValueError), torch.no_grad():  # norms refuse to train on single values
                    module(case.images(batch=1, size=(4, 4)))
                wrong, where = _in_other_mode(module, mode), f"after a pass in {'training' if mode else 'eval'} mode"
            if wrong:
                raise CheckFailed(
                    f"with {case.name}, {where} {', '.join(wrong)} is in {'eval' if mode else 'training'} mode",
                    means="norms and dropout do not do what the rest of the network does",
                    mend="do not call eval() or train() of your own modules, and do not override them",
                )
        for mode, progress in itertools.product((True, False), (0.5, 1.0)):
            set_progress(module.train(mode), progress)
            if wrong := _in_other_mode(module, mode):
                raise CheckFailed(
                    f"with {case.name}, after set_progress({progress}) {', '.join(wrong)} is in"
                    f" {'eval' if mode else 'training'} mode",
                    means="what a mode freezes is lost at the next train(), and no checkpoint has it",
                    mend="keep what the schedule has frozen in a buffer that forward reads",
                )


def _in_other_mode(module: nn.Module, mode: bool) -> list[str]:
    return [name or "the part itself" for name, each in module.named_modules() if each.training is not mode]
