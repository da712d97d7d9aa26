"""Why an edit of the configuration was not made."""

from __future__ import annotations

from .issues import Issue


class EditRefused(Exception):
    """The file is as it was; *issues* says more when the new content is at fault.

    The message is fit for the client and quotes no value of the file.
    """

    def __init__(self, message: str, issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.issues = issues
