"""The kinds of parts: what each is called with, what it must honour, what it may be offered, and what it gives.

Whoever needs to know a kind reads it here: parts, composition, the builder, the conformance kit, listings and the
reference pages. A new kind of the builder is an entry here, its place in the builder, and its checks. A plugin may
invent further kinds for slots of its own; :func:`kind_of` gives what holds for those.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Position:
    """Where a layer stands: ``stage`` and ``layer`` in it, ``index`` in the network of ``total`` layers; all from 0."""

    stage: int
    layer: int
    index: int
    total: int


@dataclass(frozen=True)
class Kind:
    """A kind of parts.

    Attributes:
        name: the kind; for a slot, also the option that holds it.
        gives: what a call gives, in words.
        arguments: what it is called with, in order.
        honoured: keywords that it is called with. A part honours them, or leaves them out of its signature and is
            refused where the value is not :data:`NEUTRAL`.
        offered: further keywords, for parts whose signature declares them.
        sizes: attributes of what it gives that are positive ints.
        shape: what becomes of the shape of a feature map: it is kept; strided, with other channels; made from an
            image; turned into classes. None where there is no module.
        of_model: whether it is a field of the model; else it is the layer of a stage, or a slot of a part.
    """

    name: str
    gives: str
    arguments: tuple[str, ...] = ()
    honoured: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    shape: Literal["kept", "strided", "image", "classes"] | None = "kept"
    of_model: bool = False


SHARED = ("norm", "act")
"""Kinds that the model offers to every part. A part may be given its own, which then hold within it."""

WITHIN = ("position", *SHARED)
"""What is offered to the parts of a layer."""
GEOMETRY = ("stride", "groups", "dilation")
NEUTRAL = 1
"""The stride, the number of groups and the dilation that every part honours."""

_STEM = (
    "module, with `out_channels` and `reduction` (its total stride); `forward_intermediates(x) -> (out, [level])` and"
    " `feature_info` if it has a level before its pool"
)
_HEAD = (
    "module, with `classifier_name`, the name of its last layer; `forward(x, pre_logits=False)`, and"
    " `reset(num_classes, global_pool=None)`"
)
_NORM = (
    "module that keeps the shape; where it is none of torch's norms, it may give its very input, and then no activation"
    " near it works in place"
)
_ACT = "module that keeps the shape; if it works in place, it has an `inplace`, which the builder may set to False"
_INIT = (
    "iterable of `(parameter, fill)`: how parameters start that torch's own layers, norms among them, have at torch's"
    " default; buffers, such as statistics, keep what their part says"
)
_CONV = "module: the spatial convolution of a block, with its norm and activation"
_SHORTCUT = "module that maps a block's input onto its output's shape"
_LAYER = ("first_dilation", "drop_path_rate", *WITHIN)
# To a shortcut that looks at single pixels a dilation means nothing, so it need not be honoured.
_PATH = ("dilation", "first_dilation", *WITHIN)
_IN, _BOTH = ("in_channels",), ("in_channels", "out_channels")

KINDS = {
    kind.name: kind
    for kind in (
        Kind("stem", _STEM, _IN, (), SHARED, ("out_channels", "reduction"), "image", of_model=True),
        Kind("block", "module, with `out_channels`", _IN, ("stride", "dilation"), _LAYER, ("out_channels",), "strided"),
        Kind("attention", "module that keeps the shape", ("channels",), (), WITHIN),
        Kind("conv", _CONV, _BOTH, GEOMETRY, WITHIN, shape="strided"),
        Kind("shortcut", _SHORTCUT, _BOTH, ("stride",), _PATH, shape="strided"),
        Kind("head", _HEAD, ("in_channels", "num_classes"), (), SHARED, shape="classes", of_model=True),
        Kind("norm", _NORM, ("channels",), of_model=True),
        Kind("act", _ACT, of_model=True),
        Kind("init", _INIT, ("model",), shape=None, of_model=True),
    )
}
"""The kinds that the builder knows, in the order in which they are listed."""

NOT_SPREAD = (*SHARED, "dilation")
"""Options that a ref may set, but that the model gives to all parts, so that they are not set by spreading."""


def kind_of(name: str) -> Kind:
    """The kind of this name; for one that a plugin has invented, a slot whose parts are called as its blocks like."""
    return KINDS.get(name) or Kind(name, "module", honoured=GEOMETRY, offered=WITHIN)


def given(kind: Kind) -> set[str]:
    """Keywords that only whoever calls a part of this kind may give, so that no option sets them."""
    return {*kind.arguments, "stride", *kind.offered} - set(SHARED)


RESERVED = {
    *(name for kind in KINDS.values() for name in (*kind.arguments, *kind.honoured, *kind.offered)),
    *(
        "model",
        "features_only",
        "out_indices",
        "out_strides",
        "weights",
        "pretrained",
        "use_ema",
        "cache_dir",
        "device",
        "dtype",
    ),
    *("ref", "per_stage"),
} - KINDS.keys()
"""What no kind may be called: keywords with a meaning of their own wherever options are given."""


def kind_fault(name: object, fields: set[str]) -> str:
    """Why no kind can have this name, or the empty string; ``fields`` are those of a model."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        return "a kind is the keyword of a slot: lower-case letters, digits and '_', with a letter first"
    if name in RESERVED | fields - KINDS.keys():
        return f"{name} means something else wherever options are given; choose another name for the kind"
    return ""
