"""convzoo: convolutional networks for PyTorch, in which every part is a plugin."""

from convzoo.api import ModelInfo, build, create_model, is_model, list_models, model_info
from convzoo.errors import (
    ConvzooError,
    LifecycleError,
    OptionError,
    PluginError,
    PluginWarning,
    SpecError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hookspecs import hookimpl
from convzoo.lifecycle import deploy, penalty, set_progress
from convzoo.plugins import register
from convzoo.specs import Component, Model, Pattern, Ref, Reference, Stage, ref

__all__ = [
    "Component",
    "ConvzooError",
    "LifecycleError",
    "Model",
    "ModelInfo",
    "OptionError",
    "Pattern",
    "PluginError",
    "PluginWarning",
    "Ref",
    "Reference",
    "SpecError",
    "Stage",
    "UnknownNameError",
    "WeightsError",
    "build",
    "create_model",
    "deploy",
    "hookimpl",
    "is_model",
    "list_models",
    "model_info",
    "penalty",
    "ref",
    "register",
    "set_progress",
]
