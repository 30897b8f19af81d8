"""Checks of heads: their classifier, and what resetting makes of it."""

from __future__ import annotations

import typing

import torch
from torch import nn

from convzoo.testing.kit.probe import CLASSES, Probe
from convzoo.testing.kit.promises import CheckFailed, promise
from convzoo.testing.kit.runs import close, evaluated


def require_head(probe: Probe, module: nn.Module) -> None:
    """Raise CheckFailed unless ``module`` has a classifier that can be read and reset."""
    images = probe.images(batch=2)
    name = getattr(module, "classifier_name", None)
    try:
        shapes = [tuple(evaluated(module, images).shape)]
        with torch.no_grad():
            pooled = tuple(module(images, pre_logits=True).shape)
        module.reset(5)  # type: ignore[operator]
        shapes.append(tuple(evaluated(module, images).shape))
        module.reset(0)  # type: ignore[operator]
        shapes.append(tuple(evaluated(module, images).shape))
        classifier = module.get_submodule(str(name))
    except Exception as error:
        raise CheckFailed(
            f"it fails as a head: {type(error).__name__}: {error}",
            means="classifiers cannot be read or reset",
            mend="give it classifier_name, forward(x, pre_logits=False) and reset(num_classes, global_pool=None)",
        ) from error
    if shapes != [(2, CLASSES), (2, 5), pooled] or not isinstance(classifier, nn.Identity):
        raise CheckFailed(
            f"outputs of {shapes[0]} for {CLASSES} classes, {shapes[1]} after reset(5), {shapes[2]} after reset(0),"
            f" and {pooled} before the classifier, which is then {type(classifier).__name__}",
            means="a new classifier does not give what was asked for",
            mend="give (N, num_classes); with num_classes 0 what pre_logits gives, and an Identity as classifier",
        )


@promise("head")
def resets_to_what_is_asked(probe: Probe) -> None:
    """After reset(), it is as one that was made with that number of classes and that pool, with a new classifier."""
    images = probe.images()
    head = probe.make()
    name = str(getattr(head, "classifier_name", ""))
    before = [p.detach().clone() for p in head.get_submodule(name).parameters()]
    head.reset(CLASSES)
    after = list(head.get_submodule(name).parameters())
    if any(b.shape == a.shape and b.numel() > 1 and torch.equal(b, a) for b, a in zip(before, after, strict=False)):
        raise CheckFailed(
            "reset() leaves the classifier's weights as they were",
            means="a network that is made ready for another data set starts with the old one's classes",
            mend="make a new last layer in reset()",
        )
    head.eval().reset(CLASSES)
    if waking := [name or "the head itself" for name, module in head.named_modules() if module.training]:
        raise CheckFailed(
            f"after eval() and reset(), {', '.join(waking)} is in training mode",
            means="a model that is being evaluated drops at random",
            mend="put what reset() makes into the head's mode: module.train(self.training)",
        )
    _refuses_whole(probe, images)
    features = []
    own = [each for each in typing.get_args(probe.part.hints.get("global_pool")) if isinstance(each, str) and each]
    for pool in own or ("avg", "max", "avgmax", "catavgmax"):
        ours = probe.make()
        try:
            ours.reset(CLASSES, global_pool=pool)
        except ValueError:  # OptionError is one
            continue
        features.append(_features(ours, images))
        if not _classifies(ours, images):
            raise CheckFailed(
                f"after reset({CLASSES}, global_pool={pool!r}) it fails, or does not give {CLASSES} classes",
                means="reset_classifier(..., global_pool=...) leaves a network that cannot run",
                mend="make the new last layer for the features of the new pool, or raise OptionError for that pool",
            )
        width = features[-1].shape[1]
        if getattr(ours, "in_features", width) != width:
            raise CheckFailed(
                f"with global_pool={pool!r} its in_features are {ours.in_features}, and it gives {width}",
                means="model.head_hidden_size is wrong, and whoever puts another classifier behind it fails",
                mend="compute in_features from the pool that it has now",
            )
        if not probe.part.declares("global_pool"):
            continue
        made = probe.make(ref=probe.ref.with_options(global_pool=pool))
        shared = {key: value for key, value in ours.state_dict().items() if not key.startswith(f"{name}.")}
        made.load_state_dict(shared, strict=False)
        _keeps_its_pool(made, images, pool)
        bare = probe.make()
        bare.load_state_dict(shared, strict=False)
        bare.reset(0, global_pool=pool)
        if not close(_features(bare, images), features[-1], 1e-5):
            raise CheckFailed(
                f"reset(0, global_pool={pool!r}) takes the classifier away, and pools otherwise than"
                f" reset({CLASSES}, global_pool={pool!r})",
                means="features are not those that were asked for",
                mend="set the pool in reset() whatever the number of classes is",
            )
        if not close(features[-1], _features(made, images), 1e-5):
            raise CheckFailed(
                f"reset({CLASSES}, global_pool={pool!r}) gives another head than global_pool={pool!r} does",
                means="reset_classifier(..., global_pool=...) gives other features than were asked for",
                mend="let reset() do what the constructor does with global_pool",
            )
    if len(features) > 1 and all(torch.equal(features[0], other) for other in features[1:]):
        raise CheckFailed(
            "reset(..., global_pool='max') computes the same as reset(..., global_pool='avg')",
            means="reset_classifier(..., global_pool=...) is asked for, and does nothing",
            mend="pool as reset() says, or raise OptionError there for a pool that the head does not have",
        )


def _keeps_its_pool(head: nn.Module, images: torch.Tensor, pool: str) -> None:
    """Raise CheckFailed if a reset of the classes alone changes the pool, or if features are drawn in eval mode."""
    before = _features(head, images)
    if not torch.equal(_features(head, images), before):
        raise CheckFailed(
            "in eval mode, pre_logits gives other features each time",
            means="features of one image differ from run to run",
            mend="draw random numbers only `if self.training`",
        )
    head.reset(CLASSES + 1)  # type: ignore[operator]
    if not torch.equal(_features(head, images), before):
        raise CheckFailed(
            f"made with global_pool={pool!r}, reset({CLASSES + 1}) pools otherwise",
            means="a new classifier is given other features than were asked for",
            mend="change the pool in reset() only if global_pool is given",
        )


def _refuses_whole(probe: Probe, images: torch.Tensor) -> None:
    """Raise CheckFailed if a reset that is refused has changed something."""
    head = probe.make()
    before = evaluated(head, images)
    for classes, pool in ((5, "nothing"), (-1, "max")):
        try:
            head.reset(classes, global_pool=pool)
        except ValueError:
            with torch.no_grad():
                after = head(images)
            if not (after.shape == before.shape and torch.equal(after, before)):
                raise CheckFailed(
                    f"reset({classes}, global_pool={pool!r}) is refused, and changes it",
                    means="a model is broken by a typing error",
                    mend="check everything in reset() before anything is set",
                ) from None
        else:
            head = probe.make()


def _features(head: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return head.eval()(images, pre_logits=True)


def _classifies(head: nn.Module, images: torch.Tensor) -> bool:
    try:
        return tuple(evaluated(head, images).shape[1:]) == (CLASSES,)
    except RuntimeError:
        return False
