"""A walk through the layers one by one equals one forward pass, whatever the decoder does."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaTextModel
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel

from objectives.grams import Grams
from objectives.layerwise import Walk
from objectives.observation import Passage
from tests.tiny import tiny_llama

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
}


class Wrapped(nn.Module):
    """A decoder called by keyword, with what a vision tower would have added."""

    def __init__(self, decoder: nn.Module, **extra: Any) -> None:
        super().__init__()
        self.decoder = decoder.eval()
        self.extra = extra

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool) -> Any:
        return self.decoder(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache, **self.extra
        )


def plain() -> Wrapped:
    return Wrapped(tiny_llama(0, layers=4).model)


def deepstack() -> Wrapped:
    """Image features are added to what the first two layers put out."""
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
    config = Qwen3VLTextConfig(**SHAPE, head_dim=8, rope_parameters=rope)
    seen = torch.tensor([[False, True, True, False, False]])
    features = [torch.randn(2, 16) for _ in range(2)]
    return Wrapped(
        Qwen3VLTextModel(config), visual_pos_masks=seen, deepstack_visual_embeds=features
    )


def passed_over() -> Wrapped:
    """Cross-attention layers do not run where there is no image: here the first and the third."""
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    config = MllamaTextConfig(**SHAPE, cross_attention_layers=[0, 2], rope_parameters=rope)
    return Wrapped(MllamaTextModel(config))


@pytest.mark.parametrize("make", [plain, deepstack, passed_over])
def test_a_walk_equals_a_forward_pass(make: Any) -> None:
    module = make()
    stack: Any = module.decoder.layers
    live: Any = SimpleNamespace(module=module, decoder=module.decoder, device=CPU)
    ids = torch.tensor([[5, 7, 9, 11, 13]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    linears = {n: (m,) for n, m in stack.named_modules() if isinstance(m, nn.Linear)}
    whole, grams = Grams(linears), Grams(linears)
    with whole.watch(), torch.no_grad():
        want = module(**inputs, use_cache=False).last_hidden_state

    hidden: list[Tensor] = []
    passages = (Passage(inputs, 1, "reward"), Passage(inputs, 1, "reward"))
    item: Any = SimpleNamespace(
        passages=passages, log_likelihood=lambda _live, states: hidden.extend(states)
    )
    walk = Walk(live, list(stack), [item])
    walk.enter()
    for layer in range(len(stack)):
        walk.run(layer, go_on=False)
        with grams.watch():
            walk.run(layer, go_on=True)
    walk.leave()
    assert len(hidden) == 2
    assert all(torch.equal(found, want) for found in hidden)
    assert grams.silent() == whole.silent()
    assert len(whole.silent()) == (14 if make is passed_over else 0)
    for name, gram in whole.means().items():
        torch.testing.assert_close(grams.means()[name], gram)
    assert not any("forward" in vars(layer) for layer in stack)


def test_a_walk_leaves_the_layers_as_they_were_when_it_is_stopped() -> None:
    module = plain()
    stack: Any = module.decoder.layers
    own = vars(stack[0])["forward"] = stack[0].forward
    live: Any = SimpleNamespace(module=module, decoder=module.decoder, device=CPU)
    ids = torch.tensor([[5, 7]])
    passage = Passage({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, 1, "reward")
    item: Any = SimpleNamespace(passages=(passage,))
    walk = Walk(live, list(stack), [item])
    walk.enter()
    walk.run(0, go_on=True)
    stack[1].forward = lambda *_args, **_named: 1 / 0
    with pytest.raises(ZeroDivisionError):
        walk.run(1, go_on=True)
    assert vars(stack[0])["forward"] is own
    assert not stack[1]._forward_hooks
