"""Continuous batching writes what replaying writes, and gives way where it cannot serve."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from merge_ops.decoder import find_decoder
from objectives.continuous import ContinuousWriter
from objectives.engine import Engine
from objectives.plan import make_plan
from objectives.request import Request, Turn, Writing, make_prompt
from objectives.settings import Settings
from objectives.writer import Writer
from studies.demo.zoo import zoo_path


@pytest.fixture(scope="module")
def live() -> Any:
    """The embedded arithmetic model, alone."""
    causal: Any = AutoModelForCausalLM
    module = causal.from_pretrained(zoo_path("math"), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(zoo_path("math"))
    return SimpleNamespace(
        module=module,
        decoder=find_decoder(module).module,
        processor=tokenizer,
        score_head=None,
        device=torch.device("cpu"),
        fingerprint=str,
    )


def texts(live: Any, writer: Writer | None, writing: Writing) -> list[tuple[str, ...]]:
    sums = [f"{a} + {b} ?" for a in range(2, 6) for b in (3, 7)]
    asked = [Request(make_prompt([Turn("user", text)]), "text", writing=writing) for text in sums]
    told = Engine(Settings(), writer).answer(live, make_plan(live, asked))
    return [told[request].texts for request in asked]


def test_both_writers_give_the_same_texts(live: Any) -> None:
    writer = ContinuousWriter()
    got = texts(live, writer, Writing(6))
    assert writer.served == len(got)
    assert got == texts(live, None, Writing(6))
    assert len(set(got)) > 1


def test_what_it_cannot_serve_is_replayed(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ContinuousWriter()
    limited = Writing(6, allowed=("4", "5 6"))
    assert texts(live, writer, limited) == texts(live, None, limited)
    assert writer.served == 0
    said: list[str] = []
    monkeypatch.setattr(live.module, "generate_batch", lambda *_args, **_named: {})
    broken = ContinuousWriter(said.append)
    assert texts(live, broken, Writing(6)) == texts(live, None, Writing(6))
    assert "0 of 8 prompts" in said[0]
