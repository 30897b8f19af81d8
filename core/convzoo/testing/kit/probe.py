"""A component under examination: built as the builder and the blocks build it, and fed as they feed it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convzoo.building import parts
from convzoo.building.factory import Factory
from convzoo.errors import OptionError, PluginError
from convzoo.plugins.registry import Owner, Registry
from convzoo.spec.contributions import Component
from convzoo.spec.kinds import Position
from convzoo.spec.refs import Options, Ref
from convzoo.testing.kit.promises import STRIDED, CheckFailed, NotApplicable
from convzoo.testing.numerics import jitter

CHANNELS = 64
CLASSES = 10
SIZE = 9
BATCH = 4
POSITIONS = (
    *(Position(0, 0, 0, 8), Position(1, 2, 5, 8), Position(0, 1, 1, 8), Position(3, 1, 7, 8)),
    *(Position(2, 0, 4, 7), Position(4, 0, 9, 12)),
)
"""The first layer of a network, ones in the middle of a stage and at its ends, and one beyond the usual four stages."""


class Probe:
    """Builds one component, in every geometry that it takes, and makes inputs for it."""

    def __init__(self, registry: Registry, component: Component, owner: Owner) -> None:
        self.registry = registry
        self.component = component
        self.owner = owner
        self.kind = component.kind

    def __str__(self) -> str:
        return f"{self.kind} {self.component.name!r}"

    @functools.cached_property
    def part(self) -> parts.Part:
        """The component with its signature read."""
        try:
            return parts.read(self.component, self.owner)
        except PluginError as error:
            raise CheckFailed(
                str(error),
                means="whoever uses it gets this error",
                mend='let target be "module:attribute" of a module that imports, or install what that needs',
            ) from error

    @functools.cached_property
    def refs(self) -> list[Ref]:
        """The component with each of its examples; or as a layer of a model that has it, where options are needed."""
        needed = [option for option in self.part.options if self._required(option)]
        examples = [Ref(self.component.name, example) for example in self.component.examples]
        if not needed or any(self.component.examples):
            return examples
        for entry in self.registry.models().values():
            for layer in (layer for stage in entry.spec.stages for layer in stage.layers):
                if (self.kind, self.component.name) == ("block", layer.name) and set(needed) <= layer.options.keys():
                    return [Ref(layer.name, Options({option: layer.options[option] for option in needed}))]
        raise CheckFailed(
            f"{self} cannot be tried: {', '.join(needed)} have no default, and no model says how to set them",
            means="neither checks nor readers can build one",
            mend=f'give defaults, or an example: Component(..., example={{"{needed[0]}": ...}})',
        )

    @property
    def ref(self) -> Ref:
        """The component with its first example."""
        return self.refs[0]

    @functools.cached_property
    def usual(self) -> tuple[int, ...]:
        """What it is called with unless something else is asked for: of what is usual, the first that it takes."""
        count = len(self.part.kind.arguments)
        known = USUAL.get(self.kind, ((CHANNELS,) * count,))
        for widths in known:
            try:
                with torch.device("meta"):
                    self.construct(widths=widths)
                return widths
            except OptionError:
                continue
            except Exception:  # a check tells
                break
        return known[0]

    @functools.cached_property
    def is_lazy(self) -> bool:
        """Whether it has weights that have no shape before it has seen an image."""
        try:
            state = self.construct().state_dict(keep_vars=True)
        except Exception:  # another check tells whether it can be made
            return False
        return any(is_lazy(tensor) for tensor in state.values())

    def _required(self, option: str) -> bool:
        parameter = self.part.signature.parameters[option]
        return parameter.default is parameter.empty

    def make(self, *, seed: int = 0, **geometry: Any) -> Any:
        """A new part with its weights moved away from where all of them start alike.

        Args:
            seed: of its weights.
            **geometry: see :meth:`construct`.

        Raises:
            OptionError: the part refuses a geometry or an option.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            module = self.construct(**geometry)
            if not any(tensor.is_meta for tensor in module.state_dict().values()):
                jitter(module)
        return module

    def construct(
        self,
        *,
        ref: Ref | None = None,
        widths: Sequence[int] = (),
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        groups: int = 1,
        drop_path_rate: float = 0.0,
        position: Position | None = POSITIONS[0],
        offers: Mapping[str, Any] | None = None,
    ) -> Any:
        """A new part.

        Args:
            ref: one of :attr:`refs`; the first if None.
            widths: what it is called with: the arguments of its kind, in order; the usual ones if there are none.
            stride, dilation, groups, drop_path_rate: given to it as to a part of its kind.
            first_dilation: given to a block or a shortcut; as ``dilation`` if None.
            position: where it stands.
            offers: makers for ``norm``, ``act`` and slots, in place of batch norm, ReLU, and what a slot has.

        Raises:
            OptionError: the part refuses a geometry or an option.
        """
        slots = dict(offers or {})
        values: dict[str, Any] = {
            kind: slots.pop(kind, None) or Factory(self.registry, kind, Ref(name), {})
            for kind, name in SHARED_PARTS.items()
        }
        values |= {"stride": stride, "dilation": dilation, "groups": groups, "position": position}
        values |= {"first_dilation": first_dilation or dilation, "drop_path_rate": drop_path_rate}
        whole = parts.completed(self.registry, self.kind, ref or self.ref)
        whole = Ref(whole.name, Options({name: value for name, value in whole.options.items() if name not in slots}))
        kind = self.part.kind
        factory = Factory(self.registry, self.kind, whole, {name: values[name] for name in kind.offered} | slots)
        try:
            return factory(*(widths or self.usual), **{name: values[name] for name in kind.honoured})
        except OptionError as error:
            raise error.__cause__ or error from None  # a part that fails has refused nothing

    def other_widths(self) -> list[tuple[int, ...]]:
        """What it may be called with beside :attr:`usual`: as many channels in as out, more, and fewer."""
        widths: list[tuple[int, ...]] = []
        if self.kind == "block":
            widths = [(CHANNELS // 2,), (getattr(self.construct(), "out_channels", CHANNELS),)]
        elif len(self.usual) == 2 and self.kind in STRIDED:
            widths = [(CHANNELS, CHANNELS), (CHANNELS, 2 * CHANNELS), (2 * CHANNELS, CHANNELS)]
        return [each for each in widths if each != self.usual]

    def wider(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What it is made with for other numbers of channels out, by each option that says so; and how to say it."""
        usual = self.construct().out_channels if "out_channels" in self.part.kind.sizes else None
        for option in self.part.options if usual else ():
            value = self.ref.options.get(option, self.part.default(option, self.registry))
            if isinstance(value, bool) or not isinstance(value, int):
                continue
            other = 24 if value >= 12 else 2 * value
            sizes: dict[str, Any] = {"ref": self.ref.with_options(**{option: other})}
            others: list[dict[str, Any]] = [{}, {"widths": (other,)}] if self.kind == "block" else [{}]
            for more in others:
                try:
                    if self.construct(**sizes, **more).out_channels != usual:
                        yield f"{option}={other}", sizes | more
                except OptionError:
                    continue

    def images(
        self,
        *,
        batch: int = BATCH,
        size: tuple[int, int] = (SIZE, SIZE - 2),
        seed: int = 1,
        channels: int | None = None,
        loudness: float = 1.0,
        mean: float = 0.0,
    ) -> torch.Tensor:
        """``(batch, channels, *size)`` for the part; samples differ in contrast. Stems get larger images."""
        if self.kind == "stem":  # of sizes that their strides do not divide
            size = size[0] * 4 + 1, size[1] * 4 - 2 if size[1] > 2 else size[1] * 4
        channels = channels or next(iter(self.usual), CHANNELS)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch, channels, *size, generator=generator)
        return (x * torch.linspace(0.5, 2, batch).view(-1, 1, 1, 1) + mean) * loudness


def made_with(probe: Probe, protocol: Any) -> nn.Module:
    """A part; NotApplicable unless it, or a module of it, has what ``protocol`` asks for."""
    module: nn.Module = probe.make()
    if not any(isinstance(each, protocol) for each in module.modules()):
        raise NotApplicable(f"it is not {protocol.__name__}")
    return module


SHARED_PARTS = {"norm": "batch", "act": "relu"}
"""What a part is offered here."""
USUAL = {
    "stem": ((3,),),
    "head": ((CHANNELS, CLASSES),),
    "shortcut": ((CHANNELS, 2 * CHANNELS), (CHANNELS, CHANNELS), (2 * CHANNELS, CHANNELS)),
}
"""What parts of a kind are called with, where it is not :data:`CHANNELS`."""
