"""Writing a model into a folder that another process, or timm's kind of tools, can make it from again."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convzoo.errors import OptionError, WeightsError, require_flag, said, shown
from convzoo.network.backbone import FeatureNet
from convzoo.network.keys import bare
from convzoo.network.lifecycle import Deployable
from convzoo.network.model import ConvNet
from convzoo.network.packages import CONFIG, FILES, OURS, TOLD

VERSION = 1
"""Of what stands in the configuration's own entry."""


def save_pretrained(model: ConvNet, folder: str | os.PathLike[str], *, safe: bool = True, **told: Any) -> Path:
    """Write a model into a folder: ``create_model("local-dir:folder")`` makes it again, in whichever process.

    ``model.safetensors`` has the weights, and ``config.json`` in timm's form what the network is, with its spec: the
    options that it was composed with, a classifier of other classes, and whether it is deployed. A file that is there
    already is replaced, not written into, so that a model that was loaded from it stays what it is.

    Args:
        model: the network; compiled, or in a wrapper, as it may be.
        folder: where to; it is made if need be.
        safe: write safetensors (needs safetensors); else ``pytorch_model.bin``, as ``torch.save`` does.
        **told: further fields of ``pretrained_cfg``, such as ``license``, ``tag``, ``label_names`` or ``mean``.

    Returns:
        The folder.

    Raises:
        OptionError: ``folder`` is no path, or ``told`` cannot be written as JSON.
        WeightsError: the model is cut down to its features, or has weights without storage, or a classifier of another
            kind than its head makes; safetensors is not installed; or the folder cannot be written to.
    """
    network = bare(model)
    if isinstance(network, FeatureNet):
        raise WeightsError("a network that is cut down to its features is not saved; save the whole one")
    if not isinstance(folder, (str, os.PathLike)) or not isinstance(os.fspath(folder), str) or not os.fspath(folder):
        raise OptionError(f"folder={shown(folder)}: expected the path of a folder")
    state = {key: value for key, value in network.state_dict().items() if isinstance(value, torch.Tensor)}
    if waiting := [key for key, value in state.items() if value.is_meta]:
        raise WeightsError(f"{network.spec.name} has {len(waiting)} tensors without storage, {waiting[0]} among them")
    _require_classifier(network)
    try:
        text = json.dumps(configuration(network, told), indent=2)
    except (TypeError, ValueError) as error:
        raise OptionError(f"what is told of the model cannot be written as JSON: {error}") from None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Tensors may be views into one memory, which safetensors refuses.
        state = {
            key: value.detach().to("cpu", memory_format=torch.contiguous_format).clone() for key, value in state.items()
        }
        _replace(path / FILES[0 if require_flag("safe", safe) else 1], _writer(state, safe))
        _replace(path / CONFIG, lambda to: to.write_text(text + "\n", encoding="utf-8"))
        (path / FILES[1 if safe else 0]).unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # of the disk, and of names that cannot be a file's
        raise WeightsError(f"{str(path)!r} cannot be written: {said(error)}") from error
    return path


def configuration(model: ConvNet, told: Mapping[str, Any]) -> dict[str, Any]:
    """What ``config.json`` holds: timm's fields, and the spec and form of the network."""
    spec, cfg = model.spec, model.default_cfg
    known = {key: cfg[key] for key in (*TOLD, "first_conv", "classifier") if key in cfg}
    return {
        "architecture": spec.name,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": getattr(model.head, "global_pool", "avg"),
        "pretrained_cfg": {**known, **told, "num_classes": model.num_classes},
        OURS: {"version": VERSION, "deployed": model.deployed, "rewritten": model.rewritten, "spec": spec.to_dict()},
    }


def _require_classifier(model: ConvNet) -> None:
    """Raise WeightsError where a classifier or head was put in that a network made from the spec would not have."""
    if not callable(reset := getattr(head := copy.deepcopy(model.head).to("meta"), "reset", None)):
        raise WeightsError(f"head of {model.spec.name} is {type(head).__name__}, not {_MEND.format('head')}")
    with torch.device("meta"):
        reset(model.num_classes, None)
    found, made = (each.get_submodule(str(each.classifier_name)) for each in (model.head, head))
    if model.deployed and any(isinstance(layer, Deployable) for layer in made.modules()):
        return  # what it then becomes is the layer's own affair
    if _kind(found) != _kind(made):
        name = model.get_classifier(name_only=True)
        raise WeightsError(f"{name} of {model.spec.name} is {_called(found)}, not {_called(made)} {_MEND.format(name)}")


_MEND = (
    "as its spec has it, from which a folder makes the model again. Save the model as it was before {0} was replaced,"
    " and replace it again after create_model; or keep its state_dict() and load it into a model like it"
)


def _kind(classifier: nn.Module) -> tuple[type[nn.Module], dict[str, torch.Size]]:
    return type(classifier), {key: value.shape for key, value in classifier.state_dict().items()}


def _called(classifier: nn.Module) -> str:
    sizes = (f"{key} {tuple(shape)}" for key, shape in _kind(classifier)[1].items())
    return f"{type(classifier).__name__} with {', '.join(sizes) or 'no tensors'}"


def _writer(state: dict[str, torch.Tensor], safe: bool) -> Callable[[Path], object]:
    if not safe:
        return lambda to: torch.save(state, to)
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise WeightsError("this needs safetensors: pip install 'convzoo[safetensors]', or safe=False") from error
    return lambda to: save_file(state, to, metadata={"format": "pt"})


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path``, and put it in its place when it is whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files do not get, which only setting tells."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
