"""What can go wrong between a client and ISC, on demand (docs/reliability.md §2.3 B).

A rule names the requests it is for, and an action. An action takes the request and the way on, and gives the
reply: so it can act before the tenant does, after it, or instead. The actions of several rules nest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from mmd.simulator.problems import Problem
from mmd.simulator.wire import Call, Dropped, Reply, answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Proceed: TypeAlias = Callable[[Call], Reply]
Action: TypeAlias = Callable[[Call, Proceed], Reply]

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(slots=True)
class Rule:
    """When to act: on requests of this method and path, the nth of them only, or the request number k of all.

    `path` is a regular expression that is searched for; `nth` and `request` count from 1; `times` widens
    `nth` to so many in a row. `fired` counts how often the rule acted.
    """

    action: Action
    method: str | None = None
    path: str = ""
    nth: int | None = None
    times: int = 1
    request: int | None = None
    when: Callable[[Call], bool] = field(default=lambda _call: True, repr=False)
    matched: int = 0
    fired: int = 0

    def takes(self, call: Call, number: int) -> bool:
        """Tell whether the rule acts on this request, and count it."""
        if not self._matches(call, number):
            return False
        self.matched += 1
        if self.nth is not None and not self.nth <= self.matched < self.nth + self.times:
            return False
        self.fired += 1
        return True

    def _matches(self, call: Call, number: int) -> bool:
        return (
            self.method in {None, call.method}
            and self.request in {None, number}
            and re.search(self.path, call.path) is not None
            and self.when(call)
        )


def through(actions: Iterable[Action], proceed: Proceed) -> Proceed:
    """The way on, with the actions around it; the first is the outermost."""
    for action in reversed(list(actions)):
        proceed = _around(action, proceed)
    return proceed


def _around(action: Action, proceed: Proceed) -> Proceed:
    return lambda call: action(call, proceed)


def fail(
    status: int = 500,
    *,
    after: bool = False,
    body: bytes | None = None,
    content_type: str = "application/json",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Action:
    """An error status, before the tenant acts or after it did. Without a body: ISC's error envelope."""

    def action(call: Call, proceed: Proceed) -> Reply:
        if after:
            proceed(call)
        if body is None:
            return answer(status, Problem(status).body(), headers)
        return Reply(status, body, headers, content_type)

    return action


def html(status: int = 502, *, after: bool = False) -> Action:
    """The edge's own error page; with status 200, garbage instead of data."""
    return fail(status, after=after, body=_HTML, content_type="text/html")


def drop(*, after: bool = False) -> Action:
    """The connection ends without an answer: the request is lost, or (after) only its answer is."""

    def action(call: Call, proceed: Proceed) -> Reply:
        if after:
            proceed(call)
        raise Dropped

    return action


def truncate(keep: int = 10) -> Action:
    """The answer breaks off after so many bytes of its body."""
    return rewrite(lambda reply: replace(reply, keep=keep))


def trickle(seconds: float) -> Action:
    """The answer's body comes byte by byte, so many seconds apart."""
    return rewrite(lambda reply: replace(reply, pause=seconds))


def hang(seconds: float, *, after: bool = False) -> Action:
    """Nothing happens for so many seconds, before the tenant acts or (after) before it answers."""

    def action(call: Call, proceed: Proceed) -> Reply:
        if not after:
            call.pause(seconds)
        reply = proceed(call)
        if after:
            call.pause(seconds)
        return reply

    return action


def ignore_op(index: int) -> Action:
    """A patch loses its operation number `index` (from 0), and is answered 200."""

    def action(call: Call, proceed: Proceed) -> Reply:
        operations = json.loads(call.body)
        del operations[index]
        return proceed(replace(call, body=json.dumps(operations).encode()))

    return action


def prefix_ops(count: int) -> Action:
    """Only the first `count` operations of a patch are applied, and it is answered 400."""

    def action(call: Call, proceed: Proceed) -> Reply:
        operations = json.loads(call.body)[:count]
        proceed(replace(call, body=json.dumps(operations).encode()))
        return answer(400, Problem(400).body())

    return action


def redirect(base_url: str, status: int = 307) -> Action:
    """The answer sends the client elsewhere: to the same path on another host."""
    return lambda call, _proceed: Reply(status, headers={"Location": base_url + call.path})


def run(function: Callable[[], object], *, after: bool = False) -> Action:
    """Something else happens meanwhile: a person edits a source, a process is killed."""

    def action(call: Call, proceed: Proceed) -> Reply:
        if not after:
            function()
        reply = proceed(call)
        if after:
            function()
        return reply

    return action


def rewrite(function: Callable[[Reply], Reply]) -> Action:
    """The answer is changed on its way out."""
    return lambda call, proceed: function(proceed(call))
