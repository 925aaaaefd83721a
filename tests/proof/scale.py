"""How much of the programme is run: a sample that moves on from case to case, or all of it."""

from __future__ import annotations

import os
from typing import Final

# `make test` runs a sample: each seam and each fault, with changing shapes and losses; `make soak` runs all.
ALL: Final = os.environ.get("MMD_PROOF") == "all"
