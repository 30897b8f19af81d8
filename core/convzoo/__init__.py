"""convzoo: convolutional networks for PyTorch, in which every part is a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convzoo.api import ModelInfo, build, create_model, is_model, list_models, model_info, part
from convzoo.errors import (
    ConvzooError,
    LifecycleError,
    OptionError,
    PluginError,
    PluginWarning,
    SpecError,
    UnknownNameError,
    WeightsError,
    WeightsWarning,
)
from convzoo.network.lifecycle import deploy, penalty, set_progress
from convzoo.plugins.hook import hookimpl
from convzoo.plugins.host import register
from convzoo.spec.contributions import Component, Pattern
from convzoo.spec.model import Model, Reference, Stage
from convzoo.spec.refs import PerStage, Ref, per_stage, ref

if TYPE_CHECKING:
    from convzoo.network.backbone import NamedLevels
    from convzoo.network.keys import reference_state_dict
    from convzoo.network.weights import load_weights

__all__ = [
    "Component",
    "ConvzooError",
    "LifecycleError",
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
    "WeightsError",
    "WeightsWarning",
    "build",
    "create_model",
    "deploy",
    "hookimpl",
    "is_model",
    "list_models",
    "load_weights",
    "model_info",
    "part",
    "penalty",
    "per_stage",
    "ref",
    "reference_state_dict",
    "register",
    "set_progress",
]


def __getattr__(name: str) -> Any:
    # These need torch, and so are imported when first asked for.
    if name == "NamedLevels":
        from convzoo.network.backbone import NamedLevels

        return NamedLevels
    if name == "load_weights":
        from convzoo.network.weights import load_weights

        return load_weights
    if name == "reference_state_dict":
        from convzoo.network.keys import reference_state_dict

        return reference_state_dict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
