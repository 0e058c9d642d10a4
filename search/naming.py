"""What the coordinates of a search, and its first points, are called."""

METHOD = "method"
"""The choice that names the merge method itself."""
SEED = "seed"
"""The choice of the seed of random masks."""
WARM = "warm start"
"""Who proposed the first points of a study, as their trials name it."""


def dimension_name(knob: str, one: str, group: str) -> str:
    """Such as "weight.math.2.mlp"; what does not apply is left out."""
    return ".".join(filter(None, (knob, one, group)))
