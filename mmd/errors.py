"""Everything that can go wrong and that a person is told about.

    MmdError                  1   failed
    ├── Refused               2   usage, or refused for a stated reason
    │   └── ConfigError       2   the configuration file does not make sense
    ├── NotFound              3   no such source, window, occurrence; or nothing to do
    ├── Conflict              4   against a rule, or against the present state
    ├── TenantError           1   ISC answered, and not with what was asked for
    │   ├── Denied            5   credentials or rights (401, 403, the token endpoint)
    │   ├── Missing           3   ISC has no such object (404, or 400 with detail code 400.1.404)
    │   ├── Rejected          1   ISC understood and said no (another 4xx): nothing was changed
    │   ├── Unreachable       6   no usable answer, and nothing can have been changed
    │   ├── Unknown           6   no usable answer to a change: it may or may not have happened
    │   └── Garbled           1   an answer that is not what the documents promise: no data, never empty data
    ├── PartlyDone            7   some sources done, some not
    └── Findings             10   nothing failed, and there is something to look at

The number is the process's exit code (docs/contract.md, "Exit codes").
"""

from __future__ import annotations

from typing import ClassVar


class MmdError(Exception):
    """One sentence for a person, and a hint about what to do next."""

    exit_code: ClassVar[int] = 1
    usual_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint


class Refused(MmdError):
    """The request cannot be taken as it stands."""

    exit_code = 2


class ConfigError(Refused):
    """The configuration file does not make sense."""


class NotFound(MmdError):
    """There is no such thing, or nothing to do."""

    exit_code = 3


class Conflict(MmdError):
    """The request is against a rule, or against the present state."""

    exit_code = 4


class TenantError(MmdError):
    """ISC answered, and not with what was asked for.

    `status` is the HTTP status, if there was one; `tracking_id` is ISC's own id of the request, for support.
    """

    def __init__(
        self, message: str, *, hint: str = "", status: int | None = None, tracking_id: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.tracking_id = tracking_id


class Denied(TenantError):
    """The credentials are wrong or expired, or lack a right."""

    exit_code = 5
    usual_hint = "`mmd doctor` says which right is missing"


class Missing(TenantError):
    """ISC has no such object."""

    exit_code = 3


class Rejected(TenantError):
    """ISC understood the request and refused it; nothing was changed."""


class Unreachable(TenantError):
    """No usable answer came, and nothing can have been changed."""

    exit_code = 6
    usual_hint = "is the tenant's name or base_url right, and the network up? `mmd doctor` says more"


class Unknown(TenantError):
    """No usable answer came to a change, so it may or may not have happened: read again, then decide."""

    exit_code = 6
    usual_hint = "the source is read again before anything else is done to it"


class Garbled(TenantError):
    """The answer is not what ISC's documents promise; it counts as no data, never as empty data."""

    usual_hint = (
        "nothing is done on the word of such an answer; if it stays so, report it with the tracking id"
    )


class PartlyDone(MmdError):
    """Some sources were done and some were not."""

    exit_code = 7


class Findings(MmdError):
    """Nothing failed, and there is something to look at."""

    exit_code = 10


def plainly(error: Exception) -> MmdError:
    """Return any error as one that a person can be told of: what mmd did not foresee is a defect of its own.

    Its words may be anybody's, so that no half character is left in them.
    """
    if isinstance(error, MmdError):
        return error
    said = f"unexpected {type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
    return MmdError(said, hint="please report it")
