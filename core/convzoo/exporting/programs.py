"""torch's own files: the program of ``torch.export``, and what AOTInductor compiles it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convzoo.exporting.base import Format, Run, dynamic_shapes, has_compiler, quiet

if TYPE_CHECKING:
    import torch
    from torch import nn


def program_of(model: nn.Module, images: torch.Tensor, dynamic: Sequence[str]) -> Any:
    """``model`` as an exported program, with what is in ``dynamic`` open."""
    import torch

    with torch.no_grad(), quiet():
        return torch.export.export(model, (images,), dynamic_shapes=dynamic_shapes(dynamic))


class Pt2(Format):
    """A program of ``torch.export``, which torch loads and runs without the network's code."""

    name = "pt2"
    suffix = ".pt2"

    def write(self, model: nn.Module, images: torch.Tensor, dynamic: Sequence[str], path: Path) -> None:
        import torch

        torch.export.save(program_of(model, images, dynamic), path)

    def load(self, path: Path) -> Run:
        import torch

        return _run(torch.export.load(path).module())


class Aoti(Format):
    """A library for this machine that AOTInductor compiles, with its weights, in one file."""

    name = "aoti"
    suffix = ".pt2"
    infix = ".aoti"

    def refusal(self) -> str:
        return "" if has_compiler() else "aoti needs a C++ compiler, and there is none here"

    def write(self, model: nn.Module, images: torch.Tensor, dynamic: Sequence[str], path: Path) -> None:
        import torch._inductor

        program = program_of(model, images, dynamic)
        with torch.no_grad(), quiet():
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))

    def load(self, path: Path) -> Run:
        import torch._inductor

        return _run(torch._inductor.aoti_load_package(str(path)))


def _run(call: Callable[[torch.Tensor], Any]) -> Run:
    import torch

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            out = call(images)
        return [out] if isinstance(out, torch.Tensor) else list(out)

    return run
