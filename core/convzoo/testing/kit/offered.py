"""Checks that a part uses what it is offered, everywhere: norms, activations and slots."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from convzoo.building.factory import PartByName
from convzoo.errors import OptionError
from convzoo.layers import Maker
from convzoo.spec.kinds import SHARED, kind_of
from convzoo.spec.refs import Ref
from convzoo.testing.kit.combinations import combined_cases, other_refs
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, STRIDED, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.watch import ACTIVATIONS, Operations

DROPPING = "with drop_path_rate 0.2"
SIZES = ("ref", "widths", "stride", "dilation", "groups")
FEW = 4
"""Of the combined cases."""
UNEVEN = 40
"""Channels in, where as many come out as otherwise."""


class OfferedNorm(nn.BatchNorm2d):
    """A norm that was offered."""


class OfferedAct(nn.Module):
    """An activation that was offered, and that no part has otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softsign(x) + 0.1 * x


@promise(*MODULES)
def uses_what_it_is_offered(probe: Probe) -> None:
    """Where it declares norm, act or a slot, it uses what it is given there, in every layer and at every stride."""
    names = [
        name
        for name in dict.fromkeys((*SHARED, *probe.part.slots))
        if probe.part.declares(name) and name not in (probe.kind, *probe.ref.options)
    ]
    if not names:
        raise NotApplicable("it declares neither norm nor act nor a slot")
    made: dict[str, dict[str, int]] = {name: {} for name in names}
    for where, sizes in geometries(probe):
        operations = Operations()
        offered = {name: _Offer(probe, name, operations) for name in names}
        try:
            module = probe.make(**sizes, offers=offered)
        except OptionError:
            continue
        widths = sizes.get("widths") or (None,)
        images = probe.images(channels=widths[0])
        _seen(probe, module.train(), images, operations, offered, where)
        for name, offer in offered.items() if "ref" not in sizes else ():  # an option may leave a layer out
            made[name][where.strip() or "as it stands"] = len(offer.made)
    # A shortcut is for some geometries only; what keeps the shape can be in all of them.
    for name in (name for name in names if name in SHARED or kind_of(name).shape == "kept"):
        without = [where for where, count in made.get(name, {}).items() if not count]
        if without and any(made[name].values()):
            raise CheckFailed(
                f"{without[0]}, it makes no {name}, though it does otherwise",
                means=f"one layer of a network lacks the {name} that all others have",
                mend=f"make {name} in every geometry, or do not declare it",
            )
    dropping = [where for where in made[names[0]] if where.endswith(DROPPING)]
    for name, where in itertools.product(names, dropping):
        usual = made[name].get(where.removesuffix(DROPPING).strip() or "as it stands")
        if made[name][where] != usual:
            raise CheckFailed(
                f"{where}, it makes {name} {made[name][where]} times, and {usual} times without",
                means=f"a network with stochastic depth has another number of {name} than one without",
                mend="let drop_path_rate decide what is dropped, and nothing else",
            )
    if never := [name for name in names if not any(made[name].values())]:
        raise CheckFailed(
            f"it declares {never[0]}, and never calls it",
            means=f"create_model(..., {never[0]}=...) changes nothing in it, and says nothing",
            mend=f"make every {never[0]} with the callable that is given as {never[0]}, or do not declare it",
        )


def geometries(probe: Probe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a part may look otherwise: what to call it, and what it is made with."""
    yield "", {}
    yield from ((f" with {ref}", {"ref": ref}) for ref in (*probe.refs[1:], *(ref for _, ref in other_refs(probe))))
    if probe.kind in STRIDED:  # a shortcut is only asked for where the shape changes
        yield " at stride 2", {"stride": 2}
    if "groups" in probe.part.kind.honoured:
        yield " with 2 groups", {"groups": 2}
    if probe.part.declares("drop_path_rate"):
        yield f" {DROPPING}", {"drop_path_rate": 0.2}
        yield f" at stride 2 {DROPPING}", {"stride": 2, "drop_path_rate": 0.2}
    if probe.kind == "block":
        yield f" of {UNEVEN} channels", {"widths": (UNEVEN,)}
    else:
        for widths in probe.other_widths():
            yield f" from {widths[0]} to {widths[1]} channels", {"widths": widths}
            yield f" from {widths[0]} to {widths[1]} channels at stride 2", {"widths": widths, "stride": 2}
    yield from ((f" with {said}", sizes) for said, sizes in probe.wider())
    for case in combined_cases(probe)[:FEW]:
        sizes = {name: value for name, value in case.geometry.items() if name in SIZES}
        yield f" with {', '.join(f'{name} {value}' for name, value in sizes.items())}", sizes


class _Offer:
    """Makes what is offered under a name, and remembers it."""

    def __init__(self, probe: Probe, name: str, operations: Operations) -> None:
        self.name = name
        self.made: list[tuple[nn.Module, tuple[Any, ...]]] = []
        self._operations = operations
        self._maker = _stand_in(probe, name)

    def __call__(self, *args: Any, **keywords: Any) -> nn.Module:
        module = self._maker(*args, **keywords)
        self.made.append((module, args))
        return self._operations.within(module) if self.name in SHARED else module


def _stand_in(probe: Probe, name: str) -> Maker:
    if name == "norm":
        return lambda channels, **_: OfferedNorm(channels)
    if name == "act":
        return lambda **_: OfferedAct()
    if kind_of(name).shape == "kept":
        return lambda *_, **__: nn.Identity()
    default = probe.part.default(name, probe.registry)
    if not isinstance(default, Ref):
        default = Ref(probe.registry.components(name)[0][0].name)
    return PartByName(name, default)


def _seen(
    probe: Probe,
    module: nn.Module,
    images: torch.Tensor,
    operations: Operations,
    offered: dict[str, _Offer],
    where: str,
) -> None:
    """Run the part, and raise CheckFailed unless what was offered is what ran, on what it was made for."""
    ran: set[int] = set()

    def remember(each: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        ran.add(id(each))

    for offer in offered.values():
        for each, _ in offer.made:
            each.register_forward_hook(remember)
    with torch.no_grad(), operations, _channel_counts(offered, where):
        module(images)
    for name, offer in offered.items():
        if any(id(each) not in ran for each, _ in offer.made):
            raise CheckFailed(
                f"{where.strip() or 'as it stands'}, it makes {name} {len(offer.made)} times, and runs"
                f" {sum(id(each) in ran for each, _ in offer.made)} of them",
                means=f"the {name} that a user asks for is there, and does nothing",
                mend="call in forward what the constructor makes, or do not make it",
            )
    own = _hard_coded(probe, module, operations, offered)
    for name, what in own.items():
        raise CheckFailed(
            f"{where.strip() or 'as it stands'}, it declares {name}, and has {what} of its own beside",
            means=f"create_model(..., {name}=...) changes some layers, and leaves others",
            mend=f"make every {name} with the callable that is given as {name}",
        )


def _hard_coded(probe: Probe, module: nn.Module, operations: Operations, offered: dict[str, _Offer]) -> dict[str, str]:
    """What has a norm or an activation of its own, though it is offered one."""
    own: dict[str, str] = {}
    # What stands in other slots decides for itself.
    inner = {
        id(m) for name, offer in offered.items() if name not in SHARED for made, _ in offer.made for m in made.modules()
    }
    if "norm" in offered:
        kinds = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, *_default(probe, "norm"))
        norms = [m for m in module.modules() if isinstance(m, kinds) and not isinstance(m, OfferedNorm)]
        if norms := [m for m in norms if id(m) not in inner]:
            own["norm"] = type(norms[0]).__name__
        elif functional := [name for name in operations.found if name.rstrip("_") not in ACTIVATIONS]:
            own["norm"] = f"a call of {functional[0]}"
    if "act" in offered and (functional := [n for n in operations.found if n.rstrip("_") in ACTIVATIONS]):
        own["act"] = functional[0]
    return own


def _default(probe: Probe, name: str) -> tuple[type, ...]:
    default = probe.part.default(name, probe.registry)
    return (default,) if isinstance(default, type) and issubclass(default, nn.Module) else ()


@contextlib.contextmanager
def _channel_counts(offered: dict[str, _Offer], where: str) -> Iterator[None]:
    """Within, what stands in a slot is only given as many channels as it was made for."""

    def require(name: str, channels: int) -> Callable[..., None]:
        def check(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim > 1 and inputs[0].shape[1] != channels:
                raise CheckFailed(
                    f"{where.strip() or 'as it stands'}, it makes {name} for {channels} channels, and gives it"
                    f" {inputs[0].shape[1]}",
                    means=f"{name} fails, or sees other channels than it learns for, where widths differ",
                    mend=f"call {name} with the number of channels of what it is given in forward",
                )

        return check

    handles = [
        each.register_forward_pre_hook(require(name, args[0]))
        for name, offer in offered.items()
        if kind_of(name).arguments
        for each, args in offer.made
        if args and isinstance(args[0], int)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
