"""From a package, a folder or a repository of the hub, to the spec of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convzoo.errors import ConvzooError, WeightsError, cut
from convzoo.plugins.registry import Registry
from convzoo.spec.model import Model
from convzoo.spec.refs import Options

if TYPE_CHECKING:
    from convzoo.network.packages import Package

VERSION = 1
PREFIX = "zoo_"


def timm_name(name: str) -> str:
    """What timm calls the zoo's model of a ``name``: a dot would begin the tag of its weights."""
    return PREFIX + name.replace(".", "_")


def spec_of(package: Package, registry: Registry) -> tuple[Model, Options, dict[str, Any]]:
    """A package's spec, what its name overrides in it, and the options that its configuration adds.

    Raises:
        WeightsError: its configuration is not one of a network that is installed.
    """
    from convzoo.network.packages import CONFIG, OURS

    config = package.config
    name = config.get("architecture")
    own = config.get(OURS)
    try:
        if isinstance(own, Mapping):
            if own.get("version") != VERSION:
                raise WeightsError(
                    f"it was written by another version of convzoo (its entry is {own.get('version')!r})"
                )
            return Model.from_dict(own.get("spec", {})), Options(), {}
        if not isinstance(name, str):
            raise WeightsError(f"{CONFIG} names no architecture")
        entry = registry.model(next((each for each in registry.models() if timm_name(each) == name), name))
        arguments = config.get("model_args") or {}
        options = {key: value for key, value in dict(arguments).items() if key not in ("pretrained", "features_only")}
        for key in ("num_classes", "global_pool"):
            if key in config and key not in options:
                options[key] = config[key]
        if options.get("global_pool") == "avg":
            del options["global_pool"]
        size = package.input.get("input_size", ())
        if len(size) == 3 and "in_chans" not in options:
            options["in_chans"] = size[0]
        return entry.spec, entry.overrides, options
    except (ConvzooError, TypeError, ValueError) as error:
        raise WeightsError(f"the network of {package.name!r} cannot be made: {cut(error, 1000)}") from error


def deployed_form(package: Package) -> bool | None:
    """Whether it holds a network as ``convzoo.deploy`` makes it: None if not, else whether it was rewritten."""
    from convzoo.network.packages import OURS

    own = package.config.get(OURS)
    if not isinstance(own, Mapping) or own.get("deployed") is not True:
        return None
    return own.get("rewritten") is True
