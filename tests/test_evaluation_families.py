"""For every family: cached, shared, batched, padded answers equal one full forward pass each."""

import pytest
import torch
from PIL import Image

from objectives.engine import Engine
from objectives.plain import plain_reply
from objectives.plan import make_plan
from objectives.prompts import encode, render
from objectives.request import Prompt, Reply, Request, Turn, Writing, make_prompt
from objectives.settings import Settings
from tests.families import FAMILIES
from tests.family_processors import tiny_live

NO_SDPA = {"paligemma2"}
"""transformers has no sdpa for their decoder (Gemma 2 caps attention scores)."""
CASES = [
    (name, attention)
    for name in FAMILIES
    for attention in ("eager", "sdpa")
    if attention == "eager" or name not in NO_SDPA
]


def prompts() -> list[Prompt]:
    """Questions of different lengths about different pictures, and one without a picture."""
    asked = ["w5 w6 w7", "w9", "w30 w31 w32 w33 w34 w35", "w8 w9"]
    found = [
        make_prompt([Turn("user", text, 1)], [Image.new("RGB", (16, 16), (40 * i, 7, 9))])
        for i, text in enumerate(asked)
    ]
    return [*found, make_prompt([Turn("user", "w11 w12 w13 w14")])]


def requests() -> list[Request]:
    """Rewards and log-probabilities of responses of different lengths, and texts."""
    answers = ["w50", "w60 w61 w62 w63 w64", "w70 w71"]
    asked = []
    for i, prompt in enumerate(prompts()):
        own = answers[: 1 + i % 3]
        asked += [Request(prompt, "reward", answer) for answer in own]
        asked += [Request(prompt, "log_probability", answer) for answer in own]
    return asked


def value(reply: Reply) -> float:
    found = reply.log_probability if reply.score is None else reply.score
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_answers_equal_full_forward_passes(name: str, attention: str) -> None:
    live = tiny_live(name, attention)
    said: list[str] = []
    engine = Engine(Settings(tokens=160, report=said.append))
    asked = requests()
    if (name, attention) == ("paligemma", "sdpa"):
        # without an image transformers gives its sdpa no mask, and every token sees what follows
        asked = [request for request in asked if request.prompt.images]
    plan = make_plan(live, asked)
    told = engine.answer(live, plan)
    assert engine.shared, said
    for request in asked:
        plain = plain_reply(live, request)
        assert told[request].tokens == plain.tokens
        assert value(told[request]) == pytest.approx(value(plain), abs=1e-5), request.want
    assert engine.answer(live, plan) == told  # from the cache


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_texts_equal_those_of_generate(name: str) -> None:
    live = tiny_live(name)
    asked = [Request(prompt, "text", writing=Writing(6)) for prompt in prompts()]
    told = Engine(Settings(tokens=200)).answer(live, make_plan(live, asked))
    for request in asked:
        inputs = encode(live, [render(live, request.prompt)], [request.prompt.images])
        written = live.module.generate(
            **inputs, max_new_tokens=6, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        tokens = written[0, inputs["input_ids"].shape[1] :].tolist()
        tokens = tokens[: tokens.index(2)] if 2 in tokens else tokens
        want = live.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        assert told[request].texts == (want,)
