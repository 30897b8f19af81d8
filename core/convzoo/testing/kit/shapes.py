"""Checks of what a part declares: its code, its options, its shapes."""

from __future__ import annotations

import inspect
import itertools
import math

import torch
from torch import nn

from convzoo.errors import OptionError
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.heads import require_head
from convzoo.testing.kit.probe import CHANNELS, Probe
from convzoo.testing.kit.promises import ANY, MODULES, STRIDED, CheckFailed, promise
from convzoo.testing.kit.runs import changed, evaluated

SIZES = ((8, 8), (9, 7), (15, 12))


@promise(ANY)
def names_code(probe: Probe) -> None:
    """Its target names code that exists, and its summary says in one line what it is."""
    if not callable(probe.part.target):
        raise CheckFailed(
            f"{probe.component.target} is {type(probe.part.target).__name__}",
            means="the builder cannot call it",
            mend="name a class or a function",
        )
    if not probe.component.summary.strip() or "\n" in probe.component.summary:
        raise CheckFailed(
            f"the summary of {probe} is {probe.component.summary!r}",
            means="listings have nothing to show",
            mend='Component(kind, name, target, "what it is, in one line")',
        )


@promise(ANY)
def declares_options(probe: Probe) -> None:
    """It takes its options by declared keywords with types, and refuses all others."""
    signature = probe.part.signature
    loose = [p.name for p in signature.parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if loose:
        raise CheckFailed(
            f"the signature{signature} has *{', *'.join(loose)}",
            means="a misspelt option is swallowed, and no message can say what there is",
            mend="declare every option as a keyword with a type and a default, and drop the rest",
        )
    untyped = [name for name in probe.part.options if name not in probe.part.hints]
    if untyped:
        raise CheckFailed(
            f"options without a type that can be read: {', '.join(untyped)}",
            means="a value of the wrong type is found late, or never",
            mend="annotate them: int, float, bool, str, Literal[...], Callable[..., nn.Module] for a slot, or | None",
        )
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind is p.POSITIONAL_ONLY and p.default is not inspect.Parameter.empty
    ]
    if positional:
        raise CheckFailed(
            f"options that cannot be given by keyword: {', '.join(positional)}",
            means="no ref() can set them",
            mend="move them behind a * in the signature",
        )


@promise(*MODULES)
def has_weights_when_made(probe: Probe) -> None:
    """Its constructor makes every weight; no layer of it is lazy."""
    if probe.is_lazy:
        raise CheckFailed(
            "it has lazy layers",
            means="networks with it have weights of no shape: torch neither counts, copies, fills nor saves them",
            mend="use nn.Conv2d instead of nn.LazyConv2d, and the like, with the numbers of channels that the"
            " constructor is given",
        )


@promise(*MODULES)
def declares_shapes(probe: Probe) -> None:
    """It produces the shape that its kind promises and that its out_channels say, at odd sizes and dilated too."""
    for ref in probe.refs:
        module = probe.make(ref=ref)
        if probe.kind == "head":
            require_head(probe, module)
        elif probe.kind == "stem":
            _stem(probe, module)
        else:
            channels = _channels(probe, module)
            for size in SIZES:
                _require_shape(probe, module, size, channels, 1, "")
        if probe.kind in STRIDED:
            try:
                dilated = probe.make(ref=ref, dilation=2)
            except OptionError:
                continue
            for size in SIZES:
                _require_shape(probe, dilated, size, channels, 1, " with dilation 2")
    for case in combined_cases(probe):
        if probe.kind == "stem":
            _stem(probe, case.make(), case.channels)
        elif probe.kind != "head":
            module, widths = case.make(), case.geometry.get("widths", ())
            channels = _channels(probe, module, widths)
            _require_shape(probe, module, case.look["size"], channels, case.stride, f" with {case.name}", case.channels)


@promise(*STRIDED)
def honours_strides(probe: Probe) -> None:
    """It honours a stride or refuses it, and never ignores it, dilated or not."""
    widths = ((), *probe.other_widths())
    for (stride, dilation), ref, each in itertools.product(((2, 1), (3, 1), (2, 2)), probe.refs, widths):
        try:
            module = probe.make(ref=ref, stride=stride, dilation=dilation, widths=each)
        except OptionError:
            continue
        channels = _channels(probe, module, each)
        where = f" with stride {stride}" + (f" and dilation {dilation}" if dilation > 1 else "")
        for size in ((12, 6), (13, 9)):
            _require_shape(probe, module, size, channels, stride, where, next(iter(each), None))


def _channels(probe: Probe, module: nn.Module, widths: tuple[int, ...] = ()) -> int:
    declared = getattr(module, "out_channels", None)
    if probe.kind in ("block", "stem") and (isinstance(declared, bool) or not isinstance(declared, int)):
        raise CheckFailed(
            f"out_channels is {declared!r}",
            means="the builder does not know how wide the next layer's input is",
            mend="set self.out_channels to an int in the constructor",
        )
    if probe.kind in ("block", "stem"):
        return int(declared)  # type: ignore[arg-type]
    return next(reversed(widths or probe.usual), CHANNELS)


def _require_shape(
    probe: Probe,
    module: nn.Module,
    size: tuple[int, int],
    channels: int,
    stride: int,
    where: str,
    channels_in: int | None = None,
) -> None:
    images = probe.images(size=size, batch=2, channels=channels_in)
    try:
        out = evaluated(module, images)
    except Exception as error:
        raise CheckFailed(
            f"it fails on {tuple(images.shape)}{where}: {type(error).__name__}: {error}",
            means="networks with it work at some image sizes only",
            mend="compute paddings and sizes from the input and the stride, or raise OptionError in the constructor",
        ) from error
    # Pools without padding round down, convolutions with it round up; a part must do one of the two on both sides.
    ceil = tuple(math.ceil(side / stride) for side in images.shape[2:])
    floor = tuple(side // stride for side in images.shape[2:])
    sizes = (ceil, floor) if probe.kind == "block" else (ceil,)
    if out.ndim != 4 or out.shape[:2] != (2, channels) or tuple(out.shape[2:]) not in sizes:
        expected = " or ".join(str((2, channels, *each)) for each in dict.fromkeys(sizes))
        raise CheckFailed(
            f"from {tuple(images.shape)}{where} it makes {tuple(out.shape)}, not {expected}",
            means="it does not fit where its kind is used: sums of branches fail, or a stride is lost",
            mend="apply the stride once, pad by kernel_size // 2 * dilation, and let out_channels say what comes out; "
            "what cannot be honoured is refused with OptionError in the constructor",
        )


def _stem(probe: Probe, module: nn.Module, image_channels: int | None = None) -> None:
    channels, reduction = _channels(probe, module), getattr(module, "reduction", None)
    if isinstance(reduction, bool) or not isinstance(reduction, int) or reduction < 1:
        raise CheckFailed(
            f"reduction is {reduction!r}",
            means="feature levels and output_stride cannot be computed",
            mend="set self.reduction to the total stride in the constructor",
        )
    for size in SIZES:
        images = probe.images(size=size, batch=2, channels=image_channels)
        out = evaluated(module, images)
        allowed = {
            tuple(math.ceil(side / reduction) for side in images.shape[2:]),
            tuple(side // reduction for side in images.shape[2:]),
        }
        if out.shape[:2] != (2, channels) or tuple(out.shape[2:]) not in allowed:
            raise CheckFailed(
                f"from {tuple(images.shape)} it makes {tuple(out.shape)}, but says out_channels {channels} and"
                f" reduction {reduction}",
                means="feature levels claim sizes that they have not",
                mend="let out_channels and reduction say what forward does",
            )
        if not hasattr(module, "forward_intermediates"):
            continue
        with torch.no_grad():
            again, levels = module.forward_intermediates(images)  # type: ignore[operator]
        info = getattr(module, "feature_info", None) or {}
        shapes = [(level.shape[1], math.ceil(images.shape[2] / level.shape[2])) for level in levels]
        if not torch.equal(again, out) or not _agrees_with_its_level(probe):
            raise CheckFailed(
                "forward_intermediates gives another output than forward, or leaves other statistics",
                means="a network gives other classes, or trains otherwise, when it is asked for its levels",
                mend="let forward give what forward_intermediates gives: the level, and then the pool",
            )
        if shapes != [(info.get("num_chs"), info.get("reduction"))]:
            raise CheckFailed(
                f"forward_intermediates gives levels of (channels, reduction) {shapes}; feature_info says {info}",
                means="features_only networks get a wrong first level",
                mend="give (forward(x), [level]), and a feature_info with the level's num_chs and reduction",
            )


def _agrees_with_its_level(probe: Probe) -> bool:
    """Whether both ways through a stem agree with an activation that is not monotone, for loud images, in training."""
    offers = {"act": lambda **_: nn.SiLU()} if probe.part.declares("act") else {}
    # Smooth ones, of which whole windows are negative.
    images = nn.functional.interpolate(probe.images(batch=2, size=(2, 2)), size=(40, 36), mode="bilinear") * 4
    first, second = (probe.make(offers=offers).train() for _ in range(2))
    with torch.no_grad():
        same = torch.equal(first(images), second.forward_intermediates(images)[0])
    return same and not changed(first.state_dict(), second.state_dict())
