"""Checkpoints: the state dict among what was saved with it, and its keys without what wrappers put before them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convzoo.errors import WeightsError, first_of, shown
from convzoo.network.downloads import read_anywhere
from convzoo.network.sources import Source, locate

AVERAGED = ("state_dict_ema", "model_ema", "ema")
"""Where checkpoints keep the moving average of the weights (EMA), in the order in which timm looks for it."""
PLAIN = ("state_dict", "model", "model_state_dict", "net", "module")
"""Where they keep the weights themselves."""
DEPTH = 4
"""How deep such entries are looked for within each other."""

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch calls the module in a wrapper: of parallel, averaged and compiled models, of FSDP and of checkpointing."""
OWNERS = ("", "body.", "model.", "net.", "model.body.", "net.body.")
"""What a network is called in a FeatureNet, and often in a module that trains it."""
UNREAD = {"n_averaged"}
"""What an AveragedModel has beside the network."""


@dataclass(frozen=True)
class Checkpoint:
    """A state dict as it was saved.

    Attributes:
        name: what errors call it.
        entry: where in the checkpoint it stood, ``"state_dict_ema"`` for example; empty if nothing is around it.
        values: by key; not all of them need be tensors.
        own: whether nobody else has these tensors, since they were read from a file.
        input: the images that they are for, as far as that is known.
    """

    name: str
    entry: str
    values: dict[str, Any]
    own: bool = False
    input: Mapping[str, Any] = field(default_factory=dict)

    @property
    def averaged(self) -> bool:
        """Whether these are the moving average."""
        return not set(AVERAGED).isdisjoint(self.entry.split("."))

    def named(self, names: Collection[str]) -> dict[str, str]:
        """From its keys to the names that they stand for, so that they give as many of ``names`` as possible."""
        known: dict[str, str] = {}
        for name in names:
            plain = unwrapped(name)
            known[plain] = "" if plain in known else name  # two names may differ in a module of such a name
        read = {key: key if key in names else unwrapped(key) for key in self.values}
        best: dict[str, str] = {}
        for owner in OWNERS:
            around = WRAPPERS.union(owner.split("."))
            found = {}
            for key, name in read.items():
                if name.startswith(owner):
                    bare, inner = name.removeprefix(owner), key if key in names else _inside(key, around)
                    found[key] = inner if inner in names else known.get(bare, bare) or key
            if hits(found, names) > hits(best, names):
                best = found
            if 2 * hits(best, names) >= len(read):  # more cannot be left for another one
                break
        return {key: best.get(key, key) for key in self.values if key not in UNREAD}


def hits(named: Mapping[str, str], names: Collection[str]) -> int:
    """How many of ``names`` keys stand for."""
    return len(set(named.values()).intersection(names))


def unwrapped(key: str) -> str:
    """``key`` without what wrappers put into it."""
    parts = key.split(".")
    return key if WRAPPERS.isdisjoint(parts) else ".".join(part for part in parts if part not in WRAPPERS)


def _inside(key: str, around: Collection[str]) -> str:
    """``key`` without the modules at its start that are called as in ``around``."""
    while key.partition(".")[0] in around and "." in key:
        key = key.partition(".")[2]
    return key


def open_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Any] | Source | Checkpoint, use_ema: bool, variant: str = ""
) -> Checkpoint:
    """The state dict that a mapping, a file, the file at a URL, or what :func:`locate` knows, is or holds.

    Args:
        source: any of these; a checkpoint that is open already is given back.
        use_ema: prefer the moving average of the weights, where there is one.
        variant: canonical name of the model that they are for.

    Raises:
        WeightsError: there is none, or it cannot be found, fetched or read.
    """
    if isinstance(source, Checkpoint):
        return source
    where = source if isinstance(source, Source) else locate(source, variant)
    source = where.what
    if isinstance(source, Mapping):
        name, found = "the mapping", source
    elif isinstance(source, (str, os.PathLike)) and isinstance(os.fspath(source), str):
        name, found = (
            repr(str(source)),
            read_anywhere(source if isinstance(source, str) else Path(source), where.digest, where.cache_dir),
        )
    else:
        hint = ": give its state_dict()" if isinstance(source, torch.nn.Module) else ""
        raise WeightsError(f"weights are a state dict, a file or a URL, not {_called(source)}{hint}")
    entry, values = next(_state_dicts(found, (*AVERAGED, *PLAIN) if use_ema else PLAIN), ((), {}))
    if not values:
        raise WeightsError(f"{name} holds no tensors by name: {_instead(found)}")
    state = {str(key): value for key, value in values.items()}
    if len(state) < len(values):
        raise WeightsError(f"{name} has keys that are no texts, and that read like others: {first_of(list(values))}")
    return Checkpoint(name, ".".join(entry), state, not isinstance(source, Mapping), where.input)


def _state_dicts(
    found: Any, entries: Collection[str], depth: int = 0
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping with tensors in it, and the entries that lead there, the preferred one first."""
    if isinstance(found, Mapping) and depth <= DEPTH:
        for entry in entries:
            for path, inner in _state_dicts(found.get(entry), entries, depth + 1):
                yield (entry, *path), inner
        if any(isinstance(value, torch.Tensor) for value in found.values()):
            yield (), found


def _instead(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"it holds {_called(found)}"
    if averaged := next(_state_dicts(found, (*AVERAGED, *PLAIN)), None):
        return f"there is only the moving average in {'.'.join(averaged[0])!r}, which use_ema=True takes"
    keys = ", ".join(first_of([repr(key) for key in found])) or "nothing"
    return f"a state dict may stand alone, or in an entry {', '.join((*PLAIN, *AVERAGED))}; there is {keys}"


def _called(value: Any) -> str:
    return shown(value) if isinstance(value, (bool, int, float, type(None))) else f"a {type(value).__name__}"
