"""Classes that the tests of the serializer store: at the top level of a module, so that other processes find them."""

from __future__ import annotations

import collections
import enum
import functools
import threading
from dataclasses import KW_ONLY, InitVar, dataclass, field
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import pydantic
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel

T = TypeVar("T")
called: list[str] = []


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    PAIR = (1, 2)
    ODD = object()


class Word(str, enum.Enum):
    YES = "yes"
    ODD = "\ud800"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2**70


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Mode(enum.IntFlag):
    A = 1
    B = 2


Point = collections.namedtuple("Point", "x y")


class Typed(NamedTuple):
    name: str
    tags: tuple[str, ...] = ()


@dataclass
class Plain:
    name: str
    parts: list[Any] = field(default_factory=list)
    inner: Plain | None = None


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: tuple[int, ...] = ()


@dataclass
class Derived(Plain):
    _: KW_ONLY
    extra: int = 0


@dataclass
class NotInit:
    x: int
    double: int = field(init=False)
    never: int = field(init=False, repr=False, compare=False)
    shared: ClassVar[int] = 3

    def __post_init__(self) -> None:
        self.double = self.x * 2


@dataclass
class Counting:
    """Its constructor changes what it is given."""

    count: int
    lock: ClassVar[Any] = threading.Lock()

    def __post_init__(self) -> None:
        self.count += 1
        self.seen = True


@dataclass
class WithInitVar:
    x: int
    factor: InitVar[int]

    def __post_init__(self, factor: int) -> None:
        self.x *= factor


@dataclass(init=False)
class OwnInit:
    text: str

    def __init__(self, number: int) -> None:
        self.text = str(number)


@dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        called.append("Picky")
        if not isinstance(self.x, int):
            raise ZeroDivisionError("no number")


@dataclass(eq=False)
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


@dataclass
class WithLock:
    user: dict[str, Any]


@pydantic.dataclasses.dataclass
class Checked:
    x: int
    y: list[str] = Field(default_factory=list)
    z: int = Field(default=0, alias="zed")


class Inner(BaseModel):
    n: int = 0
    tags: tuple[str, ...] = ()


class Outer(BaseModel):
    inner: Inner
    anything: Any = None
    many: list[Inner] = []
    base: Inner | None = None
    message: HumanMessage | None = None
    price: Decimal = Decimal("1.50")
    table: dict[int, set[str]] = {}


class Special(Inner):
    more: str = "x"


class Aliased(BaseModel):
    plain: int = Field(alias="camelCase")
    other: int = Field(validation_alias="in", serialization_alias="out", default=1)
    choice: int = Field(validation_alias=pydantic.AliasChoices("a", "b"), default=2)
    path: int = Field(validation_alias=pydantic.AliasPath("deep", 0), default=3)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 0


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    x: int = 0
    at: tuple[int, int] = (0, 0)


class Private(BaseModel):
    x: int
    _secret: str = PrivateAttr("none")
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _count: int = 0

    def model_post_init(self, context: Any) -> None:
        self._count = 100


class Excluded(BaseModel):
    x: int
    hidden: str = Field(default="empty", exclude=True)
    client: Any = Field(default=None, exclude=True)


class Prefixed(BaseModel):
    """Its validator changes what it has made before."""

    name: str

    @pydantic.field_validator("name")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return "x" + value


class Bounded(BaseModel):
    x: int = Field(ge=0)


class Computed(BaseModel):
    x: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.x * 2

    @functools.cached_property
    def lock(self) -> Any:
        return threading.Lock()


class Numbers(RootModel[list[int]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Box(BaseModel, Generic[T]):
    content: T


class Parent(BaseModel):
    name: str
    children: list[Child] = []


class Child(BaseModel):
    _parent: Any = None


Parent.model_rebuild()


class MyMessage(HumanMessage):
    mood: str = "fine"


class Text(str):
    pass


class NoData:
    """A loaded class that is no data type."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        called.append("NoData")

    class Nested(BaseModel):
        x: int = 1


class Alias(BaseModel):
    x: int = 1


Renamed = Alias  # a name that the class itself does not have


def function(*args: Any, **kwargs: Any) -> None:
    called.append("function")


def local_model() -> type[BaseModel]:
    class Local(BaseModel):
        x: int = 1

    return Local
