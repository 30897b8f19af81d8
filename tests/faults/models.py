"""Faulty models and patterns."""

from __future__ import annotations

import convzoo
from convzoo import Model, Pattern, Reference, ref

from .sound import BROKEN, model

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


def _made(depth: str) -> Model:
    if depth == "7":
        raise KeyError(depth)
    if int(depth) > 20:
        raise convzoo.SpecError("a depth is 20 at most")
    return model(name=f"tiny{depth}")


def _made_twice(depth: str) -> Model:
    return _made(str(1 + int(depth[:1] or 0) % 3))


def _divided(depth: str) -> Model:
    if 16 % int(depth):
        raise convzoo.SpecError("a depth divides 16")
    return model(name=f"tiny{depth}")


def _pinned(depth: str) -> Model:
    return model(name=f"tiny{depth}", **{**COUNTS, "params": 1000 + int(depth)})


BROKEN += [
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>[3-5])", _pinned, examples=("tiny4",))),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>[1-9]\d*|0)", _divided, examples=("tiny4",))),
    ("goes_by_its_aliases", model(aliases=(ref("tinier", no_such_option=1),))),
    ("goes_by_its_aliases", model(aliases=(ref("tiniest", stem="no_such_stem"),))),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>\d+)", _made)),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>\d+)", _made_twice)),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>[3-5])", _made, examples=("tiny7",))),
]


BROKEN.append(("has_keys_that_keep_names_apart", model(name="confused", keys=((r"^(stem|head)\..*?(\w+)$", r"\2"),))))
