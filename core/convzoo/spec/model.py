"""A network as data: its stages, and the whole of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from convzoo.errors import SpecError, require_int, require_rate, shown
from convzoo.spec.checks import instances, part, sequence, text
from convzoo.spec.json import Record, objects, plain, unplain
from convzoo.spec.keys import key_pairs
from convzoo.spec.kinds import KINDS
from convzoo.spec.references import Dialect, Reference
from convzoo.spec.refs import NAME, NAME_RULE, Ref

PARTS = tuple(kind.name for kind in KINDS.values() if kind.of_model)
"""Fields of a model that hold parts; each is named after its kind."""
SETTINGS = (*PARTS, "num_classes", "in_chans", "output_stride", "drop_path_rate")
"""Fields of a model that options set."""


@dataclass(frozen=True)
class Stage(Record):
    """Layers that run one after the other.

    Attributes:
        layers: components of kind ``block``, each a name or a :class:`Ref`.
        stride: of the first layer; the others have 1.
    """

    layers: tuple[Ref, ...]
    stride: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.layers, (str, Ref)):
            raise SpecError(f"a stage's layers are a sequence, got the single {self.layers!r}; write [layer]")
        layers = sequence("a stage's layers", self.layers)
        if not layers:
            raise SpecError("a stage needs at least one layer")
        checked = {key: part("layers", layer) for key, layer in {id(layer): layer for layer in layers}.items()}
        object.__setattr__(self, "layers", tuple(checked[id(layer)] for layer in layers))  # most are one and the same
        object.__setattr__(self, "stride", require_int("a stage's stride", self.stride, at_least=1))

    def runs(self) -> list[tuple[int, Ref]]:
        """``(count, layer)`` for each run of equal neighbours."""
        return [(len(list(run)), layer) for layer, run in itertools.groupby(self.layers)]


@dataclass(frozen=True)
class Model(Record):
    """A network: a stem, stages, a head, what all parts share, and where it comes from.

    Attributes:
        name: canonical name.
        family: group of variants that one paper or recipe describes.
        stem, head: components of the kinds ``stem`` and ``head``.
        stages: the layers between them, components of kind ``block``.
        norm, act: normalisation and activation offered to every part that declares ``norm`` or ``act``.
        init: how convolutions and linear layers start, a component of kind ``init``.
        num_classes: outputs of the classifier; 0 means pooled features.
        in_chans: channels of the input image.
        input_size: side in pixels of the square image that the variant is meant for.
        output_stride: input pixels per pixel of the last feature map; None leaves every stride as it is.
            Smaller values turn the last stages' strides into dilations.
        drop_path_rate: stochastic depth of the last layer; grows linearly from 0 at the first.
        dataset: ``"imagenet"`` or ``"cifar10"``; gives mean and deviation of the input.
        paper: where it is described.
        references: what other libraries' models it equals.
        keys: ordered ``(pattern, replacement)`` pairs for ``re.sub`` that turn a key of this model's state dict
            into the reference's. In a replacement ``{1}`` is the first group, and ``{1+1}`` the number in it plus 1.
        dialects: the names that yet others have, each a :class:`Dialect`.
        aliases: further names. A :class:`Ref` also overrides options, for a name under which
            another library builds the same network with other defaults.
        params, macs: exact counts, pinned; MACs are of convolutions and linear layers, for one image of ``input_size``.
    """

    name: str
    family: str
    stem: Ref
    stages: tuple[Stage, ...]
    head: Ref = Ref("classifier")
    norm: Ref = Ref("batch")
    act: Ref = Ref("relu")
    init: Ref = Ref("default")
    num_classes: int = 1000
    in_chans: int = 3
    input_size: int = 224
    output_stride: int | None = None
    drop_path_rate: float = 0.0
    dataset: str = "imagenet"
    paper: str = ""
    references: tuple[Reference, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    dialects: tuple[Dialect, ...] = ()
    aliases: tuple[Ref, ...] = ()
    params: int | None = None
    macs: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise SpecError(f"model {shown(self.name)}: {NAME_RULE}")
        keep, of = functools.partial(object.__setattr__, self), f"{str.__str__(self.name)}: "
        for field in ("name", "family", "dataset", "paper"):
            keep(field, text(of + field, getattr(self, field)))
        for field in PARTS:
            keep(field, part(of + field, getattr(self, field)))
        keep("aliases", tuple(part(f"{of}aliases", alias) for alias in sequence(f"{of}aliases", self.aliases)))
        keep("references", instances(f"{of}references", self.references, Reference))
        keep("keys", key_pairs(f"{of}keys", self.keys))
        keep("dialects", instances(f"{of}dialects", self.dialects, Dialect))
        keep("stages", instances(f"{of}stages", self.stages, Stage))
        if not self.stages:
            raise SpecError(f"{of}stages must be one or more Stage, got none")
        for field, least in {"num_classes": 0, "in_chans": 1, "input_size": 1}.items():
            keep(field, require_int(of + field, getattr(self, field), at_least=least))
        for field, least in {"output_stride": 1, "params": 0, "macs": 0}.items():
            if getattr(self, field) is not None:
                keep(field, require_int(of + field, getattr(self, field), at_least=least))
        keep("drop_path_rate", require_rate(f"{of}drop_path_rate", self.drop_path_rate))
        if self.dataset not in DATASETS:
            raise SpecError(f"{of}dataset={self.dataset!r}: known are {', '.join(DATASETS)}")

    def derived(self, **changes: Any) -> Model:
        """A copy with ``changes`` of fields, which no longer claims what this one was pinned to.

        Counts, references and aliases are dropped; a copy that comes out the same keeps them.
        """
        changed = dataclasses.replace(self, **changes)
        return (
            self if changed == self else dataclasses.replace(changed, params=None, macs=None, references=(), aliases=())
        )

    def mapped(self, change: Callable[[str, Ref, int | None], Ref]) -> dict[str, Any]:
        """The fields that hold parts, with ``change(kind, part, stage)`` in place of each; only layers have a stage."""
        fields: dict[str, Any] = {kind: change(kind, getattr(self, kind), None) for kind in PARTS}
        fields["stages"] = tuple(
            Stage(tuple(change("block", layer, number) for layer in stage.layers), stage.stride)
            for number, stage in enumerate(self.stages)
        )
        return fields

    def reference(self, library: str = "timm") -> Reference | None:
        """The model of ``library`` that this one must equal, or None."""
        return next((r for r in self.references if r.library == library), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, ready for JSON; :meth:`from_dict` reads them back."""
        return {field.name: plain(getattr(self, field.name), field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Model:
        """The spec that :meth:`to_dict` wrote.

        Raises:
            SpecError: a field is unknown or missing, or a value is impossible.
        """
        if not isinstance(data, Mapping):
            raise SpecError(f"not a model's dict: {shown(data)}")
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := [key for key in data if key not in fields]:
            raise SpecError(f"a model has no field {shown(unknown)}; the fields are {sorted(fields)}")
        values = {key: unplain(value, key) for key, value in data.items()}
        for field, made in (("stages", Stage), ("references", Reference), ("dialects", Dialect)):
            if field in values:
                values[field] = objects(made, values[field], field)
        try:
            return cls(**values)
        except TypeError as error:
            raise SpecError(f"not a model's dict: {error}") from error


DATASETS = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop_pct": 0.875},
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616), "crop_pct": 1.0},
}
"""Mean and deviation of the input, in [0, 1], and the share of it that evaluation crops."""
