"""The one kind of error."""

from __future__ import annotations


class Error(Exception):
    """An error in one sentence, with a hint. The text has the form of the errors of the program."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        #: What is wrong.
        self.message = message
        #: What to do; `None` where nothing helps in general.
        self.hint = hint


#: The hint for a file that is not as the program wrote it.
RESTORE = "restore the file, or run again with --from the stage that writes it"
#: The hint for a file of a version that this package does not know.
UPGRADE = "upgrade the Python package facetrack to the version of the program that wrote the file"
