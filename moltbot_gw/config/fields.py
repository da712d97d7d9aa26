"""What the sections of the model are made of.

A section is a frozen struct whose keys are camelCase in the file.  Descriptions are
kept as ``Meta`` so that the reference manual is generated from the classes;
those that `ours` makes start with "ours:" and name keys that the original has not.
"""

from __future__ import annotations

from typing import Annotated, Union

import msgspec
from msgspec import Meta


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One object of the file; an unknown key in it is an error."""


def doc(text: str) -> Meta:
    """Describe a key of the original."""
    return Meta(description=text)


def ours(text: str) -> Meta:
    """Describe a key that only this gateway has."""
    return Meta(description=f"ours: {text}")


_MAX_INT = 2**53 - 1
"""The largest whole number that every JSON reader agrees on."""

Count = Annotated[int, Meta(ge=0, le=_MAX_INT)]
Positive = Annotated[int, Meta(ge=1, le=_MAX_INT)]
Seconds = Annotated[float, Meta(gt=0)]
NotEmpty = Annotated[str, Meta(min_length=1)]
Strings = tuple[str, ...]
Flag = Union[bool, None]
Text = Union[str, None]
