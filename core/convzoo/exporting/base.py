"""What a format is. This module imports no torch until it is used."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

Run = Callable[["torch.Tensor"], "list[torch.Tensor]"]
"""Images to outputs."""
DYNAMIC = ("batch", "size")
"""What may be left open in a file: the number of images, and their height and width."""


class Format:
    """A sort of file, and the engine that runs it.

    Attributes:
        name: what it is asked for by.
        engine: what runs it.
        suffix: what its files end in.
        infix: what stands before that in the names that we give, where formats share a suffix.
        packages: modules that it needs beside torch.
        extra: of convzoo, which installs them.
    """

    name = ""
    engine = "torch"
    suffix = ""
    infix = ""
    packages: tuple[str, ...] = ()
    extra = ""

    def refusal(self) -> str:
        """Why files of it cannot be written and run here, or the empty string."""
        if missing := absent(self.packages):
            return f"{self.name} needs {' and '.join(missing)}: pip install 'convzoo[{self.extra}]'"
        return ""

    def write(self, model: nn.Module, images: torch.Tensor, dynamic: Sequence[str], path: Path) -> None:
        """Write ``model``, in eval mode, to ``path``, for images like ``images``, with what is in ``dynamic`` open."""
        raise NotImplementedError

    def load(self, path: Path) -> Run:
        """The file at ``path`` in its engine, in float32."""
        raise NotImplementedError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within it converters do not report on their progress; what they raise is what they have to say."""
    before = logging.root.manager.disable
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)


def absent(packages: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def has_compiler() -> bool:
    """Whether there is a C++ compiler, as torch's own compilers need."""
    return any(map(shutil.which, ("g++", "clang++", "c++")))


def dynamic_shapes(dynamic: Sequence[str]) -> Any:
    """What is open, as torch.export and torch.onnx are told; None where nothing is."""
    import torch

    dims = [0] * ("batch" in dynamic) + [2, 3] * ("size" in dynamic)
    return (dict.fromkeys(dims, torch.export.Dim.DYNAMIC),) if dims else None
