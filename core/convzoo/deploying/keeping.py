"""What a layer has made of its weight, kept until the weight changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Keeping(nn.Module):
    """A module that keeps what it has made of a tensor of its own.

    It is made again when the tensor is another one, was written to, moved or converted; what is written through
    ``.data`` is not seen.
    """

    _held: tuple[torch.Tensor, Any, Any] | None = None

    def once(self, tensor: torch.Tensor, form: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, as it is or was called for ``tensor`` as it is now.

        Args:
            tensor: that it is made of.
            form: says which of several; of these the last one is kept.
            make: makes it.
        """
        if tensor.is_inference():  # which does not tell that it has changed
            return make()
        state = form, tensor.data_ptr(), tensor._version
        if self._held is None or self._held[0] is not tensor or self._held[1] != state:
            self._held = tensor, state, make()
        return self._held[2]

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._held = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}
