"""What a network is elsewhere: the model of another library that it equals, and the names that others have for it."""

from __future__ import annotations

from dataclasses import dataclass

from convzoo.errors import SpecError
from convzoo.spec.checks import options, text
from convzoo.spec.json import Record
from convzoo.spec.keys import key_pairs
from convzoo.spec.refs import NO_OPTIONS, Options


@dataclass(frozen=True)
class Reference(Record):
    """The model of another library that a variant must equal.

    With ``overrides`` applied to the variant, its weights copied over, it computes what
    ``<library>.create_model(name, **options)`` computes.
    """

    library: str
    name: str
    options: Options = NO_OPTIONS
    overrides: Options = NO_OPTIONS

    def __post_init__(self) -> None:
        for field in ("library", "name"):
            object.__setattr__(self, field, text(f"a reference's {field}", getattr(self, field), needed=True))
        if self.library not in ("timm", "torchvision"):
            raise SpecError(f"references are to timm or torchvision, not {self.library!r}")
        for field in ("options", "overrides"):
            value = options(f"{field} of the reference to {self.name}", getattr(self, field))
            object.__setattr__(self, field, value)


@dataclass(frozen=True)
class Dialect(Record):
    """The names that somebody else's code has for a network's weights.

    Attributes:
        name: whose they are; what a report of loading calls them.
        keys: pairs as in :attr:`Model.keys`, from this library's names to theirs.
        convert: ``"module:function"`` for files whose values differ as well, or empty. It is imported when it is needed
            and called with the values by their names, the names by this library's keys, and the network's own state
            dict, and gives values by their names that need nothing but renaming.
    """

    name: str
    keys: tuple[tuple[str, str], ...]
    convert: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text("a dialect's name", self.name, needed=True))
        object.__setattr__(self, "keys", key_pairs(f"keys of the dialect {self.name}", self.keys))
        object.__setattr__(self, "convert", text(f"convert of the dialect {self.name}", self.convert))
        if self.convert and not all(self.convert.partition(":")):
            raise SpecError(f"convert of the dialect {self.name} should read 'module:function', got {self.convert!r}")
