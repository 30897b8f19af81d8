"""One cell in a process of its own: ``python -m convzoo.bench.worker``, started by :mod:`convzoo.bench.process`.

It reads one line of JSON, what to do, and writes lines of JSON to the file descriptor that it was given: ``progress``
at times, and ``result`` at the end. When its parent is gone, its input ends, and it goes too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from typing import Any


def main() -> None:
    """Do what the first line of the input says."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_go_with_the_parent, daemon=True).start()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as out:

        def tell(**event: Any) -> None:
            out.write(json.dumps(event) + "\n")
            out.flush()

        tell(result=perform(task, tell))


def perform(task: dict[str, Any], tell: Any) -> dict[str, Any]:
    """The fields of the row that a task gives: of timing, or of ``ours`` or ``theirs`` alone."""
    imports = timed_imports(task["cell"][task["alone"]]["library"]) if task["alone"] else {}
    from convzoo.bench.cells import Cell
    from convzoo.bench.measure import CellError, How, start_alone, time_cell
    from convzoo.bench.sampling import Rule

    cell = Cell.from_dict(task["cell"], task["family"])
    how = How(**{**task["how"], "rule": Rule(**task["how"]["rule"])})
    try:
        if task["alone"]:
            return start_alone(cell, task["alone"], how, imports)

        def progress(ratio: Any, spent: float) -> None:
            tell(progress={"value": ratio.value, "width": ratio.width, "pairs": ratio.pairs, "spent": spent})

        return time_cell(cell, how, progress)
    except CellError as error:
        return {"status": error.status, "why": str(error)}


def timed_imports(library: str) -> dict[str, float]:
    """Seconds that torch takes to import, ``torch_s``, and then the library with its list of models, ``import_s``."""
    start = time.perf_counter()
    importlib.import_module("torch")
    middle = time.perf_counter()
    module = importlib.import_module(library)
    if library == "convzoo":
        module.list_models()  # which loads the plugins
    return {"torch_s": middle - start, "import_s": time.perf_counter() - middle}


def _go_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
