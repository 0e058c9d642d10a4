"""What objectives of all kinds can say in a study file: data, splits, names and weights."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from objectives.errors import ObjectiveError
from objectives.guard import read_floor
from objectives.quotas import Size
from objectives.records import SPLITS, Average, Split
from studies.strict import Count, Strict


class DataFiles(Strict):
    """Where examples come from: a file, a folder, or `owner/name:split` on the hub.

    One source for each split, or one `source` that the splits of `split` are drawn from; a single
    text is that source.
    """

    source: str | None = None
    selection: str | None = None
    confirm: str | None = None
    test: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _single(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


def _size(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    share = isinstance(value, float) and not 0 < value < 1
    if value != "rest" and (not number or share or value <= 0):
        raise ValueError(
            f"must be a number of examples, a share below 1.0, or rest, but is {value!r}"
        )
    return value


class SplitSizes(Strict):
    """How many examples of the source each split gets; a split that is not named gets none."""

    selection: Annotated[Any, AfterValidator(_size)] = None
    confirm: Annotated[Any, AfterValidator(_size)] = None
    test: Annotated[Any, AfterValidator(_size)] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def _one_rest(self) -> "SplitSizes":
        sizes = list(self.sizes().values())
        if not sizes:
            raise ValueError("must name a size for selection, confirm or test")
        if sizes.count("rest") > 1:
            raise ValueError("only one split can be the rest")
        return self

    def sizes(self) -> dict[Split, Size]:
        """The size of each split that is named."""
        return {split: size for split in SPLITS if (size := getattr(self, split)) is not None}


def _floor(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be `parent - 0.02` or a number in [0, 1], but is {value!r}")  # noqa: TRY004 (pydantic)
    try:
        read_floor(value)
    except (ObjectiveError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return value


class ObjectiveBase(Strict):
    """What objectives of all kinds can say.

    `metrics` is what the kind scores by without being asked; `any_preset`, that it takes
    data sets whatever their metric; `suffix_apart`, that it writes the options between question
    and suffix itself.
    `categories` names a group of the examples that takes the place of their category.
    `at_least` makes the objective a guard: a floor that its score must keep, relative to that of
    `parent` (an expert's name; else the target). A guard counts in the score only if it is given
    a weight.
    """

    metrics: ClassVar[tuple[str, ...]] = ()
    any_preset: ClassVar[bool] = False
    suffix_apart: ClassVar[bool] = False

    name: Annotated[str, Field(pattern=r"^[\w-]+$", max_length=100)]
    preset: str | None = None
    search_on: str | None = None
    data: DataFiles = Field(default_factory=DataFiles)
    split: SplitSizes | None = None
    task: str | None = None
    weight: Annotated[float, Field(ge=0)] = 1.0
    at_least: Annotated[Any, AfterValidator(_floor)] = None
    parent: str | None = None
    average: Average = "micro"
    columns: dict[str, str] = Field(default_factory=dict)
    limit: Count | None = None
    sample: Literal["head", "reservoir"] = "head"
    stream: bool = False
    on_bad: Literal["error", "skip"] = "error"
    suffix: str = ""
    categories: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _guards_by_itself(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("at_least") is not None:
            return {"weight": 0.0, **value}
        return value

    @model_validator(mode="after")
    def _some_use(self) -> "ObjectiveBase":
        if self.at_least is None and self.weight == 0:
            raise ValueError("weight 0 is for a guard: give it `at_least`, or leave it out")
        if self.parent is not None and not str(self.at_least).strip().startswith("parent"):
            raise ValueError("`parent` says whose score `at_least: parent - 0.02` is relative to")
        return self
