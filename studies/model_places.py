"""Where a study file names the model that an error is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from merge_ops.errors import TooLittleMemoryError, UserError
from merge_ops.yaml_file import Location

if TYPE_CHECKING:  # which takes the places of its own models
    from studies.setup import StudyFile


@contextmanager
def at_models(study: "StudyFile") -> Iterator[None]:
    """Give what is wrong with a model its place in the file: where the file first names it."""
    try:
        yield
    except TooLittleMemoryError:
        key = "device" if study.config.runtime.memory_gb is None else "memory_gb"
        with study.file.at("runtime", key):
            raise
    except UserError as error:
        place = next((p for p, start in _starts(study) if str(error).startswith(start)), None)
        if place is None:
            raise
        with study.file.at(*place):
            raise


def _starts(study: "StudyFile") -> Iterator[tuple[Location, str]]:
    """Places of the file, and how errors about what stands there begin."""
    template = study.template
    head = template.reward_head
    if head is not None:
        yield ("reward_head",), f"{head}: a reward head"
    named: dict[Location, str | None] = {
        ("target",): template.target,
        ("base",): template.base_model,
    }
    named |= {("experts", i, "model"): one.model for i, one in enumerate(template.models)}
    for place, model in {**named, ("reward_head",): head}.items():
        if model is not None:
            yield place, f"{model}: "
    yield from ((("towers", name), f"towers.{name}: ") for name in template.towers)
