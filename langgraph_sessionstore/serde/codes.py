"""The numbers of the stored forms. They are a stored format: add at the end of a group, never change or reuse one.

A value that msgpack has no form for is an extension: one of these numbers, and the packed parts of the value.
"""

from __future__ import annotations

from typing import Final

FORMAT: Final = 1  # the first byte of everything that is packed

# what msgpack nearly has
TEXT: Final = 1  # text with lone surrogates
INT: Final = 2  # whole numbers beyond 64 bits
PAIRS: Final = 3  # a dict whose keys are not all clean text
TUPLE: Final = 4
SET: Final = 5
FROZENSET: Final = 6
DEQUE: Final = 7
COMPLEX: Final = 8
RANGE: Final = 9
ORDERED_DICT: Final = 10
COUNTER: Final = 11
PACKED: Final = 12  # any value, packed ahead of what it is in

# the standard library and pydantic
DATETIME: Final = 20
DATE: Final = 21
TIME: Final = 22
TIMEDELTA: Final = 23
ZONE: Final = 24
UUID: Final = 25
DECIMAL: Final = 26
ADDRESS: Final = 27
PATH: Final = 28
PATTERN: Final = 29
SECRET: Final = 30

# numpy
ARRAY: Final = 40
SCALAR: Final = 41

# messages of LangChain
MESSAGE: Final = 50

# classes that are found by their name
MODEL: Final = 60
MODEL_V1: Final = 61
DATACLASS: Final = 62
ENUM: Final = 63
NAMED_TUPLE: Final = 64
RECORD: Final = 65

NAMES: Final = {number: name.lower() for name, number in list(globals().items()) if name.isupper() and name != "FORMAT"}
