"""What a study will search, told before it runs: how much, by what, and what of it is in vain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.degenerate import degenerate
from search.samplers import ONLY
from studies.journal import SEARCH
from studies.model_checks import ModelCheck
from studies.setup import StudyFile
from studies.space_setup import make_space
from studies.warm import first_points
from studies.work import journal_of, sampler_of


@dataclass(frozen=True, slots=True)
class SearchCheck:
    """What was found.

    Attributes:
        facts: method, dimensions, sampler and trials.
        warnings: values that would be searched without any effect.
    """

    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


def check_search(study: StudyFile, models: ModelCheck, *, quick: bool) -> SearchCheck:
    """Make the study's search space, and try its values on small tensors.

    Args:
        study: the checked file.
        models: what their headers say.
        quick: read the first points too; else the estimate reads them.

    Raises:
        UserError: values that do not fit the models, or points that do not fit the space.
    """
    config = study.config
    space = make_space(study, models.layers, models.merged)
    dimensions = space.dimensions()
    if quick:
        first_points(study, space)
    trials = config.budget.trials if dimensions else 1
    sampler = ONLY
    if dimensions:
        sampler = sampler_of(study, journal_of(study), SEARCH, dimensions, trials)
    facts = {
        "method": config.method,
        "dimensions": len(dimensions),
        "sampler": sampler,
        "trials": trials,
    }
    void = degenerate(space, config.seed) if dimensions else []
    return SearchCheck(facts, tuple(f"search: {line}" for line in void))
