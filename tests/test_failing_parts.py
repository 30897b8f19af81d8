"""A part that fails instead of refusing is named, and its own error is the cause."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, ConvzooError, OptionError, ref
from convzoo.testing import CheckFailed, NotApplicable, checks

from .small import SMALL


class Failing(nn.Module):
    """An attention that fails on some of its options."""

    def __init__(self, channels: int, *, size: int = 1, how: str = "") -> None:
        super().__init__()
        if how == "type":
            raise TypeError("not of this type")
        if how == "key":
            raise KeyError("nothing")
        if how == "lines":
            raise RuntimeError("first line\nsecond line")
        self.weight = nn.Parameter(torch.empty(channels // size, 3))


@pytest.fixture
def failing(mine: str) -> str:
    convzoo.register(Component("attention", "failing", Failing), plugin=mine)
    return mine


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"size": 0}, "ZeroDivisionError: integer division or modulo by zero"),
        ({"size": -1}, "no weight can have the size (-8, 3): RuntimeError: Trying to create tensor with negative"),
        ({"how": "type"}, "TypeError: not of this type"),
        ({"how": "key"}, "KeyError: 'nothing'"),
        ({"how": "lines"}, "RuntimeError: first line"),
    ],
)
def test_a_part_that_fails_is_named_with_its_options_and_its_own_error_is_the_cause(
    failing: str, options: Any, what: str
) -> None:
    with pytest.raises(OptionError) as caught:
        convzoo.create_model(SMALL, attention=ref("failing", **options))
    message, [(name, value)] = str(caught.value), options.items()
    assert what in message
    assert f"failing({name}={value!r})" in message
    assert ", in block basic(" in message
    assert "\n" not in message
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, ConvzooError)


def test_a_part_that_fails_where_it_should_refuse_does_not_keep_its_promise(mine: str) -> None:
    class Strided(nn.Module):
        def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
            super().__init__()
            assert stride == 1, "by design"
            self.conv = nn.Conv2d(in_channels, out_channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    convzoo.register(Component("shortcut", "strided", Strided), plugin=mine)
    found = {}
    for check in checks(mine):
        try:
            check()
        except NotApplicable:
            continue
        except CheckFailed as failure:
            found[check.promise.name] = str(failure)
    assert any("AssertionError: by design" in text for text in found.values())


def test_a_part_whose_signature_cannot_be_read_is_the_plugins_fault(mine: str) -> None:
    convzoo.register(Component("attention", "builtin", dict.fromkeys), plugin=mine)
    convzoo.register(Component("attention", "builtin", type), plugin=mine)
    with pytest.raises(convzoo.PluginError, match="attention 'builtin' of plugin 'mine'"):
        convzoo.create_model(SMALL, attention="builtin")
