"""Checks of what torch's compilers make of a part."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import fx, nn

from convzoo.deploying.deploy import deploy
from convzoo.errors import LifecycleError
from convzoo.network.lifecycle import Deployable, set_progress
from convzoo.testing.kit.case import Case
from convzoo.testing.kit.cases import usual_cases
from convzoo.testing.kit.probe import BATCH, Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import close, difference, evaluated


@promise(*MODULES)
def compiles(probe: Probe) -> None:
    """torch.compile takes it without a graph break, in training and in eval mode, and it gives the same answer."""
    for case in usual_cases(probe):
        module, images = case.make_random(), probe.images()
        for mode in (True, False):
            module.train(mode)
            torch._dynamo.reset()
            # Without code generation: what can break is the capture.
            # Of a copy: what a pass changes must not change the other's.
            compiled = torch.compile(copy.deepcopy(module), backend="eager", fullgraph=True)
            outputs = []
            for run in (module, compiled):
                with torch.random.fork_rng(devices=[]), torch.no_grad():
                    torch.default_generator.manual_seed(0)
                    try:
                        outputs.append(run(images))
                    except Exception as error:
                        if run is module:
                            raise
                        if "not supported on" in str(error):
                            raise NotApplicable(str(error)) from error
                        raise CheckFailed(
                            f"with {case.name}, in {'training' if mode else 'eval'} mode: {_message(error)}",
                            means="compiled models lose speed at this part, or cannot be compiled whole",
                            mend="let no tensor's value decide the way (.item(), if x.sum() > 0), call no numpy or"
                            " random, and leave autograd functions of your own out",
                        ) from error
            if not close(outputs[1], outputs[0], 1e-6):
                raise CheckFailed(
                    f"with {case.name}, compiled it differs by {difference(*outputs):.3g}",
                    means="what is trained is not what is run",
                    mend="keep forward free of side effects on attributes",
                )


@promise(*MODULES)
def exports(probe: Probe) -> None:
    """torch.export takes it in eval mode, for any batch size, and it gives the same answer."""
    for case in usual_cases(probe):
        module = _Within(case.make()).eval()
        batch = torch.export.Dim("batch", min=2, max=1024)
        try:
            program = torch.export.export(module, (probe.images(),), dynamic_shapes=({0: batch},))
        except Exception as error:
            raise CheckFailed(
                f"with {case.name}: {_message(error)}",
                means="models with it cannot be deployed from an exported program",
                mend="compute sizes from x.shape, with unflatten and flatten instead of int(...), and let no value of a"
                " tensor decide the way",
            ) from error
        images = probe.images(batch=BATCH + 1)
        with torch.no_grad():
            exported = program.module()(images)
        expected = evaluated(module, images)
        if not close(exported, expected, 1e-6):
            raise CheckFailed(
                f"with {case.name}, exported it differs by {difference(exported, expected):.3g}",
                means="what is evaluated is not what is deployed",
                mend="keep forward free of side effects on attributes, and of constants made from the example's values",
            )


@promise(*MODULES)
def traces(probe: Probe) -> None:
    """Where torch.fx traces it, in training, in eval mode or deployed, and TorchScript compiles the graph, both answer
    as it does. The graph keeps the memory format, whatever it was traced with.
    """
    for case in usual_cases(probe):
        for form, module in _forms(case):
            images = probe.images().to(memory_format=torch.channels_last)
            expected = _seeded(module, images)
            try:
                graph = fx.symbolic_trace(module)
            except Exception as error:
                raise NotApplicable(
                    f"torch.fx does not trace it, with {case.name}, {form}: {_message(error)}"
                ) from error
            found = _seeded(graph, images)
            if not close(found, expected, 1e-6):
                raise _mistraced(f"with {case.name}, {form}, traced it differs by {difference(found, expected):.3g}")
            if _formats(found) != _formats(expected):
                raise _mistraced(f"with {case.name}, {form}, traced it does not keep channels_last")
            if module.training:
                continue
            try:
                compiled = _scripted(graph)
                found = _seeded(compiled, images)
            except Exception as error:
                raise NotApplicable(f"TorchScript refuses it, with {case.name}, {form}: {_message(error)}") from error
            if not close(found, expected, 1e-6):
                raise _mistraced(
                    f"with {case.name}, {form}, in TorchScript it differs by {difference(found, expected):.3g}"
                )


def _forms(case: Case) -> Iterator[tuple[str, nn.Module]]:
    """The part in training, in eval mode and, if it has such a form and does not refuse it, deployed."""
    module = _Within(case.make_random())
    yield "in training", module.train()
    yield "in eval mode", module.eval()
    if any(isinstance(each, Deployable) for each in module.modules()):
        set_progress(module, 1)
        try:
            deployed = deploy(module, rewrite=False)
        except LifecycleError:  # another check tells
            return
        yield "deployed", deployed


def _seeded(run: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        return run(images)


def _scripted(graph: fx.GraphModule) -> Callable[[torch.Tensor], torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        return torch.jit.script(graph)


def _formats(x: torch.Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _mistraced(found: str) -> CheckFailed:
    return CheckFailed(
        found,
        means="tools that work on graphs of torch.fx, as feature extraction and quantization do, make another network"
        " of it, and say nothing",
        mend="let nothing of a tensor decide the way, not its size or type either; take the pieces of a tensor by"
        " convzoo.layers.unpacked(x.chunk(2, 1), 2); draw random numbers as x.new_empty(...).uniform_(); and put what"
        ' has to ask a tensor into a function of its module, with torch.fx.wrap("its name")',
    )


class _Within(nn.Module):
    """The part as in a network, behind another operation: torch 2.6 exports a bare identity for one batch size only."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x):  # type: ignore[no-untyped-def]  # TorchScript cannot read annotations that are text
        return self.part(x * 1)


def _message(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}"
