"""The functions that users call. torch is imported when a network is built, not before, so that listing stays quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from convzoo.errors import OptionError, UnknownNameError
from convzoo.plugins import registry
from convzoo.registry import Owner, fits
from convzoo.specs import Model, Options

if TYPE_CHECKING:
    import torch

    from convzoo.features import FeatureNet
    from convzoo.model import ConvNet


@dataclass(frozen=True)
class ModelInfo:
    """A model's name, its spec, what the name overrides in it if it is an alias, and the plugin that has it."""

    name: str
    spec: Model
    overrides: Options
    plugin: Owner


def list_models(
    filter: str | Sequence[str] = "",
    *,
    plugin: str | None = None,
    family: str | None = None,
    aliases: bool = False,
) -> list[str]:
    """Names of the models that are installed, in order; ``plugin/name`` where several plugins have the name.

    Args:
        filter: glob, or several; a name matches if one of them does. One with ``/`` is of ``plugin/name``.
        plugin: only those that the plugin of this name contributed.
        family: only those of this family.
        aliases: with the names that other libraries use.
    """
    globs = [filter] if isinstance(filter, str) else list(filter)
    return [
        name
        for name, entry in registry().models(aliases).items()
        if any(not glob or fits(glob, name, entry.owner) for glob in globs)
        and plugin in (None, entry.owner.name)
        and family in (None, entry.spec.family)
    ]


def is_model(name: str) -> bool:
    """Whether just one model has this name, goes by it, or is what it stands for by a rule."""
    try:
        registry().model(name)
    except UnknownNameError:
        return False
    return True


def model_info(name: str) -> ModelInfo:
    """What is known of a model without building it.

    Raises:
        UnknownNameError: there is none, or several plugins have one of this name.
    """
    entry = registry().model(name)
    return ModelInfo(name, entry.spec, entry.overrides, entry.owner)


@overload
def create_model(
    model: str | Model,
    *,
    features_only: Literal[False] = ...,
    weights: str | Path | Mapping[str, torch.Tensor] | None = ...,
    device: torch.device | str | None = ...,
    dtype: torch.dtype | None = ...,
    **options: Any,
) -> ConvNet: ...


@overload
def create_model(
    model: str | Model,
    *,
    features_only: Literal[True],
    out_indices: int | Sequence[int] | None = ...,
    weights: str | Path | Mapping[str, torch.Tensor] | None = ...,
    device: torch.device | str | None = ...,
    dtype: torch.dtype | None = ...,
    **options: Any,
) -> FeatureNet: ...


def create_model(
    model: str | Model,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    weights: str | Path | Mapping[str, torch.Tensor] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> ConvNet | FeatureNet:
    """Build a model, changed by ``options``.

    Args:
        model: a name, an alias, either as ``plugin/name``, or a spec.
        features_only: give a :class:`~convzoo.features.FeatureNet`, whose output is the list of feature levels.
        out_indices: its levels; all by default, an int for the last n.
        weights: a state dict, a file, or a URL, see :func:`convzoo.weights.load_weights`. If ``num_classes`` is not the
            variant's own, the classifier is left as it is.
        device, dtype: of the parameters. ``device="meta"`` gives the structure without storage.
        **options: ``num_classes``, ``in_chans``, ``output_stride``, ``drop_path_rate``, ``norm``, ``act``, ``stem``,
            ``head``, ``init``, or any option that a part of the model declares, ``drop_rate``, ``global_pool`` and the
            slots ``attention``, ``conv`` and ``shortcut`` among them. A slot takes a name, which may be
            ``plugin/name``, or a :func:`~convzoo.ref`. What the model has already changes nothing.

    Raises:
        UnknownNameError: the model or a component does not exist, or several plugins have one of its name.
        OptionError: an option that nothing takes, or an impossible value; before anything is allocated.
        WeightsError: ``weights`` do not fit.
    """
    from convzoo.builder import build as fold
    from convzoo.compose import compose
    from convzoo.features import FeatureNet, take_indices

    if isinstance(model, Model):
        spec = model
    elif not isinstance(model, str):
        raise OptionError(f"a model is a name or a Model spec, not {model!r}")
    else:
        entry = registry().model(model)
        spec = compose(entry.spec, entry.overrides, registry())
    native_classes = spec.num_classes
    spec = compose(spec, options, registry())
    if out_indices is not None and not features_only:
        raise OptionError("out_indices asks for feature levels; add features_only=True")
    if features_only:
        take_indices(len(spec.stages) + 1, out_indices, "out_indices")
    network = fold(spec, registry(), device=device, dtype=dtype)
    net = FeatureNet(network, out_indices) if features_only else network
    if weights is not None:
        from convzoo.weights import load_weights

        load_weights(net, weights, classifier=spec.num_classes == native_classes)
    return net


def build(spec: Model, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ConvNet:
    """The network that a spec describes: ``build(model.spec)`` gives another like ``model``.

    Raises:
        UnknownNameError: a component does not exist.
        OptionError: a part refuses an option; before anything is allocated.
    """
    from convzoo.builder import build as fold

    return fold(spec, registry(), device=device, dtype=dtype)
