"""Decoupled model composition: the mean of what processes text, and nothing else."""

from collections.abc import Mapping, Sequence

from merge_ops.knobs import Knob
from merge_ops.layout import Layout, is_text, layer_of
from merge_ops.recipe import Recipe
from merge_ops.rewrites.naive_mc import text_weights
from merge_ops.rewriting import as_linear, rewrite

_OTHER_SENSES = ("vision", "visual", "image", "video", "audio", "speech", "cross_attn")


@rewrite(
    paper="after Chen et al., Model Composition, arXiv:2402.12750 (DAMC)",
    knobs={"weight": Knob(0.0, 1.0, per_expert=True)},
)
def damc(recipe: Recipe, layout: Layout) -> Recipe:
    """The weighted mean of what processes text; all that processes another modality is kept.

    As `naive_mc`, but parameters inside the decoder that serve another modality keep the target's
    weights: tensors whose name says so (vision, visual, image, video, audio, speech, cross_attn:
    cross-attention to images, visual experts), and layers that attend to another modality only
    (one of their tensors is named cross_attn and none self_attn). For a decoder without such
    parameters, and for experts that are text models, that is `naive_mc`.

    The paper trains every model with separate parameters for its own modality inside each decoder
    layer, and sets the weights from the models' strengths on each modality. Without training the
    two kinds of tokens share their parameters, so only what the architecture keeps apart is kept
    apart here, and the weights are searched.

    Lowers to `linear`.
    """
    kept = _other_senses(layout.names)

    def weights(name: str) -> Mapping[str, float]:
        text = is_text(name) and name not in kept
        return text_weights(recipe, layout, name) if text else {recipe.kept_from(): 1.0}

    return as_linear(recipe, layout, weights)


def _other_senses(names: Sequence[str]) -> frozenset[str]:
    """Names inside the decoder's layers that serve another modality than text."""
    layers: dict[int, list[str]] = {}
    for name in names:
        if (layer := layer_of(name)) is not None:
            layers.setdefault(layer, []).append(name)
    kept: set[str] = set()
    for own in layers.values():
        crossing = any("cross_attn" in n for n in own) and not any("self_attn" in n for n in own)
        kept |= {n for n in own if crossing or any(word in n for word in _OTHER_SENSES)}
    return frozenset(kept)
