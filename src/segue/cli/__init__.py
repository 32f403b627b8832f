"""The command line: `segue COMMAND`. Each command lies in a file of its name and imports its stage when it runs."""

from segue.cli.app import main

__all__ = ["main"]
