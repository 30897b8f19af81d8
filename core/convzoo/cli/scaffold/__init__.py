"""What ``convzoo new`` writes: a package of its own with one part, worked out, checked and ready to install.

The package is rendered from the templates beside this file: those in ``common`` serve all kinds, those in a kind's
folder are its part and the test of the part's mathematics. This module imports no torch.
"""

from __future__ import annotations

import ast
import importlib.resources
import keyword
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from convzoo.errors import OptionError, cut, listed, shown
from convzoo.plugins.catalogue import catalogue, first_party, normalized
from convzoo.plugins.environment import core_version

NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
LONGEST = 32
"""Characters of a name, so that no line of what is written gets longer than 120."""
RULE = (
    "use lower-case letters and digits, in words joined by '-' or '_', with a letter first,"
    f" {LONGEST} characters at most, such as 'my-block'"
)

TAKEN = {
    "plugin": "the package's own plugin.py has that name",
    "conformance": "the package's own tests/test_conformance.py has that name",
    "session": "what convzoo.register() registers goes by that name",
}
"""Names that a package, or convzoo, needs itself."""
_OTHER = "choose another name"


@dataclass(frozen=True)
class Example:
    """What the plugin says of its part; in all texts, ``$name`` and ``$model`` stand for the package's own.

    Attributes:
        summary: of the part.
        paper: where its idea is from.
        usage: a line of Python that puts it into another network.
        params, macs: of its ResNet-20, which a name changes nothing of.
        layer: the block of that network.
        fields: further fields of that network.
        options: further arguments of the component.
    """

    summary: str
    paper: str
    usage: str
    params: int
    macs: int
    layer: str = 'ref("basic")'
    fields: str = ""
    options: str = ""


EXAMPLES = {
    "attention": Example(
        summary="a gate from each channel's mean, normalised among its group's",
        paper="Ruan et al., Linear Context Transform Block, AAAI 2020, arXiv:1909.03834",
        usage='convzoo.create_model("resnet50", attention="$name", stem="deep")',
        layer='ref("basic", attention=ref("$name", groups=4))',
        params=273_146,
        macs=40_813_184,
    ),
    "block": Example(
        summary="inverted residual: 1x1, depthwise, 1x1 convolution, wide in the middle",
        paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, arXiv:1801.04381",
        usage='convzoo.create_model("$model", stem="deep", shortcut="avg", act="silu")',
        layer='ref("$name")',
        options='example={"planes": 64}',
        params=179_386,
        macs=31_494_784,
    ),
    "conv": Example(
        summary="3x3, 1x3 and 3x1 convolution side by side, summed",
        paper="Ding et al., ACNet: Strengthening the Kernel Skeletons, ICCV 2019, arXiv:1908.03930",
        usage='convzoo.create_model("resnet50", conv="$name", shortcut="avg")',
        layer='ref("basic", conv=ref("$name"))',
        params=355_226,
        macs=53_396_096,
    ),
    "stem": Example(
        summary="space to depth, then a convolution",
        paper="Ridnik et al., TResNet: High Performance GPU-Dedicated Architecture, WACV 2021, arXiv:2003.13630",
        usage='convzoo.create_model("resnet50", stem="$name", shortcut="avg")',
        fields='stem=ref("$name", width=16, block_size=2)',
        params=273_770,
        macs=10_535_552,
    ),
}

FILES = {
    "pyproject.toml": "common/pyproject.toml",
    "README.md": "common/README.md",
    ".gitignore": "common/gitignore",
    "src/$package/__init__.py": "common/init.py",
    "src/$package/plugin.py": "common/plugin.py",
    "src/$package/$module.py": "$kind/part.py",
    "tests/test_conformance.py": "common/test_conformance.py",
    "tests/test_$module.py": "$kind/test_part.py",
}
"""What is written, and the template, less its suffix, that it is rendered from."""


def create(name: str, kind: str, into: Path) -> Path:
    """Write the package into a new folder ``into / name``, whole or not at all; gives that folder.

    Raises:
        OptionError: the name or the kind cannot be, or there is something in the folder already.
    """
    files = render(name, kind)
    target = into / name
    if not _is_folder(into):
        raise OptionError(f"{cut(into)} is no folder; make it first, or name another")
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or any(target.iterdir())):
        raise OptionError(f"{target} is there already, and is no empty folder; remove it, or choose another place")
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=into) as staging:
        for path, text in files.items():
            file = Path(staging, name, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        os.replace(Path(staging, name), target)
    return target


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # such as a name that is too long for the system
        return False


def render(name: str, kind: str) -> dict[str, str]:
    """The files of the package, path to text.

    Raises:
        OptionError: there is no such kind, or the name is malformed or taken.
    """
    if kind not in EXAMPLES:
        raise OptionError(f"there is no package to start from for kind {kind!r}; there is one for {listed(EXAMPLES)}")
    words = {"kind": kind, **_names(name)}
    words |= _texts(EXAMPLES[kind], words)
    templates = importlib.resources.files(__name__) / "templates"
    files = {f"src/{words['package']}/py.typed": ""}
    for path, template in FILES.items():
        source = templates / f"{_filled(template, words)}.tmpl"
        files[_filled(path, words)] = _filled(source.read_text(encoding="utf-8"), words)
    if words["class_name"] in _imported(files[f"src/{words['package']}/{words['module']}.py"]):
        raise OptionError(f"{name!r} would call the part {words['class_name']}, which its module imports; {_OTHER}")
    return files


def _names(name: str) -> dict[str, str]:
    """All that is called after ``name``.

    Raises:
        OptionError: it cannot be.
    """
    if len(name) > LONGEST or not NAME.fullmatch(name):
        raise OptionError(f"{shown(name)} cannot be a plugin's name: {RULE}")
    distribution = f"convzoo-{normalized(name)}"
    module = name.replace("-", "_")
    class_name = "".join(word.capitalize() for word in module.split("_"))
    model = f"{module}_resnet20"
    if name in TAKEN:
        raise OptionError(f"{name!r} cannot be a plugin's name, since {TAKEN[name]}; {_OTHER}")
    if keyword.iskeyword(module) or keyword.iskeyword(class_name):
        raise OptionError(f"{name!r} is a word of Python's own; {_OTHER}")
    if distribution in first_party() or name == "builtin":
        raise OptionError(f"{name!r} is taken, since a first-party plugin is called so; {_OTHER}")
    for label, holder in catalogue().items():
        if normalized(label.rpartition("/")[2]) in (normalized(name), normalized(model)):
            what = label.replace("/", " ") if "/" in label else f"model {label}"
            raise OptionError(f"{name!r} is taken, since {holder}, installed or not, has {what}; {_OTHER}")
    return {
        "name": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "module": module,
        "class_name": class_name,
        "model": model,
        "core": _range(core_version()),
    }


def _range(version: str) -> str:
    """``X.Y.Z`` to ``>=X.Y,<X.(Y+1)``: the versions of the core that a package of today is for."""
    major, minor = (*re.split(r"[^\d.]", version)[0].split("."), "0")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def _texts(example: Example, words: dict[str, str]) -> dict[str, str]:
    """What a kind's data gives the templates; optional arguments come as lines of their own."""
    texts = {
        key: _filled(f"{value:_}" if isinstance(value, int) else value, words) for key, value in asdict(example).items()
    }
    return texts | {key: f"        {texts[key]},\n" if texts[key] else "" for key in ("fields", "options")}


def _filled(text: str, words: dict[str, str]) -> str:
    return Template(text).substitute(words)


def _imported(source: str) -> set[str]:
    imports = (node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom)))
    return {alias.asname or alias.name for node in imports for alias in node.names}
