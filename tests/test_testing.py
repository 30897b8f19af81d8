"""The conformance kit catches broken parts, at least one for each check, and does not flag sound ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import Component, OptionError, PluginError, ref
from convzoo.cli import main
from convzoo.plugins.host import plugins
from convzoo.plugins.registry import Owner
from convzoo.testing import CheckFailed, NotApplicable, checks, conformance
from convzoo.testing.kit.promises import PROMISES

from .faults.behaviour import AlwaysDropping
from .faults.models import COUNTS
from .faults.shapes import Needy
from .faults.sound import BASIC, BROKEN, WORDS, Attention, model
from .faults.tracing import Iterating, Unreadable


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    if "broken" in plugins().records:
        plugins().remove("broken")


def contribute(*contributions: Any) -> None:
    convzoo.register(*contributions, plugin="broken")


def results() -> dict[str, str]:
    """Check to ``"passed"``, ``"does not apply"``, or the message of its failure."""
    found = {}
    for check in checks("broken"):
        try:
            check()
            found[check.promise.name] = "passed"
        except NotApplicable:
            found[check.promise.name] = "does not apply"
        except CheckFailed as failure:
            found[check.promise.name] = str(failure)
    return found


FIRST = dict(reversed(BROKEN))
"""For each check the part that it is tried on in every run; `make test-all` tries it on all."""


@pytest.mark.parametrize(
    ("name", "contribution"),
    [pytest.param(n, c, marks=() if FIRST[n] is c else pytest.mark.large, id=f"{n}-{c.name}") for n, c in BROKEN],
)
def test_a_broken_promise_is_caught_and_told_with_a_cure(name: str, contribution: Any) -> None:
    contribute(contribution)
    check = next(check for check in checks("broken") if check.promise.name == name)
    with pytest.raises(CheckFailed) as caught:
        check()
    found, means, mend = str(caught.value).split("\n  ")
    assert found
    assert means.startswith("It means: ")
    assert mend.startswith("To mend it: ")
    assert "while examining it" not in found, "caught for what it is"


class CoolingTogether(Attention):
    """Its temperature belongs to all of its kind, and never rises again."""

    temperature = 8.0

    def set_progress(self, progress: float) -> None:
        type(self).temperature = min(self.temperature, 8.0 - 7.0 * progress)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (x.mean((2, 3), keepdim=True) / self.temperature).sigmoid()


def test_a_schedule_that_all_instances_share_is_caught_before_other_checks_have_told_it_the_end() -> None:
    contribute(Component("attention", "cooling_together", CoolingTogether, WORDS))
    assert "of another" in results()["follows_the_schedule"]


class Widening(nn.Module):
    """A head with weights before its pool, and more features with one of its pools."""

    classifier_name = "fc"

    def __init__(self, in_channels: int, num_classes: int, *, global_pool: Literal["avg", "catavgmax"] = "avg") -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, 48, 1), nn.BatchNorm2d(48)
        self.pool = global_pool
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        pool = self.pool if global_pool is None else global_pool
        if pool not in ("avg", "catavgmax") or num_classes < 0:
            raise OptionError(f"pools are avg and catavgmax, got {pool!r} for {num_classes} classes")
        self.pool, width = pool, 48 * (1 + (pool == "catavgmax"))
        self.fc = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        self.fc.train(self.training)

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.norm(self.conv(x)).relu()
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1) if self.pool == "catavgmax" else x.mean((2, 3))
        return x if pre_logits else self.fc(x)


@pytest.mark.parametrize(
    ("part", "who"), [(Iterating, "torch.fx does not trace it"), (Unreadable, "TorchScript refuses it")]
)
def test_a_part_that_a_tool_refuses_is_told_so_and_not_failed(part: Any, who: str) -> None:
    contribute(Component("attention", "refused", part, WORDS))
    check = next(check for check in checks("broken") if check.promise.name == "traces")
    with pytest.raises(NotApplicable, match=who):
        check()


def test_keys_that_do_not_lead_to_the_reference_are_shown() -> None:
    contribute(next(model for _, model in BROKEN if model.name == "keyless18"))
    said = results()["equals_its_reference"]
    assert "stem.conv.weight becomes stem.conv.weight, which is not there" in said
    assert "Nothing becomes bn1.bias, bn1.num_batches_tracked, bn1.running_mean" in said
    assert "keys=(*those_of_your_part, *KEYS)" in said


def test_a_weight_that_does_nothing_is_caught() -> None:
    class Deaf(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).clamp(0, 0) + x

    contribute(Component("attention", "deaf", Deaf, WORDS), model(BASIC.with_options(attention=ref("deaf"))))
    assert "stages.0.0.branch.attention.weight" in results()["uses_every_weight"]


def test_a_plugin_that_imports_torch_to_be_listed_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = "import convzoo\n@convzoo.hookimpl\ndef convzoo_contribute():\n    return []\n"
    for name, first in (("quick", ""), ("slow", "import torch\n")):
        (tmp_path / f"{name}_zoo.py").write_text(first + hook)
        info = tmp_path / f"{name}_zoo-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-zoo\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[convzoo]\n{name} = {name}_zoo\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    examine = next(p.examine for p in PROMISES if p.name == "lists_without_torch")
    examine(Owner("quick", "quick-zoo", "1.0"))
    with pytest.raises(CheckFailed, match="ok True"):
        examine(Owner("slow", "slow-zoo", "1.0"))


def test_every_check_has_a_broken_part_that_it_must_catch() -> None:
    tested = {name for name, _ in BROKEN} | {"uses_every_weight", "lists_without_torch"}
    assert {p.name for p in PROMISES} == tested


class Careful(Attention):
    """Does, soundly, what resembles each of the faults."""

    seen: torch.Tensor

    def __init__(self, channels: int, *, rate: float = 0.1) -> None:
        super().__init__(channels)
        self.rate = rate
        self.register_buffer("seen", torch.zeros(()))
        self.norm = nn.BatchNorm2d(channels)
        self.last: torch.Tensor | None = None

    def set_progress(self, progress: float) -> None:
        self.seen.clamp_(min=int(progress * 4))

    def penalty(self) -> torch.Tensor:
        return self.weight.abs().sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.dropout(self.norm(super().forward(x)), self.rate, self.training)
        return out.relu_() * (1 - self.seen / 8) + x


class Rounding(nn.Module):
    """Refuses a stride of 3 and rounds sizes down at 2."""

    def __init__(self, in_channels: int, *, stride: int = 1, width: int) -> None:
        super().__init__()
        if stride > 2:
            raise OptionError("stride 3 is too much")
        self.out_channels = width
        self.conv = nn.Conv2d(in_channels, width, 1)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.conv(x))


class Pooled(Attention):
    """Has no neighbours that a dilation could move apart: the mean of all pixels is the same."""

    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x.mean((2, 3), keepdim=True)


class RandomSlopes(nn.Module):
    """Draws other numbers in bfloat16 than in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slope = 0.1 + 0.2 * torch.rand_like(x) if self.training else 0.2
        return torch.where(x < 0, x * slope, x)


@pytest.mark.parametrize(
    "contribution",
    [
        Component("attention", "plain", Attention, WORDS),
        Component("act", "random_slopes", RandomSlopes, WORDS),
        Component("head", "widening", Widening, WORDS),
        Component("attention", "careful", Careful, WORDS),
        Component("block", "rounding", Rounding, WORDS, example={"width": 24}),
        Component("block", "pooled", Pooled, WORDS),
        model(**COUNTS),
    ],
    ids=lambda each: each.name,
)
def test_a_sound_contribution_is_not_flagged(contribution: Any) -> None:
    contribute(contribution)
    found = results()
    assert {name: text for name, text in found.items() if text not in ("passed", "does not apply")} == {}
    assert len(found) > 4


def test_a_part_that_cannot_be_tried_says_how_to_give_an_example() -> None:
    contribute(Component("block", "needy", Needy, WORDS))
    assert 'example={"planes": ...}' in results()["declares_shapes"]


def test_every_example_is_tried_and_the_one_that_fails_is_named() -> None:
    contribute(next(each for _, each in BROKEN if each.name == "optional"))
    found = results()
    assert "optional(idle=True), no gradient other than 0 reaches bias" in found["learns_with_every_parameter"]
    assert found["copies"] == "passed"


def test_work_in_place_that_only_shows_behind_a_norm_that_gives_its_input_is_told_so() -> None:
    contribute(next(each for _, each in BROKEN if each.name == "hasting"))
    assert "with stride 1 and a norm that gives its input, forward changes" in results()["leaves_its_input_alone"]


def test_a_crash_is_a_failure_with_its_cause() -> None:
    class Crashing(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError("by design")

    contribute(Component("attention", "crashing", Crashing, WORDS))
    found = results()
    assert "by design" in found["repeats_itself_in_eval_mode"]
    assert "by design" in found["compiles"]
    assert found["names_code"] == "passed"


def test_checks_of_a_kind_that_a_plugin_invents_are_those_of_any_kind() -> None:
    contribute(Component("gate", "plain", Attention, WORDS))
    assert set(results()) == {"lists_without_torch", "names_code", "declares_options"}


def test_each_check_has_a_name_and_every_promise_a_text() -> None:
    contribute(Component("attention", "plain", Attention, WORDS))
    names = [str(check) for check in checks("broken")]
    assert len(names) == len(set(names)) > 15
    assert "attention/plain/keeps_channels_last" in names
    assert all(p.text and p.text.endswith(".") for p in PROMISES)


@pytest.mark.parametrize(("plugin", "words"), [("brokn", "Did you mean 'broken'"), ("unheard_of", "there is none")])
def test_a_plugin_that_is_not_there_cannot_be_checked(plugin: str, words: str) -> None:
    contribute(Component("attention", "plain", Attention, WORDS))
    with pytest.raises(PluginError, match=words):
        checks(plugin)


SUITE = """
import convzoo
from convzoo import Component
from convzoo.testing import conformance
from tests.faults.sound import Attention
from tests.faults.state import Reordering

convzoo.register(Component("attention", "sound", Attention, "a part of a test"), plugin="sound")
convzoo.register(Component("attention", "shaky", Reordering, "a part of a test"), plugin="shaky")
reason = "torch cannot reverse channels otherwise"
test_sound = conformance("sound")
test_shaky = conformance("shaky")
test_known = conformance("shaky", expected_failures={"attention/shaky/keeps_channels_last": reason})
test_mended = conformance("sound", expected_failures={"attention/sound/keeps_channels_last": reason})
"""


def test_a_line_gives_a_named_test_for_each_check_and_an_expected_failure_fails_once_it_passes(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(tmp_path), "-k"]
    done = subprocess.run(
        [*command, "keeps_channels_last or copies"], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    told = {
        test: outcome
        for outcome, test in re.findall(r"^(PASSED|FAILED|XFAIL|XPASS) \S*::(\S+)", done.stdout, re.MULTILINE)
    }
    layout, copies = "keeps_channels_last", "copies"
    assert told == {
        f"test_sound[attention/sound/{layout}]": "PASSED",
        f"test_shaky[attention/shaky/{layout}]": "FAILED",
        f"test_known[attention/shaky/{layout}]": "XFAIL",
        f"test_mended[attention/sound/{layout}]": "FAILED",
        **{f"test_{name}[attention/sound/{copies}]": "PASSED" for name in ("sound", "mended")},
        **{f"test_{name}[attention/shaky/{copies}]": "PASSED" for name in ("shaky", "known")},
    }, done.stdout
    assert "To mend it: end with convzoo.layers.match_memory_format(out, x)" in done.stdout
    assert "[XPASS(strict)] torch cannot reverse channels otherwise" in done.stdout


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"attention/plain/copys": "a written reason"}, "Did you mean 'attention/plain/copies'"),
        ({"attention/plain/copies": ""}, "needs a written reason"),
        ({"attention/plain/copies": "later"}, "needs a written reason"),
    ],
)
def test_an_expected_failure_names_a_check_and_a_reason(expected: dict[str, str], words: str) -> None:
    contribute(Component("attention", "plain", Attention, WORDS))
    with pytest.raises(OptionError, match=words):
        conformance("broken", expected_failures=expected)


def test_the_command_gives_the_same_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    contribute(Component("attention", "alwaysdropping", AlwaysDropping, WORDS))
    assert main(["check", "broken"]) == 1
    out = capsys.readouterr().out
    assert "attention/alwaysdropping  keeps_channels_last" in out
    assert "attention/alwaysdropping/repeats_itself_in_eval_mode: with default, eval outputs" in out
    assert "To mend it: draw random numbers only" in out
    contribute(Component("attention", "plain", Attention, WORDS))
    assert main(["check", "broken", "plain", "shapes", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(r["check"], r["result"]) for r in records] == [("attention/plain/declares_shapes", "passed")]


@pytest.mark.parametrize("words", [["nobody"], ["broken", "no_such_check"]])
def test_the_command_refuses_what_is_not_there(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    contribute(Component("attention", "plain", Attention, WORDS))
    assert main(["check", *words]) == 2
    assert "convzoo check:" in capsys.readouterr().err


def test_a_check_leaves_the_number_of_threads_as_it_was() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        contribute(Component("attention", "alwaysdropping", AlwaysDropping, WORDS))
        results()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
