"""A study's budget with what the command line says instead."""

from pydantic import ValidationError

from merge_ops.errors import UserError
from studies.config import Budget


def overridden(budget: Budget, timeout: str | None, trials: int | None) -> Budget:
    """The budget with other values for a run.

    Raises:
        UserError: a duration that cannot be read, or a number that is too large.
    """
    given = {"timeout": timeout, "trials": trials}
    changes = {key: value for key, value in given.items() if value is not None}
    try:
        return Budget(**{**budget.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        text = first["msg"].removeprefix("Value error, ")
        raise UserError(f"--{first['loc'][0]}: {text}.") from None
