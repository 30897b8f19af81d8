"""Putting values into a network: all of them, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from convzoo.errors import WeightsError
from convzoo.network.keys import COUNTER
from convzoo.network.training import watch_again


def write(network: nn.Module, old: Mapping[str, Any], values: Mapping[str, Any], *, copy: bool = False) -> None:
    """Put ``values`` into ``network``, whose tensors on the meta device become these values, and others copies.

    That they fit is known; what may still fail is a part that has a way of its own to load, or a tensor of the network
    that cannot be written to. What is overwritten is kept until it is done.

    Args:
        network: what to write into.
        old: its state dict, of the very tensors.
        values: what its state dict shall have; tensors, but where a part keeps something else there.
        copy: leave these tensors alone, and put copies in the place of those on the meta device.

    Raises:
        WeightsError: it failed; the state dict is as it was.
    """
    tensors = {key: old[key] for key in values if isinstance(old[key], torch.Tensor)}
    plain = len(tensors) == len(values) and _plain(network)
    own = all(hook is watch_again for hook in getattr(network, _AFTER).values())
    if plain and own and _can_be_overwritten(tensors, values):
        _overwrite(network, tensors, values)
        return
    held: list[tuple[Any, Any]] = []
    for module in network.modules():
        held += [(place, dict(place)) for place in (module._parameters, module._buffers) if place]
    before = {key: tensor.detach().clone() for key, tensor in tensors.items() if not tensor.is_meta}
    on_meta = tensors.keys() - before.keys()
    try:
        if on_meta:  # all is assigned then; so what has values gets the new ones first, and is assigned to itself
            with torch.no_grad():
                written = {key: old[key].copy_(values[key]) for key in before}
            values = {**values, **written, **_apart({key: values[key] for key in on_meta}, copy)}
        if on_meta and plain:
            _assign(network, {key: values[key] for key in on_meta})
        else:
            network.load_state_dict(values, strict=False, assign=bool(on_meta))
    except BaseException as error:  # of whatever kind, the user's interrupting it too
        for place, entries in held:
            place.update(entries)
        now = network.state_dict()
        for key, tensor in before.items():
            with torch.inference_mode(), contextlib.suppress(RuntimeError):  # what cannot be written has not been
                now[key].copy_(tensor)
        with contextlib.suppress(Exception):
            others = values.keys() - tensors.keys()
            network.load_state_dict({key: old[key] for key in others}, strict=False)
        if not isinstance(error, Exception):
            raise
        raise WeightsError(f"the weights cannot be written: {error}. The model is unchanged.") from error


_TORCHS = {nn.Module._load_from_state_dict, nn.modules.batchnorm._NormBase._load_from_state_dict}
"""How torch's modules load, which comes to putting each tensor where it belongs."""
_AFTER = "_load_state_dict_post_hooks"
_HOOKS = ("_load_state_dict_pre_hooks", "_state_dict_hooks", _AFTER)


def _plain(network: nn.Module) -> bool:
    """Whether no part of a network has a way of its own to load, or is told of it; the network itself may be told."""
    own = (
        type(module)._load_from_state_dict not in _TORCHS
        or any(getattr(module, hooks, None) for hooks in _HOOKS if module is not network or hooks != _AFTER)
        for module in network.modules()
    )
    return not any(own)


def _assign(network: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """What ``load_state_dict(assign=True)`` does, which spends its time on what is known here: that all fits."""
    modules = dict(network.named_modules(remove_duplicate=False))
    for key, value in values.items():
        path, _, name = key.rpartition(".")
        module = modules[path]
        if (parameter := module._parameters.get(name)) is not None:
            module._parameters[name] = nn.Parameter(value, requires_grad=parameter.requires_grad)
        else:
            module._buffers[name] = value
    for module in modules.values():  # what older files lack, torch's norms begin anew
        counter = module._buffers.get(COUNTER)
        if counter is not None and counter.is_meta:
            module._buffers[COUNTER] = torch.zeros((), dtype=counter.dtype)
    _tell(network)


def _can_be_overwritten(tensors: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> bool:
    """Whether copying ``values`` into ``tensors`` cannot fail, so that nothing need be kept until it is done."""
    if not all(value.device.type in ("cpu", "cuda") for value in values.values()):  # elsewhere, who knows
        return False
    writable = torch.is_inference_mode_enabled()
    sources = {value.untyped_storage().data_ptr() for value in values.values()}
    return all(
        type(tensor) in (torch.Tensor, nn.Parameter)
        and tensor.device == values[key].device
        and not tensor.is_meta
        and tensor.untyped_storage().data_ptr() not in sources
        and _dense(tensor)
        and (writable or not tensor.is_inference())
        for key, tensor in tensors.items()
    )


@torch.no_grad()
def _overwrite(network: nn.Module, tensors: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Copy ``values`` into ``tensors``; who interrupts it interrupts it when all is done."""
    try:
        for key, tensor in tensors.items():
            tensor.copy_(values[key])
    except KeyboardInterrupt:
        for key, tensor in tensors.items():
            tensor.copy_(values[key])
        raise
    finally:
        _tell(network)


def _tell(network: nn.Module) -> None:
    """Tell those who want to know that ``network`` has loaded weights."""
    for hook in getattr(network, _AFTER).values():
        hook(network, _IncompatibleKeys([], []))


def _dense(tensor: torch.Tensor) -> bool:
    """Whether its elements lie side by side, each by itself."""
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _apart(tensors: Mapping[str, torch.Tensor], copy: bool) -> dict[str, torch.Tensor]:
    """``tensors``, cloned if ``copy``, or where training could not change one element without changing another."""
    apart: dict[str, torch.Tensor] = {}
    taken: dict[torch.device, int] = {}  # memory up to which address
    for key, tensor in sorted(tensors.items(), key=lambda item: item[1].data_ptr()):
        start = tensor.data_ptr()
        if copy or not _dense(tensor) or start < taken.get(tensor.device, 0) or tensor.is_inference():
            apart[key] = tensor.clone()
        else:
            apart[key] = tensor
            taken[tensor.device] = start + tensor.nbytes
    return apart
