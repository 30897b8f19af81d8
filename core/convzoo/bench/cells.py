"""What is to be measured: names, compositions and globs, times settings, all of it checked before anything runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convzoo.api import list_models, model_info
from convzoo.bench.engines import ENGINES, engine_of
from convzoo.bench.settings import Settings, device_name, on_all, require_threads
from convzoo.errors import OptionError, SpecError, did_you_mean, listed, require_choice, require_int, shown
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS
from convzoo.spec.refs import Options, Ref

LIBRARIES = ("timm", "torchvision")
"""Other libraries whose models are competitors."""
OWN = ("self", "training")
"""What else of a variant it may run against: a twin of itself, or, where it is deployed, its training graph."""
FORMS = ("training", "deployed")
"""``deployed``: what :func:`convzoo.deploy` makes of it."""
_COMPOSED = re.compile(r"(.+?)\[([^\[\]=]+=.*)\]", re.DOTALL)


@dataclass(frozen=True)
class Competitor:
    """A network that is measured.

    Args:
        library: ``convzoo``, ``timm`` or ``torchvision``.
        name: the model's there.
        options: as in ``name[options]``.
        form: one of :data:`FORMS`.
    """

    library: str
    name: str
    options: str = ""
    form: str = "training"

    @property
    def label(self) -> str:
        """All of it in short: ``resnet50[attention=cbam]``, ``timm:resnet50``, ``resnet50 deployed``."""
        library = "" if self.library == "convzoo" else f"{self.library}:"
        options = f"[{self.options}]" if self.options else ""
        return f"{library}{self.name}{options}{' deployed' if self.form == 'deployed' else ''}"

    def to_dict(self) -> dict[str, str]:
        """As the result file has it."""
        return {**dataclasses.asdict(self), "label": self.label}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Competitor:
        """The competitor of :meth:`to_dict`."""
        return cls(**{f.name: record[f.name] for f in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Cell:
    """A pair of competitors under one setting of everything; ``family`` is that of ``ours``."""

    ours: Competitor
    theirs: Competitor
    settings: Settings
    family: str

    def to_dict(self) -> dict[str, Any]:
        """As the result file has it, without the family."""
        return {"ours": self.ours.to_dict(), "theirs": self.theirs.to_dict(), **dataclasses.asdict(self.settings)}

    @classmethod
    def from_dict(cls, record: dict[str, Any], family: str) -> Cell:
        """The cell of :meth:`to_dict`."""
        settings = Settings(**{f.name: record[f.name] for f in dataclasses.fields(Settings)})
        return cls(Competitor.from_dict(record["ours"]), Competitor.from_dict(record["theirs"]), settings, family)

    @property
    def refusal(self) -> str:
        """Why this cannot be run, or the empty string."""
        if self.settings.mode == "train" and "deployed" in (self.ours.form, self.theirs.form):
            return "a deployed form is for inference and takes no training step"
        return engine_of(self.settings.engine).refusal(self.settings)

    def __str__(self) -> str:
        return f"{self.ours.label} | {self.theirs.label} | {self.settings}"


@dataclass
class Plan:
    """The cells to be measured, and ``notes``, sentences on what a glob took in and has nothing to be compared with."""

    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(
    words: Sequence[str],
    *,
    against: Sequence[str] = (),
    plugin: str | None = None,
    form: Sequence[str] = ("training",),
    mode: Sequence[str] = ("infer",),
    device: str = "cpu",
    dtype: Sequence[str] = ("float32",),
    memory_format: Sequence[str] = ("contiguous",),
    engine: Sequence[str] = ("eager",),
    batch_size: Sequence[int] = (1,),
    image_size: Sequence[int] = (),
    threads: int | None = None,
) -> Plan:
    """The cells of all of these together, once all of it has been found possible.

    Args:
        words: names, aliases, globs, or either with options: ``resnet50[attention=cbam]``.
        against: ``timm``, ``torchvision``, ``self``, ``training``, another variant or composition of ours, or
            ``timm:NAME``, ``torchvision:NAME``. By default ``self``, which gives a variant's own speed.
        plugin: only variants that it contributed; without ``words``, all of them.
        form: one or both of :data:`FORMS`.
        mode: ``infer``, ``train`` or both.
        device: where both run.
        dtype, memory_format, engine, batch_size: one or more of each.
        image_size: sides in pixels; by default each variant's own.
        threads: of the processor, for each competitor; by default as many as there are cores for this process.

    Raises:
        UnknownNameError: there is no such model or part; the message says what there is.
        OptionError: a setting that does not exist, a library or an engine that is not installed, or settings of which
            no two go together.
    """
    chosen = variants(words, plugin)
    for name in engine:
        require_choice("--engine", name, ENGINES)
        if missing := engine_of(name).missing():
            raise OptionError(
                f"--engine {name} needs {' and '.join(missing)}: pip install 'convzoo[{engine_of(name).extra}]'"
            )
    for each in form:
        require_choice("--form", each, FORMS)
    for size in image_size:
        require_int("--image-size", size, at_least=1, at_most=8192)
    settings = on_all(mode, device_name(device), dtype, memory_format, engine, batch_size, require_threads(threads))
    result = Plan()
    rivals = [(text, _fixed(text)) for text in against or ("self",)]
    for (ours, asked_by_name), shape in itertools.product(chosen, form):
        info = model_info(ours.name)
        mine = dataclasses.replace(ours, form=shape)
        found = [rival or _of_variant(text, mine) for text, rival in rivals]
        lacking = [text for (text, _), rival in zip(rivals, found, strict=True) if rival is None]
        if lacking:
            note = f"{ours.name} has no counterpart in {' or '.join(lacking)} to compare with"
            if asked_by_name and len(lacking) == len(found):
                raise OptionError(note)
            result.notes.append(note)
        for rival, size in itertools.product(found, image_size or (info.spec.input_size,)):
            if rival is not None:
                result.cells += [Cell(mine, rival, each.sized(size), info.spec.family) for each in settings]
    result.cells = list(dict.fromkeys(result.cells))
    if not result.cells:
        raise OptionError(f"there is nothing to measure: {'; '.join(result.notes[:3]) or 'no variant was named'}")
    if all(cell.refusal for cell in result.cells):
        raise OptionError(f"these settings do not go together: {result.cells[0].refusal}")
    return result


def variants(words: Sequence[str], plugin: str | None = None) -> list[tuple[Competitor, bool]]:
    """The variants that are asked for, without repeats, and whether each was asked for by its name.

    Raises:
        UnknownNameError, OptionError: as :func:`plan`.
    """
    plugins = {entry.owner.name for entry in registry().models().values()}
    if plugin is not None and plugin not in plugins:
        raise OptionError(
            f"There are no models of plugin {shown(plugin)}.{did_you_mean(plugin, plugins)}"
            f" Known are {listed(plugins)}."
        )
    if not words and plugin is None:
        raise OptionError("name variants to measure, such as resnet50 'resnet*'; `convzoo list` has all of them")
    found: dict[Competitor, bool] = {}
    for word in words or ("*",):
        if word.endswith("]") and word.partition("[")[2].removesuffix("]") in KINDS:  # as a glob it is a set of letters
            raise OptionError(f"{shown(word)}: options read name[option=value, ...], such as resnet50[attention=cbam]")
        composed = _COMPOSED.fullmatch(word)
        name, text = composed.groups() if composed else (word, "")
        names = list_models(name, plugin=plugin) if name != "" else []
        by_name = not names or names == [name]
        options = read_options(text, word)
        for each in names or [model_info(name).name]:
            _require_composable(each, options)
            competitor = Competitor("convzoo", each, written(options))
            found[competitor] = found.get(competitor, False) or by_name
    return list(found.items())


def read_options(text: str, word: str = "") -> Options:
    """The options of ``name[options]``: ``attention=cbam, stem=deep``, in the form that specs have.

    Raises:
        OptionError: they cannot be read.
    """
    try:
        return Ref.parse(f"ref('options', {text})").options if text else Options({})
    except SpecError as error:
        raise OptionError(
            f"{shown(word or text)}: options read name[option=value, ...], such as"
            f" resnet50[attention=cbam] or 'resnet50[attention=se(reduction=8)]' ({error})"
        ) from None


def written(options: Options) -> str:
    """Options as :func:`read_options` reads them; the same text for the same options."""
    ordered = Options({key: options[key] for key in sorted(options)})
    return str(Ref("options", ordered)).removeprefix("options").strip("()") if options else ""


def _require_composable(name: str, options: Options) -> None:
    if options:
        from convzoo.building.compose import compose  # imports torch

        info = model_info(name)
        compose(info.spec, registry(), info.overrides, dict(options))


def _fixed(text: str) -> Competitor | None:
    """What ``--against`` names itself; None if it depends on the variant."""
    if text in OWN:
        return None
    library, colon, name = text.partition(":")
    if library in LIBRARIES:
        _require_library(library)
        if not colon:
            return None
        if name not in (known := _models_of(library)):
            raise OptionError(f"--against {text}: {library} has no model {name!r}.{did_you_mean(name, known)}")
        return Competitor(library, name)
    if not registry().models(aliases=True) or colon:
        raise OptionError(f"--against {text}: known libraries are {', '.join(LIBRARIES)}")
    try:
        (rival,) = [competitor for competitor, _ in variants([text])]
    except LookupError as error:
        raise OptionError(
            f"--against {text}: known are {', '.join((*LIBRARIES, *OWN))}, timm:NAME, torchvision:NAME, and names of"
            f" ours. {error}"
        ) from None
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"--against {text} is several variants; name one") from None
    return rival


def _of_variant(text: str, ours: Competitor) -> Competitor | None:
    """The counterpart of a variant; None if there is none."""
    if text in OWN:
        return dataclasses.replace(ours, form=ours.form if text == "self" else "training")
    reference = model_info(ours.name).spec.reference(text)
    return Competitor(text, reference.name, written(reference.options)) if reference else None


def _require_library(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise OptionError(f"--against {library} needs {library}: pip install 'convzoo[parity]'")


def _models_of(library: str) -> Iterable[str]:
    if library == "timm":
        import timm

        return timm.list_models()
    import torchvision

    return torchvision.models.list_models()
