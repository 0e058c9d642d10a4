"""From a study's `racing` to who stops its candidates."""

from studies.console import warn
from studies.racing import Racer
from studies.scorer import Scorer
from studies.setup import StudyFile


def make_racer(study: StudyFile, evaluator: Scorer) -> Racer | None:
    """Stops candidates early, if the study asks for it and its candidates are one model each."""
    racing = study.config.racing
    if racing.rule == "off":
        return None
    blocks = evaluator.blocks("selection")
    whole = any(block.runs is not None for block in blocks)
    reasons = [
        (evaluator.front, "a front is searched, and no single rival decides who may not join it"),
        (study.template.has_views(), "a candidate is several views of one recipe"),
        (
            evaluator.smooth,
            "the search follows a smooth signal, whose items have no score of their own",
        ),
        (whole, "an objective scores all its items at once"),
        (study.config.search.average_seeds, "a candidate is scored with several seeds"),
        (
            len(blocks) < 2,
            f"all items are one block of {racing.block}; choose a smaller racing.block",
        ),
    ]
    why = next((why for holds, why in reasons if holds), None)
    if why is not None:
        warn(f"{study.config.name}: nothing is raced: {why}.")
        return None
    return Racer(evaluator.objectives, blocks, racing.rule, racing.alpha, racing.top)
