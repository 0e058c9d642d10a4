"""From the `search:` of a study file to its search space."""

from collections.abc import Sequence

from merge_ops.knobs import Knob
from search.auto import advise, suggestion_seconds
from search.degenerate import degenerate
from search.depth import Depth, even_bands
from search.modules import WHOLE, Module, listed, mapped
from search.space import KnobRange, SearchSpace
from studies.config import StudyConfig
from studies.console import warn
from studies.search_config import KnobSearch, SearchConfig
from studies.setup import StudyFile


def make_space(
    study: StudyFile, layers: int, names: Sequence[str] = (), *, by_depth: bool = True
) -> SearchSpace:
    """The study's search space, or its rival with one value for the whole depth.

    Args:
        study: the checked file.
        layers: number of text layers of the resident models.
        names: canonical names of the tensors that they merge.
        by_depth: as the file says; otherwise one value for all layers and parts of them.

    Raises:
        UserError: more bands than layers, frozen values that are not searched, or values that do
            not fit the layers.
    """
    search = study.config.search
    knobs = {name: knob for op in reversed(study.methods()) for name, knob in op.knobs.items()}
    with study.file.at("search", "bands" if search.curve is None else "curve"):
        depth = _depth(search, layers) if by_depth else Depth(layers)
    with study.file.at("search", "modules"):
        modules = _modules(search, names) if by_depth else WHOLE
    with study.file.at("search", "freeze") if search.freeze else study.file.at("search"):
        space = SearchSpace(
            template=study.template,
            labels=study.labels,
            ranges={name: _range(span, knobs[name]) for name, span in search.knobs.items()},
            depth=depth,
            modules=modules,
            names=tuple(names),
            choices=study.choices,
            frozen=search.freeze if by_depth else {},
            method_per_group=search.method_per_group and by_depth,
        )
    with study.file.at("search"):
        for end in (0, 1):  # what does not fit is told before the first trial
            space.decode({d.name: d.ends()[end] for d in space.dimensions()})
    return space


def announce(config: StudyConfig, space: SearchSpace, sampler: str, workers: int = 1) -> None:
    """Print what is searched, by what, how long a suggestion takes, and what has no effect."""
    dimensions, trials = space.dimensions(), config.budget.trials
    advice = advise(dimensions, trials, max(1, len(config.front_values())), workers)
    cost = suggestion_seconds(sampler, len(dimensions), trials or 1000)
    text = (
        f"{len(dimensions)} dimensions, sampler {sampler}, about {1000 * cost:.0f} ms a suggestion"
    )
    if config.sampler == "auto" and sampler == advice.sampler:
        text += f" (auto: {advice.reason})"
    elif config.sampler == "auto":  # another budget or number of workers than at the beginning
        text += " (auto: as the study began)"
    elif sampler != advice.sampler:
        text += f"; auto would take {advice.sampler} ({advice.reason})"
    warn(f"{config.name}: {text}")
    for line in degenerate(space, config.seed):
        warn(f"{config.name}: search: {line}")


def _range(span: KnobSearch, knob: Knob) -> KnobRange:
    """A knob that is declared logarithmic is searched so wherever its range allows it."""
    low, high = span.ends()
    log = span.log if span.log is not None else knob.log and low > 0
    return KnobRange(low, high, log, span.coupled)


def _depth(search: SearchConfig, layers: int) -> Depth:
    if search.curve is not None:
        return Depth(layers, points=search.curve)
    if isinstance(search.bands, list):
        return Depth(layers, tuple(search.bands))
    return even_bands(layers, layers if search.bands == "layers" else search.bands or 1)


def _modules(search: SearchConfig, names: Sequence[str]) -> tuple[Module, ...]:
    if isinstance(search.modules, dict):
        return mapped(search.modules, names) if search.modules else WHOLE
    return listed(search.modules)
