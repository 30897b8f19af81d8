"""What is published for a model, as timm describes it, and back."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

from timm.models import DefaultCfg, PretrainedCfg

from convzoo.errors import OptionError, WeightsError, shown
from convzoo.network.description import input_cfg
from convzoo.network.packages import FOLDER, HUB
from convzoo.published.rows import Published, choose, published
from convzoo.spec.model import Model

_FIELDS = {field.name for field in dataclasses.fields(PretrainedCfg)}
_OF_THE_NETWORK = {
    "architecture",
    "classifier",
    "custom_load",
    "first_conv",
    "fixed_input_size",
    "num_classes",
    "pool_size",
    "state_dict",
    "test_pool_size",
}
"""Fields that the network itself knows better than a description of its weights."""


def default_cfg(spec: Model) -> DefaultCfg:
    """The published weights of a model by their tags, the preferred ones first; one without a tag if there are none."""
    cfgs = {tag(row): _described(spec, row) for row in published(spec.name)}
    if not cfgs:
        cfgs = {"": PretrainedCfg(num_classes=spec.num_classes, **_fields(input_cfg(spec, {})))}
    return DefaultCfg(deque(cfgs), cfgs, is_pretrained="" not in cfgs)


def tag(row: Published) -> str:
    """timm's own tags are what they are there; others' have the source before them, as in ``torchvision_...``."""
    return row.tag if row.source == "timm" else f"{row.source}_{row.tag}"


def _described(spec: Model, row: Published) -> PretrainedCfg:
    where, address = _address(row)
    fields = _fields(input_cfg(spec, row.input))
    return PretrainedCfg(**{**fields, where: address}, license=row.licence or None, num_classes=row.num_classes)


def _address(row: Published) -> tuple[str, str]:
    """The field that says where the weights are, and what it says."""
    if row.address.startswith(HUB):
        return "hf_hub_id", row.address.removeprefix(HUB)
    return "url", row.address


def _fields(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Those that timm has, with tuples as it has them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in cfg.items() if key in _FIELDS}


def told(cfg: PretrainedCfg) -> dict[str, Any]:
    """What a description of weights says of them and of their images, without what is the network's to say."""
    values = {name: getattr(cfg, name) for name in _FIELDS - _OF_THE_NETWORK}
    return _fields({name: value for name, value in values.items() if value is not None})


def weights(spec: Model, cfg: PretrainedCfg) -> Any:
    """What :func:`convzoo.create_model` takes as ``weights`` for those that ``cfg`` describes.

    As in timm, a state dict is preferred to a file, that to a repository of the hub, and that to a URL. Published ones
    go by their name, so that what is fetched is compared with their digest.

    Raises:
        WeightsError: it describes none, or nobody has published any.
        OptionError: it describes them in a way that only timm's own models understand.
    """
    rows = published(spec.name)
    if cfg.custom_load:
        raise OptionError(
            f"custom_load={shown(cfg.custom_load)}: a model of the zoo has no way of its own to load weights"
        )
    if cfg.source == "local-dir":
        return f"{FOLDER}{cfg.file}"
    if cfg.source == "hf-hub":
        return HUB + _repository(cfg)
    if cfg.state_dict:
        return cfg.state_dict
    if cfg.file:
        return str(cfg.file)
    found = next((row for row in rows if getattr(cfg, _address(row)[0]) == _address(row)[1]), None)
    if found is not None and not cfg.hf_hub_filename:
        return found.name
    if cfg.hf_hub_id:
        return HUB + _repository(cfg)
    if cfg.url:
        if not isinstance(cfg.url, str):
            raise OptionError(f"url={shown(cfg.url)}: expected one address, as text")
        return cfg.url
    if not rows:
        choose(spec.name)  # which says that there are none, and what there is instead
    raise WeightsError(
        f"pretrained_cfg says of no weights for {spec.name} where they are: give it a file, a url, an hf_hub_id or a"
        f" state_dict, or a tag: {', '.join(tag(row) for row in rows)}"
    )


def _repository(cfg: PretrainedCfg) -> str:
    if cfg.hf_hub_filename:
        raise OptionError(
            f"hf_hub_filename={shown(cfg.hf_hub_filename)}: of a repository the usual file is taken; fetch another one"
            " by huggingface_hub, and give it as file"
        )
    return str(cfg.hf_hub_id)
