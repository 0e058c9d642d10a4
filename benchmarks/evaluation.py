"""Items a second: plain full forwards, replayed prompts, and shared prompts in batches.

CPU seconds of one thread; everything runs in turn, several rounds in one process, so that other
work on the machine hits all rows alike: read the ratios. The figures stand in docs/benchmarks.md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.heads import reward_head
from objectives.live_model import LiveModel
from objectives.plain import plain_reply
from objectives.plan import Plan, make_plan
from objectives.preference import ROLES, Preference
from objectives.prompts import encode, render
from objectives.reading import read_examples
from objectives.replay import capture, replay
from objectives.request import Request, Turn, Writing, make_prompt
from objectives.settings import Settings
from studies.demo.data import write_data
from studies.demo.zoo import zoo_path
from tests.families import IMAGE
from tests.family_processors import Processor, TinyLive

_PATCHES = 576


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=512, help="hidden size of both models")
    parser.add_argument("--layers", type=int, default=12, help="of both models")
    parser.add_argument("--words", type=int, default=24, help="of the longest response")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _zoo(arguments.rounds)
    live = mid_size_llava(arguments.width, arguments.layers)
    pairs = make_pairs(arguments.pairs, arguments.words)
    print(f"LLaVA, {_PATCHES} image tokens, {live.module.num_parameters() / 1e6:.0f} M parameters")
    _scoring(live, pairs, arguments.rounds)
    _writing(live, pairs, arguments.rounds)


def mid_size_llava(width: int, layers: int) -> TinyLive:
    """A random LLaVA with as many image tokens as the released ones, in float32."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
    }
    tower = CLIPVisionConfig(**shape, image_size=336, patch_size=14)
    text = LlamaConfig(**shape, vocab_size=32_000, max_position_embeddings=2048, pad_token_id=0)
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=IMAGE,
        image_seq_length=_PATCHES,
        tie_word_embeddings=False,
    )
    model: Any = LlavaForConditionalGeneration(config)
    model.eval()
    return TinyLive(model, Processor([IMAGE] * _PATCHES, _pixels), nn.Linear(width, 1, bias=False))


def _pixels(shown: list[Image.Image], _inputs: Any) -> dict[str, torch.Tensor]:
    seeds = [int(image.getpixel((0, 0))[0]) for image in shown]  # type: ignore[index]
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]
    return {"pixel_values": torch.stack([torch.randn(3, 336, 336, generator=n) for n in noise])}


def make_pairs(count: int, words: int) -> list[list[Request]]:
    """Rewards of two responses each; questions and responses differ in length."""
    pairs = []
    for i in range(count):
        image = Image.new("RGB", (8, 8), (i, 0, 0))
        text = " ".join(f"w{20 + j}" for j in range(8 + 3 * (i % 5)))
        prompt = make_prompt([Turn("user", text, 1)], [image])
        long = " ".join(f"w{60 + j}" for j in range(words - i % 7))
        short = " ".join(f"w{90 + j}" for j in range(words // 2 + i % 5))
        pairs.append([Request(prompt, "reward", text) for text in (long, short)])
    return pairs


@contextmanager
def _clock(modules: Sequence[nn.Module]) -> Iterator[list[float]]:
    """CPU seconds spent inside the modules' own forward passes."""
    spent, begun = [0.0], [0.0]

    def begin(*_: Any) -> None:
        begun[0] = time.process_time()

    def end(*_: Any) -> None:
        spent[0] += time.process_time() - begun[0]

    hooks = [m.register_forward_pre_hook(begin) for m in modules]
    hooks += [m.register_forward_hook(end) for m in modules]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def _rounds(rows: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each row on one thread; the rows take turns."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, run in rows.items():
            start = time.process_time()
            run()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def _scoring(live: TinyLive, pairs: list[list[Request]], rounds: int) -> None:
    requests = [request for pair in pairs for request in pair]
    engine = Engine(Settings(tokens=4096))
    plan = make_plan(live, requests)
    kept = [capture(live, _whole(live, request)) for request in requests]
    told = engine.answer(live, plan)

    @torch.no_grad()
    def replayed() -> list[float]:
        return [float(reward_head(live)(replay(live, call)[:, -1])) for call in kept]

    def plain() -> list[float | None]:
        return [plain_reply(live, request).score for request in requests]

    median = _rounds(
        {"plain": plain, "replay": replayed, "engine": lambda: engine.answer(live, plan)}, rounds
    )
    apart = max(
        abs((told[r].score or 0.0) - (s or 0.0)) for r, s in zip(requests, plain(), strict=True)
    )
    print(f"{len(pairs)} pairs, largest difference from plain {apart:.1e}; plan: {_shapes(plan)}")
    for name, seconds in median.items():
        rate = len(pairs) / seconds
        print(f"  {name:8s} {rate:7.3f} pairs/s  {median['plain'] / seconds:5.2f} x plain")
    assert live.score_head is not None
    with _clock([live.decoder, live.score_head]) as spent:
        start = time.process_time()
        engine.answer(live, plan)
        whole = time.process_time() - start
    print(f"  outside the model's own forward: {100 * (1 - spent[0] / whole):.1f} %")


def _whole(live: TinyLive, request: Request) -> dict[str, torch.Tensor]:
    return encode(live, [render(live, request.prompt, request.response)], [request.prompt.images])


def _shapes(plan: Plan) -> str:
    return ", ".join(str(batch.record()["prompts"]) for batch in plan.batches)


def _zoo(rounds: int) -> None:
    """Pairs of the embedded preference study, in float32 and bfloat16; flips against plain."""
    for dtype in ("float32", "bfloat16"):
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder))
            source = f"{folder}/preferences-selection.parquet"
            pairs = Preference("p", {"selection": read_examples(source, ROLES, {}, 200)})
        resident = load_resident(_reward_recipe(dtype), Runtime())
        resident.become(_reward_recipe(dtype))
        evaluation = Evaluation(resident, [pairs])
        scores = evaluation.score_sets("selection")[0].scores
        examples = pairs.examples("selection")

        def plain(resident: LiveModel = resident, pairs: Preference = pairs) -> list[float]:
            return [
                pairs.judge(e, [plain_reply(resident, r) for r in pairs.requests(e)]).value
                for e in pairs.examples("selection")
            ]

        flips = sum(a.value != b for a, b in zip(scores, plain(), strict=True))
        median = _rounds(
            {"plain": plain, "engine": partial(evaluation.score_sets, "selection")}, rounds
        )
        print(
            f"zoo, {len(examples)} pairs, {dtype}: plain {len(examples) / median['plain']:.0f}, "
            f"engine {len(examples) / median['engine']:.0f} pairs/s "
            f"({median['plain'] / median['engine']:.1f} x); {flips} pairs flip"
        )


def _reward_recipe(dtype: str) -> Recipe:
    sources = tuple(
        Source(str(zoo_path(name)), {"weight": (Entry(None, 0.9),)}) for name in ("vlm", "reward")
    )
    return Recipe(
        "task_arithmetic",
        sources,
        base_model=str(zoo_path("base")),
        dtype=dtype,
        out_dtype=dtype,
        target=str(zoo_path("vlm")),
        reward_head=str(zoo_path("reward")),
        exclude=("embed_tokens", "lm_head"),
    )


def _writing(live: TinyLive, pairs: list[list[Request]], rounds: int) -> None:
    """Tokens a second; nothing ends early, so that both write equally many."""
    new = 24
    asked = [Request(pair[0].prompt, "text", writing=Writing(new)) for pair in pairs]
    live.module.generation_config.eos_token_id = 31_999
    engine, plan = Engine(Settings(tokens=4096)), make_plan(live, asked)
    told = engine.answer(live, plan)
    batch = encode(live, [render(live, r.prompt) for r in asked], [r.prompt.images for r in asked])
    named = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}

    def generate() -> torch.Tensor:
        return live.module.generate(**batch, **named)[:, batch["input_ids"].shape[1] :]  # type: ignore[no-any-return]

    def one_by_one() -> None:
        for request in asked:
            own = encode(live, [render(live, request.prompt)], [request.prompt.images])
            live.module.generate(**own, **named)

    median = _rounds(
        {
            "generate, one by one": one_by_one,
            "generate, one batch": generate,
            "engine": lambda: engine.answer(live, plan),
        },
        rounds,
    )
    for name, seconds in median.items():
        print(f"  {name:22s} {len(asked) * new / seconds:7.1f} tokens/s")
    decode = live.processor.tokenizer.decode
    texts = [decode(own, skip_special_tokens=True) for own in generate().tolist()]
    same = sum(told[r].texts[0] == text for r, text in zip(asked, texts, strict=True))
    print(f"  {same} of {len(asked)} texts equal those of generate in one batch")


if __name__ == "__main__":
    main()
