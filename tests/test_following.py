"""A training that is followed is the one that a hand-written loop gives, in whatever way the steps are taken."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convzoo
from convzoo import OptionError, Stage, ref
from convzoo.network.following import KEY, Follower

STEPS = 6
WEIGHT = 1e-2


def network() -> Any:
    """Two layers that condense in three steps each, at 1/6, 1/3 and 1/2 of the training."""
    torch.manual_seed(0)
    layer = ref("condense", growth_rate=8)
    stages = (Stage((layer, layer, ref("norm_act"))),)
    stem = ref("cifar", width=16, norm=ref("none"), act=ref("none"))
    return convzoo.build(convzoo.Model("small", "condensenet", stem, stages, num_classes=10, input_size=32))


def batch(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(4, 3, 8, 8, generator=generator), torch.randint(10, (4,), generator=generator)


def sgd(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, **options)


def kept(model: nn.Module) -> float:
    """The share of the inputs that the groups still read."""
    return float(
        torch.cat([value.flatten() for key, value in model.state_dict().items() if "kept" in key]).float().mean()
    )


def step(model: nn.Module, criterion: Callable[..., Tensor], optimizer: torch.optim.Optimizer, number: int) -> Tensor:
    images, labels = batch(number)
    loss = criterion(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def same(first: nn.Module, second: nn.Module) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in first.state_dict().items())


def by_hand() -> Any:
    """The training as the three functions give it."""
    model = network()
    optimizer = sgd(model)
    for number in range(STEPS):
        convzoo.set_progress(model, number / STEPS)
        step(model, lambda out, y: F.cross_entropy(out, y) + WEIGHT * convzoo.penalty(model), optimizer, number)
    convzoo.set_progress(model, 1)
    return model


def test_a_followed_training_is_the_hand_written_one() -> None:
    model = network()
    optimizer = sgd(model)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    shares = [kept(model)]
    for number in range(STEPS):
        step(model, criterion, optimizer, number)
        shares.append(kept(model))
    assert shares == [1, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert (criterion.step, criterion.progress) == (STEPS, 1)
    assert same(model, by_hand())
    step(model, criterion, optimizer, 0)
    assert criterion.progress == 1, "further steps stay at the end"


def test_penalty_is_added_in_training_alone() -> None:
    model = network()
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), sgd(model), STEPS, WEIGHT)
    images, labels = batch(0)
    out = model(images).detach()
    plain, penalty = F.cross_entropy(out, labels), convzoo.penalty(model).detach()
    assert penalty > 1
    torch.testing.assert_close(criterion(out, labels).detach(), plain + WEIGHT * penalty)
    with torch.no_grad():
        assert criterion(out, labels) == plain
    nn.ModuleList([model]).eval()
    assert criterion(out, labels) == plain
    model.train()
    criterion.penalty_weight = 0.0
    assert criterion(out, labels) == plain


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_is_skipped_is_none(fused: bool) -> None:
    model = network()
    optimizer = sgd(model, fused=fused)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    seen = []
    for number in range(4):
        images, labels = batch(number)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss * (torch.inf if number in (1, 3) else 1)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        seen.append((criterion.step, kept(model)))
    assert seen == [(1, 0.75), (1, 0.75), (2, 0.5), (2, 0.5)]


def test_batches_that_are_accumulated_are_one_step() -> None:
    model, other = network(), network()
    optimizer = sgd(model)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    for number in range(4):
        images, labels = batch(number)
        (criterion(model(images), labels) / 4).backward()
        assert criterion.step == 0
        (F.cross_entropy(other(images), labels) / 4).backward()
    (WEIGHT * convzoo.penalty(other)).backward()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    assert (criterion.step, kept(model)) == (1, 0.75)


def saved(*states: Any) -> Any:
    """What a file gives back, read as torch reads those of strangers."""
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("first", ["follow", "load"])
def test_a_resumed_training_goes_on_where_it_was(first: str) -> None:
    model = network()
    optimizer = sgd(model)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    for number in range(2):
        step(model, criterion, optimizer, number)
    weights, state = saved(model.state_dict(), optimizer.state_dict())
    assert KEY not in optimizer.param_groups[0], "it is in what is saved, not in what optimizers and compilers look at"

    model = network()
    model.load_state_dict(weights)
    optimizer = sgd(model)
    if first == "load":
        optimizer.load_state_dict(state)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    if first == "follow":
        assert criterion.step == 0
        optimizer.load_state_dict(state)
    assert (criterion.step, kept(model)) == (2, 0.5)
    assert KEY not in optimizer.param_groups[0]
    assert state["param_groups"][0][KEY] == 2, "what is loaded stays as it is"
    for number in range(2, STEPS):
        step(model, criterion, optimizer, number)
    assert same(model, by_hand())


def test_a_network_is_told_at_once_where_the_training_is() -> None:
    model = network()
    optimizer = sgd(model)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS)
    criterion.step = 2
    other = network()
    theirs = sgd(other)
    theirs.load_state_dict(optimizer.state_dict())
    convzoo.follow(other, nn.CrossEntropyLoss(), theirs, STEPS)
    assert kept(other) == 0.5


def test_a_training_that_is_resumed_without_its_optimizer_is_told_the_step() -> None:
    model = network()
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), sgd(model), STEPS)
    criterion.step = 2
    assert (criterion.progress, kept(model)) == (2 / STEPS, 0.5)
    with pytest.raises(OptionError, match="step must be an integer of at least 0"):
        criterion.step = -1


def test_state_of_an_optimizer_that_was_not_followed_is_loaded_as_ever() -> None:
    model = network()
    optimizer = sgd(model)
    state = sgd(model).state_dict()
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS)
    criterion.step = 3
    optimizer.load_state_dict(state)
    assert criterion.step == 3


def test_following_again_takes_the_place_of_the_former() -> None:
    model = network()
    optimizer = sgd(model)
    former, criterion = (convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS) for _ in range(2))
    step(model, criterion, optimizer, 0)
    assert (former.step, criterion.step) == (0, 1)
    criterion.stop()
    step(model, criterion, optimizer, 1)
    assert criterion.step == 1
    assert KEY not in optimizer.state_dict()["param_groups"][0]


@pytest.mark.large
def test_compiled_network_criterion_and_optimizer_are_followed_without_a_break() -> None:
    torch.compiler.reset()
    model = network()
    optimizer = sgd(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    criterion = convzoo.follow(compiled, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    loss = torch.compile(lambda x, y: criterion(model(x), y), backend="aot_eager", fullgraph=True)
    take = torch.compile(lambda: optimizer.step(), backend="eager")
    for number in range(STEPS):
        images, labels = batch(number)
        optimizer.zero_grad()
        (loss(images, labels) if number % 2 else criterion(compiled(images), labels)).backward()
        take()
    assert criterion.step == STEPS
    other = by_hand().state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, other[key], msg=key)


def test_wrapped_optimizers_are_followed() -> None:
    from timm.optim import create_optimizer_v2

    model = network()
    optimizer = create_optimizer_v2(model, "lookahead_momentum", lr=0.1)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    step(model, criterion, optimizer, 0)
    assert criterion.step == 1
    assert optimizer.state_dict()["param_groups"][0][KEY] == 1


def test_a_copy_adds_the_penalty_of_its_network_and_follows_nothing() -> None:
    model = network()
    optimizer = sgd(model)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, STEPS, WEIGHT)
    images, labels = batch(0)
    out = model(images).detach()
    both = nn.ModuleDict({"model": model, "criterion": criterion})
    for other in (copy.deepcopy(both), pickle.loads(pickle.dumps(both))):
        convzoo.set_progress(other["model"], 1)
        assert other["criterion"](out, labels) == F.cross_entropy(out, labels), "it is condensed, so without penalty"
        step(model, criterion, optimizer, 0)
        assert other["criterion"].step < criterion.step
        assert other["criterion"]._handles == ()


def test_it_has_the_parameters_and_the_state_of_the_criterion() -> None:
    class Centres(nn.Linear):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return super().forward(x).square().mean()

    model = network()
    criterion = convzoo.follow(model, Centres(10, 3), sgd(model), STEPS, WEIGHT).to(torch.float64)
    assert {name: p.dtype for name, p in criterion.named_parameters()} == {
        "criterion.weight": torch.float64,
        "criterion.bias": torch.float64,
    }
    assert list(criterion.state_dict()) == ["criterion.weight", "criterion.bias"]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_network_that_follows_nothing_is_trained_as_ever() -> None:
    models = [convzoo.create_model("resnet20", num_classes=10) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for number, model in enumerate(models):
        optimizer = sgd(model)
        criterion = convzoo.follow(model, F.cross_entropy, optimizer, STEPS, WEIGHT) if number else F.cross_entropy
        step(model, criterion, optimizer, 0)
    assert same(*models)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": 3}, "model is a network"),
    ({"criterion": 3}, "criterion is what gives the loss"),
    ({"optimizer": 3}, "optimizer is one of torch.optim's kind"),
    ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))])}, "the optimizer has no parameter of ConvNet"),
    ({"total_steps": 0}, "total_steps must be an integer of at least 1"),
    ({"total_steps": 0.5}, "total_steps must be an integer of at least 1"),
    ({"penalty_weight": -1}, "penalty_weight must be a number of at least 0"),
    ({"penalty_weight": float("nan")}, "penalty_weight must be a number of at least 0"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_impossible_arguments_are_refused_and_nothing_is_followed(wrong: dict[str, Any], message: str) -> None:
    model = network()
    optimizer = sgd(model)
    given = {"model": model, "criterion": nn.CrossEntropyLoss(), "optimizer": optimizer, "total_steps": STEPS}
    with pytest.raises(OptionError, match=message):
        convzoo.follow(**{**given, **wrong})
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(reduction="none"), lambda out, labels: {"loss": out}])
def test_a_loss_that_the_penalty_cannot_be_added_to_is_refused(criterion: Any) -> None:
    model = network()
    following: Follower = convzoo.follow(model, criterion, sgd(model), STEPS, WEIGHT)
    images, labels = batch(0)
    with pytest.raises(OptionError, match="a loss of one number, and the criterion gave"):
        following(model(images), labels)
