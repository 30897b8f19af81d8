"""What ``timm.create_model`` calls for a model of the zoo: its arguments, as ours."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models import PretrainedCfg, resolve_pretrained_cfg
from torch import nn

from convzoo.api import create_model, model_info
from convzoo.errors import OptionError, UnknownOptionError, shown
from convzoo.network.backbone import FeatureNet
from convzoo.network.model import ConvNet
from convzoo.timm.configs import told, weights

POOLS = {
    "fast": "avg",
    "fastavg": "avg",
    "fastmax": "max",
    "fastavgmax": "avgmax",
    "fastcatavgmax": "catavgmax",
}
"""timm's names of poolings that differ from others only in how they are computed."""

LISTS = ("list", "getter", "hook", "fx")
"""timm's ways of getting at features that give a list of them, as a FeatureNet does."""

made: weakref.WeakSet[ConvNet | FeatureNet] = weakref.WeakSet()
"""The networks that were made here, and are still there."""


def create(
    name: str,
    own: str,
    pretrained: bool = False,
    pretrained_cfg: str | Mapping[str, Any] | PretrainedCfg | None = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> nn.Module:
    """The model of the zoo of a ``name``, which timm calls ``own``.

    Args:
        name, own: its two names.
        pretrained: with the weights that ``pretrained_cfg`` describes.
        pretrained_cfg: a tag, or a description; what timm has registered for ``own`` without.
        pretrained_cfg_overlay: fields of it that are others.
        cache_dir: folder for weights that are fetched.
        **options: as ``timm.create_model`` has them, see :mod:`convzoo.timm`, and of :func:`convzoo.create_model`.

    Raises:
        UnknownOptionError: nothing takes an option; this is a TypeError, as in timm.
        OptionError: an option has an impossible value, or one that has no meaning here.
        RuntimeError: timm knows no such tag.
        WeightsError: there are no such weights, or they do not fit.
    """
    spec = model_info(name).spec
    if isinstance(pretrained_cfg, Mapping):
        pretrained_cfg = dict(pretrained_cfg)
    cfg = resolve_pretrained_cfg(own, pretrained_cfg, dict(pretrained_cfg_overlay or {}))  # type: ignore[arg-type]
    options.pop("pretrained_model_args", None)  # the options of a saved network, which stand among the others
    _take_features(options)
    pool = options.get("global_pool")
    if isinstance(pool, str):
        options["global_pool"] = POOLS.get(pool, pool)
    if cfg.num_classes >= 0:
        options.setdefault("num_classes", cfg.num_classes)
    options.setdefault("in_chans", cfg.input_size[0])
    model = create_model(name, weights=weights(spec, cfg) if pretrained else None, cache_dir=cache_dir, **options)
    network = model.body if isinstance(model, FeatureNet) else model
    network.tell({**told(cfg), "architecture": own})
    if isinstance(model, FeatureNet):
        of_classes = ("num_classes", "classifier")
        model.default_cfg = {key: value for key, value in network.default_cfg.items() if key not in of_classes}
    made.add(model)
    return model


def _take_features(options: dict[str, Any]) -> None:
    """Put what ``options`` say of features in our terms.

    Raises:
        OptionError: they ask for another form than a list of tensors.
        UnknownOptionError: they speak of features that are not asked for.
    """
    spoken = {key: options.pop(key) for key in ("feature_cls", "feature_cfg") if key in options}
    if not options.get("features_only"):
        if spoken:
            raise UnknownOptionError(f"{', '.join(spoken)} is about features; add features_only=True")
        return
    config = dict(spoken.get("feature_cfg") or {})
    form = spoken.get("feature_cls", config.pop("feature_cls", "list"))
    # timm's classes are called FeatureListNet and so on.
    text = form.__name__.removeprefix("Feature").removesuffix("Net") if isinstance(form, type) else form
    text = {"graph": "fx"}.get(str(text).lower(), str(text).lower())
    if text not in LISTS and "hook" not in text:
        raise OptionError(
            f"feature_cls={shown(form)}: a model of the zoo gives its features as a list, as {', '.join(LISTS)} do;"
            " dict(zip(model.feature_info.module_name(), model(x))) has them by name"
        )
    if "out_indices" in config:
        options.setdefault("out_indices", config.pop("out_indices"))
    if config.pop("output_fmt", "NCHW") != "NCHW" or config:
        raise OptionError(
            f"feature_cfg={shown(spoken['feature_cfg'])}: a model of the zoo takes out_indices, and gives NCHW"
        )
