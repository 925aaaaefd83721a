"""ISC's own way to say no: the ErrorResponseDto (docs/isc.md §8)."""

from __future__ import annotations

import uuid

ILLEGAL_VALUE = "400.1.3 Illegal value"
BAD_CONTENT = "400.1 Bad Request Content"
BAD_SYNTAX = "400.0 Bad request syntax"
NOT_REFERENCED = "400.1.404 Referenced object not found"
NOT_FOUND = "404 Not found"

_STANDARD: dict[int, tuple[str, str]] = {
    400: (BAD_CONTENT, "The request was syntactically correct but its content is semantically invalid."),
    403: ("403 Forbidden", "The server understood the request but refuses to authorize it."),
    404: (NOT_FOUND, "The server did not find a current representation for the target resource."),
    409: ("409.1 Conflict", "The request conflicts with the current state of the target resource."),
    415: ("415 Unsupported media type", "The content type of the request is not supported."),
    500: ("500.0 Internal Fault", "An internal fault occurred."),
}


class Problem(Exception):
    """A refusal: the HTTP status, ISC's detail code and one sentence."""

    def __init__(self, status: int, text: str = "", *, code: str = "") -> None:
        standard_code, standard_text = _STANDARD.get(status, (f"{status}", "The request failed."))
        self.status = status
        self.code = code or standard_code
        self.text = text or standard_text
        super().__init__(f"{self.code}: {self.text}")

    def body(self) -> dict[str, object]:
        """The ErrorResponseDto, with a fresh tracking id of 32 hexadecimal digits."""
        return {
            "detailCode": self.code,
            "trackingId": uuid.uuid4().hex,
            "messages": [
                {"locale": "en-US", "localeOrigin": "DEFAULT", "text": self.text},
                {"locale": "und", "localeOrigin": "REQUEST", "text": self.text},
            ],
            "causes": [],
        }


def rejected(text: str, *, code: str = BAD_CONTENT) -> Problem:
    """A 400 with its detail code."""
    return Problem(400, text, code=code)
