"""Fresh environments that tests install packages in, and commands that are run away from this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

MAIN = "import sys, convzoo.cli; sys.exit(convzoo.cli.main())"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, away from the paths and settings of this process, and give its output."""
    dropped = ("PYTHON", "PYTEST", "CONVZOO")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    env["OMP_NUM_THREADS"] = "1"
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bare(folder: Path, linked: str) -> Path:
    """Make a virtual environment without pip whose only packages are what one line of a .pth file lets in.

    Gives its interpreter.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    (site(python) / "linked.pth").write_text(f"{linked}\n", encoding="utf-8")
    return python


def environment(folder: Path) -> Path:
    """Make a virtual environment that sees all that this one has; gives its interpreter."""
    return bare(folder, f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})")


def site(python: Path) -> Path:
    """Where an environment's interpreter has its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-I", "-c", code, cwd=python.parent).strip())


def pip(python: Path, command: str, *arguments: str | Path, cwd: Path) -> None:
    """Run pip for another environment, without an index."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index") if command == "install" else ("--yes",)
    own = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", python)
    run(*own, command, "--quiet", *offline, *arguments, cwd=cwd)


def plugins_of(python: str | Path, cwd: Path) -> dict[str, str]:
    """What ``convzoo plugins`` says in an environment, plugin to state."""
    rows = json.loads(run(python, "-c", MAIN, "plugins", "--json", cwd=cwd))
    return {row["plugin"]: row["status"] for row in rows}
