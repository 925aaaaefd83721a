"""Measure everything, and write docs/performance.md with its pictures: `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import measures
from benchmarks.measures import Curve, Row
from benchmarks.pictures import picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROOT: Final = Path(__file__).resolve().parent.parent
_BEGIN: Final = "<!-- measured: written by `make bench` -->"
_END: Final = "<!-- /measured -->"
Result = tuple[list[Row], list[Curve]]


def _measures(folder: Path) -> dict[str, Callable[[], Result]]:
    """Return the measures by name, in the order in which they are made.

    What leaves the processor alone most of the time is done side by side.
    """
    return {
        "start": lambda: (measures.start_up(folder), []),
        "years": lambda: measures.years(folder),
        "window": lambda: (measures.window(folder), []),
        "both": lambda: (measures.window(folder, both=True, what="sdk"), []),
        "sweep": lambda: measures.sweeps(folder),
        "lateness": lambda: (measures.lateness(folder), []),
        "idle": lambda: (measures.idle(folder), []),
    }


_TOGETHER: Final = (("start",), ("years",), ("window", "idle"), ("both",), ("sweep",), ("lateness",))


def main() -> None:
    """Measure what is asked for; write the page only when that is everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="measure only these, and write nothing")
    only = parser.parse_args().only
    started, load = time.monotonic(), os.getloadavg()[0]
    rows: list[Row] = []
    curves: list[Curve] = []
    with tempfile.TemporaryDirectory(prefix="mmd-bench-") as folder, ThreadPoolExecutor(2) as pool:
        known = _measures(Path(folder))
        for group in _TOGETHER:
            works = [pool.submit(known[name]) for name in group if not only or name in only]
            for work in works:
                found, drawn = work.result()
                rows, curves = rows + found, curves + drawn
                for row in found:
                    print(_as_text(row), flush=True)
    if not only:
        _write(rows, curves, load, time.monotonic() - started)
    sys.exit(0 if all(row.is_kept for row in rows) else 1)


def _as_text(row: Row) -> str:
    mark = "      " if row.bound is None else "kept  " if row.is_kept else "MISSED"
    return f"{mark} {row.what}: {row.value} | {row.beside} | {_ratio(row)} {_bound(row)}"


def _ratio(row: Row) -> str:
    return f"{row.ratio:.3g}{row.unit}"


def _bound(row: Row) -> str:
    return "" if row.bound is None else f"≤ {row.bound:g}{row.unit}"


def _write(rows: Sequence[Row], curves: Sequence[Curve], load: float, took: float) -> None:
    for curve in curves:
        (_ROOT / "docs/img").mkdir(exist_ok=True)
        (_ROOT / f"docs/img/{curve.name}.svg").write_text(picture(curve))
    page = _ROOT / "docs/performance.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{_measured(rows, curves, load, took)}\n{_END}{after}")
    print(json.dumps({"minutes": round(took / 60, 1), "load": load}))


def _measured(rows: Sequence[Row], curves: Sequence[Curve], load: float, took: float) -> str:
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    lines = [
        f"On one machine in one run of {took / 60:.0f} minutes: {machine}; load {load:.1f} at the start.",
        "",
        "| what | mmd | beside | ratio | promised | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "" if row.bound is None else "kept" if row.is_kept else "**missed**"
        lines.append(f"| {row.what} | {row.value} | {row.beside} | {_ratio(row)} | {_bound(row)} | {mark} |")
    lines += ["", *(f"![{curve.title}](img/{curve.name}.svg)" for curve in curves)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
