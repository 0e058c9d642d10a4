"""Naive model composition: the mean of the language weights."""

from collections.abc import Mapping

from merge_ops.knobs import Knob
from merge_ops.layout import Layout, is_text, layer_of
from merge_ops.recipe import Recipe
from merge_ops.resolving import lookup
from merge_ops.rewriting import as_linear, rewrite


@rewrite(
    paper="Chen et al., Model Composition, arXiv:2402.12750 (NaiveMC)",
    knobs={"weight": Knob(0.0, 1.0, per_expert=True)},
)
def naive_mc(recipe: Recipe, layout: Layout) -> Recipe:
    """The weighted mean of the models' language tensors: sum w_i theta_i / sum w_i.

    Language tensors are the decoder's layers, its norm, the embeddings and the heads, as far as
    all models have them; where models share towers or projectors, the target's are kept. The
    target takes part if the recipe lists it.

    The paper's weights are equal (the default here), and its result has the encoders of all
    models side by side. So has this one where the target's architecture holds them all: a recipe
    names under `mergetuna.towers` whose encoder and projector stand in which place of the target.

    Lowers to `linear`.
    """

    def weights(name: str) -> Mapping[str, float]:
        return text_weights(recipe, layout, name) if is_text(name) else {recipe.kept_from(): 1.0}

    return as_linear(recipe, layout, weights)


def text_weights(recipe: Recipe, layout: Layout, name: str) -> dict[str, float]:
    """The models' own weights of one tensor, else the common one, else 1."""
    common = lookup(recipe.parameters.get("weight"), name, layer_of(name), layout.layers)
    fallback = 1.0 if common is None else common
    found = {}
    for source in recipe.models:
        own = lookup(source.parameters.get("weight"), name, layer_of(name), layout.layers)
        found[source.model] = float(fallback if own is None else own)
    return found
