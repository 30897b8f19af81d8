"""convzoo: convolutional networks for PyTorch, in which every part is a plugin.

``convzoo.__version__`` is the version of the distribution that is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convzoo.api import ModelInfo, build, create_model, is_model, list_models, model_info, part
from convzoo.deploying.deploy import deploy
from convzoo.errors import (
    ConvzooError,
    LifecycleError,
    LifecycleWarning,
    OptionError,
    PluginError,
    PluginWarning,
    SpecError,
    UnknownNameError,
    UnknownOptionError,
    WeightsError,
    WeightsWarning,
)
from convzoo.listing import list_families, list_parts
from convzoo.network.lifecycle import penalty, set_progress
from convzoo.plugins.environment import core_version
from convzoo.plugins.hook import hookimpl
from convzoo.plugins.host import register
from convzoo.spec.contributions import Component, Pattern
from convzoo.spec.model import Model, Stage
from convzoo.spec.references import Dialect, Reference
from convzoo.spec.refs import PerStage, Ref, per_stage, ref

if TYPE_CHECKING:
    __version__: str
    from convzoo.network.backbone import NamedLevels
    from convzoo.network.following import follow
    from convzoo.network.images import transforms
    from convzoo.network.keys import reference_state_dict
    from convzoo.network.saving import save_pretrained
    from convzoo.network.weights import load_weights

__all__ = [
    "Component",
    "ConvzooError",
    "Dialect",
    "LifecycleError",
    "LifecycleWarning",
    "Model",
    "ModelInfo",
    "NamedLevels",
    "OptionError",
    "Pattern",
    "PerStage",
    "PluginError",
    "PluginWarning",
    "Ref",
    "Reference",
    "SpecError",
    "Stage",
    "UnknownNameError",
    "UnknownOptionError",
    "WeightsError",
    "WeightsWarning",
    "build",
    "create_model",
    "deploy",
    "follow",
    "hookimpl",
    "is_model",
    "list_families",
    "list_models",
    "list_parts",
    "load_weights",
    "model_info",
    "part",
    "penalty",
    "per_stage",
    "ref",
    "reference_state_dict",
    "register",
    "save_pretrained",
    "set_progress",
    "transforms",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return core_version()
    # These need torch, and so are imported when first asked for.
    if name == "follow":
        from convzoo.network.following import follow

        return follow
    if name == "NamedLevels":
        from convzoo.network.backbone import NamedLevels

        return NamedLevels
    if name == "load_weights":
        from convzoo.network.weights import load_weights

        return load_weights
    if name == "save_pretrained":
        from convzoo.network.saving import save_pretrained

        return save_pretrained
    if name == "transforms":
        from convzoo.network.images import transforms

        return transforms
    if name == "reference_state_dict":
        from convzoo.network.keys import reference_state_dict

        return reference_state_dict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
