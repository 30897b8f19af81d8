"""Feature levels of a model: which there are, and which are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convzoo.errors import OptionError, require_choice, scalar, shown


class FeatureInfo(list[dict[str, Any]]):
    """What each feature level is: a list of dicts with ``num_chs``, ``reduction`` (stride) and ``module``.

    The methods have timm's names; without ``idx`` they speak of the levels that are put out.

    Args:
        levels: the dicts.
        out_indices: the levels that are put out; all if None.
    """

    def __init__(self, levels: Sequence[dict[str, Any]], out_indices: Sequence[int] | None = None) -> None:
        super().__init__({**level, "index": index} for index, level in enumerate(levels))
        self.out_indices = tuple(range(len(levels)) if out_indices is None else out_indices)

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """``key`` of the levels put out, of the level ``idx``, or of each level in ``idx``."""
        require_choice("key", key, self[0])
        if type(single := scalar(idx)) is int:
            return self[self._levels((single,))[0]][key]
        return [self[i][key] for i in self._levels(idx)]

    def _levels(self, idx: int | Sequence[int] | None) -> tuple[int, ...]:
        return self.out_indices if idx is None else take_indices(len(self), idx, "idx")

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels; ``idx`` as in :meth:`get`."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Input pixels per feature pixel; ``idx`` as in :meth:`get`."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """Submodule that gives the level; ``idx`` as in :meth:`get`."""
        return self.get("module", idx)

    def get_dicts(self, keys: Sequence[str] | None = None, idx: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The levels put out, or those in ``idx``, with all their keys or only ``keys``."""
        chosen = [self[i] for i in self._levels(idx)]
        return [{key: level[key] for key in (level if keys is None else keys)} for level in chosen]


def take_indices(count: int, indices: int | Sequence[int] | None, name: str = "indices") -> tuple[int, ...]:
    """Which of ``count`` levels ``indices`` means: all for None, the last n for an int, negative ones from the end.

    Raises:
        OptionError: a level does not exist; the message names the option ``name``.
    """
    if indices is None:
        return tuple(range(count))
    if type(last := scalar(indices)) is int:
        if not 0 < last <= count:
            raise OptionError(
                f"{name}={shown(last)}: there are {count} feature levels, so the last 1 to {count} can be asked for"
            )
        return tuple(range(count - last, count))
    # No more than each level, by either of its numbers.
    taken = tuple(map(scalar, indices)) if isinstance(indices, Sequence) and not indices[2 * count :] else ()
    if not taken or not all(type(i) is int and -count <= i < count for i in taken):
        raise OptionError(
            f"{name}={shown(indices)}: the {count} feature levels are 0 to {count - 1}, or -{count} to -1"
        )
    return tuple(i % count for i in taken)


def take_strides(levels: FeatureInfo, strides: Sequence[int], name: str = "out_strides") -> tuple[int, ...]:
    """Which of ``levels`` have these ``strides``, in their order; of several of one stride, the last.

    Raises:
        OptionError: there is no level of a stride, or it is asked for twice; the message names the option ``name``.
    """
    last = {level["reduction"]: level["index"] for level in levels}
    # No more than there are strides, so that what is looked at is short.
    given = isinstance(strides, Sequence) and not isinstance(strides, str) and not strides[len(last) :]
    taken = tuple(map(scalar, strides)) if given else ()
    if not taken or not all(type(stride) is int and stride in last for stride in taken):
        known = ", ".join(map(str, last))
        raise OptionError(
            f"{name}={shown(strides)}: the feature levels have the strides {known}, to be named in a list"
        )
    if len(set(taken)) < len(taken):
        raise OptionError(f"{name}={shown(strides)}: a stride is named twice")
    return tuple(last[stride] for stride in taken)
