"""One request by one full forward pass of the whole model: what every shortcut must equal."""

from typing import Any

import torch
from torch import Tensor, nn

from objectives.heads import reward_head
from objectives.live_model import LiveModel
from objectives.prompts import encode, mark_response, render
from objectives.request import Reply, Request
from objectives.tails import tails


@torch.no_grad()
def plain_reply(live: LiveModel, request: Request) -> Reply:
    """The reward or log-probability of a response, without any cache, batch or padding.

    Raises:
        ObjectiveError: the chat template leaves no token for the response, or no head is there.
    """
    assert request.response is not None
    prompt = request.prompt
    _, (tail,) = tails(live, prompt, [request.response])
    inputs = encode(live, [render(live, prompt, request.response)], [prompt.images])
    inputs = mark_response(live, inputs, [len(tail.tokens)])
    hidden: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        hidden.append(output.last_hidden_state)

    hook = live.decoder.register_forward_hook(keep)
    try:
        logits = live.module(**inputs, use_cache=False).logits[0]  # (T, V)
    finally:
        hook.remove()
    count = tail.scored()
    if request.want == "reward":
        return Reply(score=float(reward_head(live)(hidden[0][:, -1])[0, 0]), tokens=count)
    logs = logits[-count - 1 : -1].float().log_softmax(-1)
    tokens = inputs["input_ids"][0, -count:, None]
    return Reply(log_probability=float(logs.gather(-1, tokens).sum()), tokens=count)
