"""Layer swapping: the upper layers of an expert in the target."""

from collections.abc import Mapping
from math import inf

from merge_ops.knobs import Knob
from merge_ops.layout import Layout, MisfitError, is_behind, is_text, layer_of
from merge_ops.recipe import Recipe
from merge_ops.resolving import lookup
from merge_ops.rewriting import as_linear, rewrite


@rewrite(
    paper="after Bandarkar et al., Layer Swapping, arXiv:2410.01335",
    knobs={"b": Knob(-1, inf, whole=True, default=-1), "alpha": Knob(0.0, 1.0, default=0.0)},
    required=("b",),
    max_experts=1,
    beside_target=True,
)
def layer_swap(recipe: Recipe, layout: Layout) -> Recipe:
    """Layers <= b keep the target; the rest is alpha target + (1 - alpha) expert.

    The paper swaps both ends of a model for an expert's; this is the form with one boundary.
    `b` is the index of the last layer that keeps the target: -1 (none) to L-1 (all) for L text
    layers; it is one whole number, without filters or gradient. `alpha` may vary with depth. The
    embeddings lie below layer 0 and keep the target; the final norm and the heads lie behind
    layer L-1 and go with it. Towers and projectors keep the target. The recipe lists one model
    beside the target; whether it lists the target too makes no difference.

    Lowers to `linear`.
    """
    target = recipe.kept_from()
    (expert,) = (source.model for source in recipe.models if source.model != target)
    b = recipe.parameters["b"][0].value
    if not isinstance(b, int) or not -1 <= b < layout.layers:
        last = layout.layers - 1
        text = f"b is a layer's index, -1 to {last} for {layout.layers} layers, but got {b}"
        raise MisfitError(("parameters", "b"), f"parameters.b: {text}")

    def weights(name: str) -> Mapping[str, float]:
        layer = layout.layers - 1 if is_behind(name) else layer_of(name)
        if not is_text(name) or layer is None or layer <= b:
            return {target: 1.0}
        found = lookup(recipe.parameters.get("alpha"), name, layer_of(name), layout.layers)
        alpha = float(found or 0.0)
        return {target: alpha, expert: 1.0 - alpha}

    return as_linear(recipe, layout, weights)
