"""The tensors of safetensors files are mapped into memory, and are what safetensors makes of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from convzoo import load_weights
from convzoo.network.mapping import DTYPES, mapped

from .tiny import assert_equal, tiny, trained_state

VALUES = {
    "matrix": torch.arange(60.0).view(3, 4, 5),
    "scalar": torch.tensor(3.0),
    "none": torch.empty(0),
    "no_rows": torch.empty(3, 0, 2),
    **{name: torch.tensor([0, 1, 1]).to(dtype) for name, dtype in DTYPES.items()},
}


@pytest.mark.parametrize(
    "values", [VALUES, {}, {"none": torch.empty(0)}, {"complex": torch.ones(2, dtype=torch.cfloat)}]
)
def test_tensors_are_those_that_safetensors_makes(values: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "values.safetensors"
    save_file(values, path, metadata={"format": "pt"})
    found, expected = mapped(path), load_file(path)
    assert_equal(found, expected)
    assert_equal(found, values)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].stride()) == (tensor.dtype, tensor.stride())


def test_a_tensor_that_does_not_begin_where_its_numbers_would_is_read(tmp_path: Path) -> None:
    path, number = tmp_path / "odd.safetensors", torch.tensor([1.5, 2.5])
    entries = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "numbers": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\7" + number.numpy().tobytes())
    assert mapped(path)["numbers"].tolist() == number.tolist()


def test_what_is_written_into_tensors_does_not_reach_the_file(tmp_path: Path) -> None:
    save_file(VALUES, tmp_path / "values.safetensors")
    mapped(tmp_path / "values.safetensors")["matrix"].mul_(2)
    assert_equal(load_file(tmp_path / "values.safetensors"), VALUES)


def test_saving_one_tensor_writes_that_one_alone(tmp_path: Path) -> None:
    save_file({"small": torch.ones(1), "large": torch.ones(10**6)}, tmp_path / "values.safetensors")
    written = io.BytesIO()
    torch.save(mapped(tmp_path / "values.safetensors")["small"], written)
    assert len(written.getvalue()) < 10_000


def test_networks_of_torchs_layers_take_the_files_tensors_without_torchs_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("torch's own loading takes as long as all the rest")

    save_file(trained_state(), tmp_path / "weights.safetensors")
    monkeypatch.setattr(nn.Module, "load_state_dict", refuse)
    model = tiny(weights=tmp_path / "weights.safetensors")
    assert_equal(model.state_dict(), trained_state())


def test_a_networks_hook_is_called_once_its_weights_are_there() -> None:
    model: Any = tiny(device="meta")
    seen: list[bool] = []
    model.register_load_state_dict_post_hook(lambda module, keys: seen.append(module.stem.conv.weight.is_meta))
    load_weights(model, trained_state())
    assert seen == [False]
