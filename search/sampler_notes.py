"""When to use which sampler, and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplerNote:
    """What is said of a sampler.

    Attributes:
        when: to use it.
        paper: or the library that it is.
    """

    when: str
    paper: str


NOTES = {
    "auto": SamplerNote(
        "if unsure: gp up to 40 dimensions and 300 trials, else cma; nsga2 or tpe for fronts",
        "`search/auto.py`",
    ),
    "tpe": SamplerNote(
        "lists without an order, few trials per dimension",
        "Bergstra et al., NeurIPS 2011; Watanabe, arXiv:2304.11127 (Optuna)",
    ),
    "gp": SamplerNote(
        "up to 40 dimensions and 300 trials: the most from each trial",
        "Rasmussen and Williams, 2006 (Optuna)",
    ),
    "cma": SamplerNote(
        "numbers alone, hundreds of trials, tens of dimensions or more",
        "Hansen, arXiv:1604.00772 (pycma)",
    ),
    "nsga2": SamplerNote(
        "fronts of several objectives, thousands of trials",
        "Deb et al., IEEE TEVC 6 (2002) (Optuna)",
    ),
    "m2n2": SamplerNote(
        "boundaries between models that evolve with the mixture; wants bands over depth",
        "Abrantes et al., arXiv:2508.16204",
    ),
    "qmc": SamplerNote(
        "an even cover of the space, to see how the score lies", "Sobol, 1967 (scipy)"
    ),
    "random": SamplerNote("a baseline for the others", "Bergstra and Bengio, JMLR 13 (2012)"),
    "grid": SamplerNote("one or two dimensions, or short lists", "every point of a lattice"),
}
"""By the name that a study file uses."""
