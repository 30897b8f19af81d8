"""The conformance kit catches broken parts, at least one for each check, and does not flag sound ones."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import Component, Model, OptionError, PluginError, Reference, Stage, ref
from convzoo.cli import main
from convzoo.layers import Position
from convzoo.plugins.host import plugins
from convzoo.plugins.registry import Owner
from convzoo.testing import CheckFailed, NotApplicable, checks, conformance
from convzoo.testing.kit.promises import PROMISES

WORDS = "a part of a test"


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    if "broken" in plugins().records:
        plugins().remove("broken")


class Attention(nn.Module):
    """Sound; the broken ones differ from it in one thing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.view(-1, 1, 1)


BROKEN: list[tuple[str, Any]] = []
"""Name of the check that must catch it, and what is contributed."""


def broken(check: str, kind: str = "attention", **fields: Any) -> Callable[[Any], Any]:
    def add(target: Any) -> Any:
        BROKEN.append((check, Component(kind, target.__name__.lower(), target, WORDS, **fields)))
        return target

    return add


BROKEN.append(("names_code", Component("attention", "nowhere", "nowhere.to:be_found", WORDS)))
BROKEN.append(("names_code", Component("attention", "speechless", Attention)))


@broken("declares_options")
class Swallowing(Attention):
    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels)


@broken("declares_options")
class Untyped(Attention):
    def __init__(self, channels: int, *, rate=0.5) -> None:  # type: ignore[no-untyped-def]
        super().__init__(channels)


@broken("declares_shapes", "block")
class Boastful(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = 2 * in_channels


@broken("declares_shapes", "conv")
class Unpadded(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, dilation=dilation)


@broken("declares_shapes")
class EvenOnly(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2))


@broken("declares_shapes", "stem")
class Hasty(nn.Conv2d):
    reduction = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 8, 3, stride=4, padding=1)


@broken("declares_shapes", "head")
class Headless(nn.Linear):
    classifier_name = "fc"

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(x.mean((2, 3)))


@broken("declares_shapes", "block", example={})
class Needy(Attention):
    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("honours_strides", "block")
class Stubborn(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("honours_groups_and_dilation", "conv")
class Ungrouped(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_groups_and_dilation", "conv")
class Undilated(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_dilation", "block")
class Shortsighted(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=1)


@broken("honours_dilation", "block")
class HalfDilated(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=dilation, dilation=dilation)


@broken("uses_what_it_is_offered")
class Headstrong(Attention):
    def __init__(self, channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()


class Quiet(Attention):
    """Sound, as long as nobody asks anything of it."""

    def __init__(self, in_channels: int, *, stride: int = 1, **_: Any) -> None:
        super().__init__(in_channels)
        if stride > 1:
            raise OptionError("no strides")
        self.out_channels = in_channels


@broken("uses_what_it_is_offered", "block")
class Closed(Quiet):
    def __init__(self, in_channels: int, *, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__(in_channels)


@broken("uses_what_it_is_offered", "block")
class Narrow(Quiet):
    def __init__(self, in_channels: int, *, shortcut: Callable[..., nn.Module] = nn.Conv2d) -> None:
        super().__init__(in_channels)


@broken("uses_what_it_is_offered", "block")
class Steady(Quiet):
    def __init__(self, in_channels: int, *, drop_path_rate: float = 0.0) -> None:
        super().__init__(in_channels)


@broken("leaves_its_input_alone")
class InPlace(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x.mul_(0.5)
        return super().forward(x)


@broken("leaves_its_input_alone", "block")
class Hasting(Attention):
    """Sound behind every norm but one that gives its very input; and nobody can see that it works in place."""

    def __init__(self, in_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels
        self.norm = norm(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(x).relu_()) + x


@broken("works_out_of_place_when_told", "act")
class Overwriting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu_()


@broken("learns_with_every_parameter", example=({"idle": False}, {"idle": True}))
class Optional(Attention):
    """Sound with the first of its examples only."""

    def __init__(self, channels: int, *, idle: bool) -> None:
        super().__init__(channels)
        if idle:
            self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Idle(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Rounded(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.level = nn.Parameter(torch.rand(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.level.round()


@broken("repeats_itself_in_eval_mode")
class AlwaysDropping(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(super().forward(x))


@broken("treats_samples_independently")
class Averse(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0))


@broken("treats_samples_independently")
class Turning(Attention):
    """Sound in the first layer, and not in later ones."""

    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.later = position is not None and position.layer > 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0) if self.later else x)


@broken("forgets_what_ran_before")
class Counting(Attention):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.calls += 1
        return super().forward(x) * Counting.calls


@broken("forgets_what_ran_before")
class Eager(Attention):
    mean: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.mean.lerp_(x.detach().mean((0, 2, 3)), 0.1)
        return out


@broken("draws_from_torch")
class Dicing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (random.random() if self.training else 0.5)


@broken("draws_from_torch")
class Private(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "generator"):
            self.generator = torch.Generator()
        return super().forward(x) * (torch.rand(1, generator=self.generator).to(x) if self.training else 0.5)


@broken("holds_no_memory")
class Hoarding(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.total = getattr(self, "total", 0) + out.mean()
        return out


@broken("holds_no_memory")
class Logging(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.log: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.append(float(x.detach().mean()))
        return super().forward(x)


@broken("keeps_its_state_in_state_dict")
class Secretive(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.scale *= 0.9
        return super().forward(x) * self.scale


@broken("keeps_its_state_in_state_dict")
class Born(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("direction", torch.rand(channels, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.get_buffer("direction")


@broken("keeps_its_state_in_state_dict")
class Growing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "seen"):
            self.register_buffer("seen", torch.ones(()))
        return super().forward(x)


@broken("follows_device_and_dtype")
class Settled(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.ones(x.shape[1], 1, 1)


@broken("follows_device_and_dtype")
class Single(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).float()


@broken("keeps_channels_last")
class Reordering(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, torch.arange(x.shape[1] - 1, -1, -1)]


@broken("copies")
class Closing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = lambda x: x * 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale(super().forward(x))


@broken("copies")
class Sharing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("factor", torch.ones(1))

    def __deepcopy__(self, memo: Any) -> Sharing:
        other = Sharing(len(self.weight))
        other.weight = self.weight
        return other


@broken("compiles")
class Undecided(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(x) * 0.5


@broken("exports")
class OneBatch(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.shape[0] != 4 else super().forward(x) * 1.0


@broken("follows_the_schedule")
class OneAtATime(Attention):
    """Takes one step a call, however far the training is."""

    done: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("done", torch.zeros(()))

    def set_progress(self, progress: float) -> None:
        if progress * 4 >= self.done + 1:
            self.done += 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 - self.done / 8)


@broken("follows_the_schedule")
class GoingBack(OneAtATime):
    def set_progress(self, progress: float) -> None:
        self.done.fill_(progress)


@broken("follows_the_schedule")
class Public(OneAtATime):
    share = 0.0

    def set_progress(self, progress: float) -> None:
        Public.share = max(Public.share, progress)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Attention.forward(self, x) * (1 - Public.share / 2)


@broken("follows_the_schedule")
class Forgetful(OneAtATime):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.share = 0.0

    def set_progress(self, progress: float) -> None:
        self.share = max(self.share, progress if progress < 1 else 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Attention.forward(self, x) * (1 - self.share / 2)


@broken("penalizes_by_the_rules")
class Detached(Attention):
    def penalty(self) -> torch.Tensor:
        return self.weight.detach().square().sum()


@broken("penalizes_by_the_rules")
class Infinite(Attention):
    def penalty(self) -> torch.Tensor:
        return (self.weight / 0).square().sum()


@broken("penalizes_by_the_rules")
class Shrinking(Attention):
    def penalty(self) -> torch.Tensor:
        with torch.no_grad():
            self.weight.mul_(0.9)
        return self.weight.square().sum()


@broken("deploys_by_the_rules")
class Inexact(Attention):
    def deploy(self) -> nn.Module:
        return nn.Identity()


@broken("deploys_by_the_rules")
class Never(Attention):
    def deploy(self) -> nn.Module:
        raise convzoo.LifecycleError("not yet, at progress 2 perhaps")


@broken("starts_tensors_of_the_model", "init")
def strangers(model: nn.Module) -> Any:
    yield torch.empty(3), nn.init.zeros_


@broken("starts_tensors_of_the_model", "init")
def endless(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.fill_(float("inf"))


BASIC = ref("basic", planes=8)


def model(block: str | convzoo.Ref = BASIC, **fields: Any) -> Model:
    stem = ref("cifar", width=8)
    return Model("tiny", "tiny", stem, (Stage((block,)),), num_classes=5, input_size=16, **fields)


# Counts of the sound one were measured; they cannot be read from a table, since nobody published it.
COUNTS = {"params": 1461, "macs": 350_248}
KEYLESS = convzoo.model_info("resnet18").spec.derived(name="keyless18", keys=((r"^head\.fc\.", "fc."),))
SILU = convzoo.model_info("resnet18").spec.derived(name="silu18", act=ref("silu"))
BROKEN += [
    ("builds_on_meta", model("nothing_of_that_name")),
    ("costs_what_it_pins", model()),
    ("costs_what_it_pins", model(**{**COUNTS, "params": 1460})),
    ("equals_its_reference", Model(**{**vars(KEYLESS), "references": (Reference("timm", "resnet18"),)})),
    ("equals_its_reference", Model(**{**vars(SILU), "references": (Reference("timm", "resnet18"),)})),
]


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


@pytest.mark.parametrize(("name", "contribution"), BROKEN, ids=[f"{n}-{c.name}" for n, c in BROKEN])
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


@pytest.mark.parametrize(
    "contribution",
    [
        Component("attention", "plain", Attention, WORDS),
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
    assert "optional(idle=True), no gradient reaches bias" in found["learns_with_every_parameter"]
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
    assert "by design" in found["copies"]
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
from tests.test_testing import Attention, Reordering

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
    assert "To mend it: avoid view, x[:, index] and .contiguous()" in done.stdout
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
