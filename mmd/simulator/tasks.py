"""Tasks that run on a source, as GET task-status shows them (docs/isc.md §5)."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from mmd.simulator.health import timestamp


class Tasks:
    """Tasks by their id; a task with an end is over when the clock has passed it."""

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []
        self._ends: dict[str, datetime] = {}

    def start(self, source: dict[str, Any], kind: str, *, now: datetime, seconds: float | None) -> str:
        """Start a task; `kind` is what the filter on type means, not what the field says. Return the id."""
        task = _task(uuid.uuid4().hex, source, now)
        self._tasks.append(
            {"id": task["id"], "sourceId": source["id"], "type": kind, "launcher": "sweep", "shown": task}
        )
        if seconds is not None:
            self._ends[task["id"]] = now + timedelta(seconds=seconds)
        return str(task["id"])

    def listed(self, now: datetime) -> list[dict[str, Any]]:
        """The tasks with what they are filtered and sorted by; `shown` is the TaskStatus."""
        for task in self._tasks:
            end = self._ends.get(task["id"])
            if end is not None and end <= now:
                _finish(task["shown"], self._ends.pop(task["id"]))
        return [{**task, **{key: task["shown"][key] for key in _STATE}} for task in self._tasks]


_STATE = ("created", "completionStatus")


def _task(task_id: str, source: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": task_id,
        "type": "QUARTZ",
        "uniqueName": "Cloud Account Aggregation",
        "description": "Aggregates from the specified application.",
        "parentName": None,
        "launcher": "sweep",
        "target": {"type": "APPLICATION", "id": source["id"], "name": f"{source['name']} [source]"},
        "created": timestamp(now),
        "modified": timestamp(now),
        "launched": timestamp(now),
        "completed": None,
        "completionStatus": None,
        "messages": [],
        "returns": [],
        "attributes": {"appId": source["id"]},
        "progress": "Started",
        "percentComplete": 10,
    }


def _finish(task: dict[str, Any], end: datetime) -> None:
    over = timestamp(end)
    task |= {"completed": over, "modified": over, "completionStatus": "SUCCESS", "percentComplete": 100}
