"""Whether a donor's language model, put into a target, still computes what the donor computes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from merge_ops.decoder import Decoder, find_decoder
from merge_ops.errors import UserError, first_line
from merge_ops.loading import load_model
from merge_ops.opening import open_models
from merge_ops.recipe import Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
VOCABULARY = ("embed_tokens", "lm_head")
"""Parts of the names of the tensors that a vocabulary decides; a study keeps the target's."""

_LENGTH = 24
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Verified:
    """How far a grafted target is from its donor, on text alone.

    Attributes:
        grafted: how many tensors of the target were written.
        compared: "logits", or "hidden states" if one of the two has no head.
        lent: canonical names of embeddings and head that do not fit into the target (another
            vocabulary, or tied in the target alone), which the donor lends from outside.
        difference: the largest absolute difference.
        largest: the largest magnitude of what was compared, in the donor.
    """

    grafted: int
    compared: str
    lent: tuple[str, ...]
    difference: float
    largest: float

    @property
    def holds(self) -> bool:
        """Whether they agree but for the rounding of float32."""
        return self.difference <= _TOLERANCE * max(1.0, self.largest)


def verify_graft(target: str, donor: str, runtime: Runtime | None = None) -> Verified:
    """Put all that a donor shares with a target into it, and compare what both say to one text.

    The target becomes the recipe that takes the donor with weight 1: layers, final norm,
    embeddings and head. Where embeddings or head do not fit, the donor embeds the text for both,
    or turns the last hidden states of both into logits. Equal shapes do not prove that two models
    compute the same; this does, for rotary embeddings, norms and activations are the target's
    own. Computed in float32 on a text of 24 random tokens: what acts only on long texts (scaled
    rotary embeddings, sliding windows) is not seen.

    Args:
        target: folder or hub id of the model that is written, usually a vision-language model.
        donor: folder or hub id of a model with the same kind of language model.
        runtime: where to compute; the CPU if left out.

    Raises:
        UserError: a model cannot be read, the layers do not pair, or one takes no plain text.
    """
    runtime = runtime or Runtime()
    recipe = _everything(target, donor)
    opened = open_models(recipe, by_id=True)
    names = [tensor.name for tensor in opened.tensors]
    shells = [_speaker(opened.checkpoints[ref].model) for ref in (donor, target)]
    decoders = [find_decoder(shell) for shell in shells]
    lent = _lent(decoders[1], names)
    tokens = _text(shells).to(runtime.device)
    headless = any(HEAD not in decoder.outside for decoder in decoders)
    giver: Any = _speaker(load_model(donor, "float32").to(runtime.device))
    head = giver.get_output_embeddings() if HEAD in lent and not headless else None
    lender = _Lender(giver.get_input_embeddings(), head)
    expected = _say(giver, tokens, lender, lent, headless=headless)
    del giver  # so that the donor is in memory once, beside the target
    resident = load_resident(recipe, runtime, by_id=True)
    resident.become(recipe)
    got = _say(_speaker(resident.module), tokens, lender, lent, headless=headless)
    return Verified(
        grafted=len(names),
        compared="hidden states" if headless else "logits",
        lent=lent,
        difference=float((expected - got).abs().max()),
        largest=float(expected.abs().max()),
    )


def donor_recipe(target: str, donor: str, exclude: Sequence[str]) -> Recipe:
    """The recipe that gives a target all that it shares with a donor, but for `exclude`."""
    source = (Source(donor),)
    return Recipe("passthrough", source, dtype="float32", target=target, exclude=tuple(exclude))


def _everything(target: str, donor: str) -> Recipe:
    """The whole donor, but for tensors of the vocabulary that do not fit into the target."""
    opened = open_models(donor_recipe(target, donor, VOCABULARY), by_id=True)
    return donor_recipe(target, donor, list(opened.shared.misfits))


def _speaker(model: nn.Module) -> nn.Module:
    """The part that takes text: an Omni model's thinker, else the model."""
    inner: nn.Module = getattr(model, "thinker", model)
    return inner


def _lent(target: Decoder, written: Sequence[str]) -> tuple[str, ...]:
    """Which of embeddings and head the target does not hold as the donor has them."""
    held = set(written)
    if EMBEDDINGS in held and target.outside.get(HEAD) == target.outside.get(
        "embed_tokens.weight"
    ):
        held.add(HEAD)
    return tuple(n for n in (EMBEDDINGS, HEAD) if n not in held)


@dataclass(frozen=True, slots=True)
class _Lender:
    """What a donor lends: it turns ids into embeddings, and hidden states into logits."""

    embeddings: nn.Module
    head: nn.Module | None


def _text(models: Sequence[Any]) -> Tensor:
    """Ids (1, T) that both vocabularies have and that stand for no image, sound or padding."""
    rows = [int(model.get_input_embeddings().weight.shape[0]) for model in models]
    special = {i for model in models for i in _special(model.config.to_dict())}
    plain = [i for i in range(min(rows)) if i not in special]
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(plain), (1, _LENGTH), generator=generator)
    return torch.tensor(plain)[chosen]


def _special(config: Mapping[str, Any]) -> Iterator[int]:
    """Ids that a config gives a meaning, of its parts too."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _special(value)
        elif "token" in str(key):
            yield from (i for i in (value if isinstance(value, list) else [value]) if _is_id(i))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@torch.no_grad()
def _say(
    model: nn.Module,
    tokens: Tensor,
    donor: _Lender,
    lent: Sequence[str],
    *,
    headless: bool,
) -> Tensor:
    """Logits (1, T, V), or last hidden states (1, T, D) if `headless`, of one model."""
    states: list[Any] = []
    hook = find_decoder(model).module.register_forward_hook(
        lambda _, __, out: states.append(out[0])
    )
    lends = EMBEDDINGS in lent
    call = {"inputs_embeds": donor.embeddings(tokens)} if lends else {"input_ids": tokens}
    if _reads_prompts_both_ways(model):
        call["token_type_ids"] = torch.ones_like(tokens)  # an answer, read from left to right
    try:
        out = model(**call, use_cache=False)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = first_line(error)
        raise UserError(f"{type(model).__name__} must take plain text, but: {reason}") from None
    finally:
        hook.remove()
    if headless:
        return states[-1]  # type: ignore[no-any-return]
    if HEAD in lent and donor.head is not None:
        head_says: Tensor = donor.head(states[-1])
        return head_says
    return out.logits  # type: ignore[no-any-return]


def _reads_prompts_both_ways(model: Any) -> bool:
    """Whether the model attends to a whole prompt at once, unless it is told what is an answer."""
    text = model.config.get_text_config(decoder=True)
    both_ways = getattr(text, "use_bidirectional_attention", None)
    return bool(both_ways) and "token_type_ids" in signature(model.forward).parameters
