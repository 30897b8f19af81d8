"""The functions that users call. torch is imported when a network is built, not before, so that listing stays quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from convzoo.errors import OptionError, UnknownNameError, require_flag, scalar, shown
from convzoo.globs import matcher
from convzoo.plugins.host import registry
from convzoo.plugins.registry import Named, Owner
from convzoo.spec.kinds import kind_fault
from convzoo.spec.model import Model
from convzoo.spec.refs import LONGEST_NAME, NAME_RULE, Options, ref

if TYPE_CHECKING:
    import torch

    from convzoo.layers import Maker
    from convzoo.network.backbone import FeatureNet
    from convzoo.network.checkpoints import Checkpoint
    from convzoo.network.model import ConvNet


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
    exclude: str | Sequence[str] = "",
    plugin: str | None = None,
    family: str | None = None,
    aliases: bool = False,
) -> list[str]:
    """Names of the models that are installed, in order.

    Args:
        filter: glob, or several; a name matches if one of them does.
        exclude: glob, or several, of names to leave out; an empty one leaves out none.
        plugin: only those that the plugin of this name contributed.
        family: only those of this family, one of :func:`convzoo.list_families`.
        aliases: with the names that other libraries use.

    Raises:
        OptionError: an argument is of another type.
    """
    matches, excluded = matcher("filter", filter), matcher("exclude", exclude, empty="")
    for option, name in {"plugin": plugin, "family": family}.items():
        if name is not None and not isinstance(name, str):
            raise OptionError(f"{option}={shown(name)}: expected the name of a {option}")
    return [
        name
        for name, entry in registry().models(require_flag("aliases", aliases)).items()
        if matches(name)
        and not excluded(name)
        and plugin in (None, entry.owner.name)
        and family in (None, entry.spec.family)
    ]


def _entry(name: str) -> Named:
    """What a model's name stands for; UnknownNameError if it is none, OptionError if it is no string."""
    name = scalar(name)
    if type(name) is not str:
        raise OptionError(f"a model is called by its name, a string, got {shown(name)}")
    if len(name) > LONGEST_NAME:
        raise UnknownNameError(f"There is no model {shown(name)}: {NAME_RULE}.")
    return registry().model(name)


def is_model(name: str) -> bool:
    """Whether a model has this name, goes by it, or is what it stands for by a rule.

    Raises:
        OptionError: ``name`` is no string.
    """
    try:
        _entry(name)
    except UnknownNameError:
        return False
    return True


def model_info(name: str) -> ModelInfo:
    """What is known of the model of a ``name`` or alias without building it.

    Raises:
        UnknownNameError: there is none.
        OptionError: ``name`` is no string.
    """
    entry = _entry(name)
    return ModelInfo(name, entry.spec, entry.overrides, entry.owner)


@overload
def create_model(
    model: str | Model,
    *,
    features_only: Literal[False] = ...,
    pretrained: bool | None = ...,
    weights: str | Path | Mapping[str, Any] | None = ...,
    use_ema: bool = ...,
    cache_dir: str | Path | None = ...,
    device: torch.device | str | None = ...,
    dtype: torch.dtype | str | None = ...,
    **options: Any,
) -> ConvNet: ...


@overload
def create_model(
    model: str | Model,
    *,
    features_only: Literal[True],
    out_indices: int | Sequence[int] | None = ...,
    out_strides: Sequence[int] | None = ...,
    pretrained: bool | None = ...,
    weights: str | Path | Mapping[str, Any] | None = ...,
    use_ema: bool = ...,
    cache_dir: str | Path | None = ...,
    device: torch.device | str | None = ...,
    dtype: torch.dtype | str | None = ...,
    **options: Any,
) -> FeatureNet: ...


def create_model(
    model: str | Model,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    out_strides: Sequence[int] | None = None,
    pretrained: bool | None = None,
    weights: str | Path | Mapping[str, Any] | None = None,
    use_ema: bool = True,
    cache_dir: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    **options: Any,
) -> ConvNet | FeatureNet:
    """Build a model, changed by ``options``.

    Args:
        model: a name, an alias, a spec, or what :func:`convzoo.save_pretrained` or timm wrote, with its weights: a
            folder ``"local-dir:path"`` or a repository of the Hugging Face hub ``"hf-hub:owner/name[@revision]"``.
        features_only: give a :class:`~convzoo.network.backbone.FeatureNet`, whose output is the list of feature levels.
        out_indices: its levels; all by default, an int for the last n.
        out_strides: its levels by their strides, such as ``(4, 8, 16, 32)``, in place of ``out_indices``. Of several
            levels of one stride it is the last, which has seen the most.
        pretrained: take the published weights that ``convzoo show NAME`` lists first; False takes none, not even those
            of a folder.
        weights: published weights by their source, ``"timm"`` or ``"timm:tag"``; a state dict, a file, a URL, a folder
            or a repository, see :func:`convzoo.load_weights`. Unless ``num_classes`` is given, it is theirs, where they
            say so. Where the shape of their classifier is another, it is left out, with a warning.
        use_ema: take the moving average of the weights where a checkpoint has it.
        cache_dir: folder in which weights that are fetched are kept, instead of those of torch.hub and huggingface_hub.
        device, dtype: of the parameters, as torch has them or by their names. ``device="meta"`` gives the structure
            without storage.
        **options: ``num_classes``, ``in_chans``, ``output_stride``, ``drop_path_rate``, ``norm``, ``act``, ``stem``,
            ``head``, ``init``, or any option that a part of the model declares, ``drop_rate``, ``global_pool`` and the
            slots ``attention``, ``conv`` and ``shortcut`` among them. A slot takes a name or a :func:`~convzoo.ref`;
            :func:`~convzoo.per_stage` gives each stage a value of its own. What the model has already changes nothing.

    Raises:
        UnknownNameError: the model or a component does not exist.
        OptionError: an option that nothing takes, or an impossible value; before any weight is allocated.
        WeightsError: ``weights`` cannot be read, which shows before any weight is allocated, or do not fit.
    """
    from convzoo.building.builder import build as fold
    from convzoo.building.compose import compose
    from convzoo.network.backbone import FeatureNet
    from convzoo.network.features import take_indices, take_strides
    from convzoo.network.packages import cache_folder, open_package
    from convzoo.network.sources import wanted

    cache_dir = cache_folder(cache_dir)
    overrides = Options()
    package, added = None, dict[str, Any]()
    if isinstance(model, str) and model.startswith(("local-dir:", "hf-hub:")):
        from convzoo.packages import deployed_form, spec_of

        package = open_package(model, cache_dir)
        model, overrides, added = spec_of(package, registry())
    elif isinstance(model, str):
        entry = _entry(model)
        model, overrides = entry.spec, entry.overrides
    if not isinstance(model, Model):
        raise OptionError(f"a model is a name or a Model spec, not {shown(model)}")
    features_only, use_ema = require_flag("features_only", features_only), require_flag("use_ema", use_ema)
    source = wanted(model.name, weights, pretrained, package, cache_dir)
    if source is not None and source.num_classes is not None:
        added.setdefault("num_classes", source.num_classes)
    spec = compose(model, registry(), overrides, {**added, **options})
    for option, levels in {"out_indices": out_indices, "out_strides": out_strides}.items():
        if levels is not None and not features_only:
            raise OptionError(f"{option} asks for feature levels; add features_only=True")
    if out_indices is not None and out_strides is not None:
        raise OptionError("out_indices and out_strides both say which levels there are to be; leave one of them out")
    if features_only:
        take_indices(len(spec.stages) + 1, out_indices, "out_indices")

    from convzoo.network.checkpoints import open_checkpoint
    from convzoo.network.place import device_of, dtype_of
    from convzoo.network.putting import put

    checkpoint = None if source is None else open_checkpoint(source, use_ema)
    rewritten = None if package is None or weights is not None else deployed_form(package)
    if checkpoint and rewritten is not None:
        return _deployed(fold(spec, registry(), dtype=dtype), rewritten, checkpoint, features_only, device)
    net: list[ConvNet | FeatureNet] = []

    def prepare(network: ConvNet) -> None:
        levels = out_indices if out_strides is None else take_strides(network.feature_info, out_strides)
        net.append(FeatureNet(network, levels) if features_only else network)
        if checkpoint:
            if dtype is not None:
                network.to(dtype_of(dtype))  # so that no weight is rounded on the way
            put(net[0], checkpoint, copy=device_of(device).type != "meta")

    fold(spec, registry(), device=device, dtype=dtype, prepare=prepare)
    return net[0]


def _deployed(
    network: ConvNet,
    rewritten: bool,
    checkpoint: Checkpoint,
    features_only: bool,
    device: torch.device | str | None,
) -> ConvNet:
    """The form for inference of a network, with its weights.

    Only a network that has been trained to its end can be deployed; what it then holds is what the weights replace.
    """
    import torch

    from convzoo.deploying.deploy import deploy
    from convzoo.network.lifecycle import set_progress
    from convzoo.network.putting import put

    if features_only:
        raise OptionError("a deployed network is not cut down to its features; deploy(features) makes one of its own")
    with torch.inference_mode(False):  # as it is built
        set_progress(network, 1)
        network = deploy(network, rewrite=rewritten)
        put(network, checkpoint)
        return network if device is None else network.to(device)


def build(spec: Model, *, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None) -> ConvNet:
    """The network that a spec describes: ``build(model.spec)`` gives another like ``model``.

    Args:
        spec: of the network.
        device, dtype: of the parameters, as torch has them or by their names. ``device="meta"`` gives the structure
            without storage.

    Raises:
        UnknownNameError: a component does not exist.
        OptionError: a part refuses an option; before any weight is allocated.
    """
    return create_model(spec, device=device, dtype=dtype)


def part(kind: str, name: str, /, **options: Any) -> Maker:
    """A component as a callable: the default of a slot, ``shortcut: Maker = part("shortcut", "avg")``, or made by hand.

    The component is looked up when the callable is called: ``part("attention", "se", reduction=8)(64)`` is a module for
    64 channels. Of what it is called with, it gets what its signature declares. As a slot's default, it is named in the
    specs of networks.

    Args:
        kind: of the component.
        name: of the component.
        **options: its own.

    Raises:
        UnknownNameError: on calling it, if there is no such component.
        OptionError: on calling it, if the component takes no such option; at once, if there can be no such kind.
    """
    from convzoo.building.factory import PartByName

    if fault := kind_fault(kind, set()):
        raise OptionError(f"there is no kind {shown(kind)}: {fault}")
    return PartByName(kind, ref(name, **options))
