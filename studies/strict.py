"""The ground of all classes of a study file."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Takes no key that it does not know, converts nothing, never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
