"""The ground of all classes of a study file."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from studies.duration import seconds

Count = Annotated[int, Field(gt=0, le=1_000_000_000)]


def _duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_duration)]
"""A text such as "8h" that `studies.duration.seconds` reads."""


class Strict(BaseModel):
    """Takes no key that it does not know, converts nothing, never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
