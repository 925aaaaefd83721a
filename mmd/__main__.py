"""`python -m mmd`."""

from mmd.cli import main

if __name__ == "__main__":
    main()
