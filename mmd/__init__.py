"""mmd: maintenance windows for SailPoint Identity Security Cloud sources.

A person plans a window; a daemon enters it, holds it, and puts back exactly what it found.
`docs/architecture.md` says where everything lives.
"""

__version__ = "0.1.0"
