"""The engine: blocks, batches, caches, memory that runs out, and texts, on a tiny LLaVA."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from objectives import passes
from objectives.batches import cut_batches
from objectives.call_files import CallFiles
from objectives.continuation import NoRuleError
from objectives.data import Example
from objectives.engine import Engine
from objectives.entries import make_entries
from objectives.errors import ObjectiveError
from objectives.evaluation import Evaluation, score_all
from objectives.plain import plain_reply
from objectives.plan import make_plan
from objectives.preference import Preference
from objectives.prompts import encode, render
from objectives.records import ExampleScore
from objectives.request import Prompt, Reply, Request, Turn, Writing, make_prompt
from objectives.scoring import score_behind
from objectives.settings import Budget, Settings
from objectives.tails import tails
from objectives.token_budget import fitting_tokens
from tests.family_processors import TinyLive, tiny_live
from tests.test_evaluation_families import prompts, requests, value

COUNT = 30


@pytest.fixture(scope="module")
def live() -> TinyLive:
    return tiny_live("llava")


def example(i: int) -> Example:
    rejected = " ".join(f"w{50 + j}" for j in range(i % 4 + 1))
    texts = {"chosen": f"w{20 + i} w{i}", "rejected": rejected}
    image = Image.new("RGB", (16, 16), (5 * i, 3, 1))
    question = " ".join(f"w{j}" for j in range(1 + i % 7))
    return Example(f"e{i}", question, (image,), texts, "ab"[i % 3 == 0])


@pytest.fixture(scope="module")
def pairs() -> Preference:
    return Preference("p", {"test": [example(i) for i in range(COUNT)]})


def test_blocks_spread_the_strata_and_are_the_same_each_time(
    live: TinyLive, pairs: Preference
) -> None:
    settings = Settings(block=6)
    blocks = Evaluation(live, [pairs], Engine(settings)).blocks("test")
    names = [[ask.example.id for ask in block.asks] for block in blocks]
    assert sorted(name for block in names for name in block) == sorted(
        e.id for e in pairs.examples("test")
    )
    assert {sum(ask.example.category == "b" for ask in b.asks) for b in blocks} == {2}
    again = Evaluation(live, [pairs], Engine(settings)).blocks("test")
    assert [[ask.example.id for ask in block.asks] for block in again] == names
    other = Evaluation(live, [pairs], Engine(replace(settings, seed=1))).blocks("test")
    assert [[ask.example.id for ask in block.asks] for block in other] != names


def test_a_block_alone_gets_exactly_what_a_full_evaluation_gives(
    live: TinyLive, pairs: Preference
) -> None:
    whole = Evaluation(live, [pairs], Engine(Settings(block=8))).score_sets("test")[0]
    margins = {score.id: score.margin for score in whole.scores}
    alone = Evaluation(live, [pairs], Engine(Settings(block=8)))
    last = alone.blocks("test")[-1]
    for score in alone.score(last)[0]:
        assert score.margin == margins[score.id]


def test_objectives_over_the_same_items_share_their_passes(
    live: TinyLive, pairs: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = replace(pairs, name="twin", scorer="log_probability")
    calls: list[int] = []

    def counted(*args: Any) -> Any:
        calls.append(len(args[2]))
        return score_behind(*args)

    monkeypatch.setattr(passes, "score_behind", counted)
    engine = Engine(Settings(tokens=512))
    both = Evaluation(live, [pairs, twin, replace(pairs, name="again")], engine)
    assert engine.shared is None
    sets = both.score_sets("test")
    proof = 2 * 2  # two prompts with one response each, at most
    assert sum(calls) <= 2 * COUNT + proof
    assert sets[0].scores == sets[2].scores
    for one, objective in zip(sets[:2], (pairs, twin), strict=True):
        alone = score_all(objective, live, "test", Engine(Settings(tokens=512)))
        got = [score.margin for score in one.scores]
        assert got == pytest.approx([s.margin for s in alone.scores], abs=1e-5)


def test_batches_keep_the_budget_and_are_sorted_by_length(live: TinyLive) -> None:
    entries = make_entries(live, requests())
    for budget in (1, 60, 100, 400):
        batches = cut_batches(entries, budget)
        assert sum(len(batch.entries) for batch in batches) == len(entries)
        for batch in batches:
            lengths = [len(entry.ids) for entry in batch.entries]
            assert lengths == sorted(lengths, reverse=True)
            assert len({bool(entry.prompt.images) for entry in batch.entries}) == 1
            alone = len(batch.entries) == 1 and all(len(chunk) == 1 for chunk in batch.chunks)
            assert alone or batch.largest() <= max(budget, batch.width + 7)
    record = cut_batches(entries, 400)[0].record()
    assert record["prompts"][0] * record["prompts"][1] <= 400


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError,
        RuntimeError,
        pytest.param(MemoryError, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("where", ["replay", "go_on"])
def test_out_of_memory_halves_the_passes_and_changes_no_score(
    live: TinyLive,
    pairs: Preference,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    where: str,
) -> None:
    from objectives import continuation, scoring

    room = 120
    said: list[str] = []
    module = continuation if where == "replay" else scoring
    own: Any = getattr(module, where)

    def limited(*args: Any) -> Any:
        size = args[1].attention_mask.numel() if where == "replay" else args[2].numel() * 8
        if size > room:
            raise error("DefaultCPUAllocator: out of memory")
        return own(*args)

    want = score_all(pairs, live, "test", Engine(Settings(tokens=2000)))
    monkeypatch.setattr(module, where, limited)
    engine = Engine(Settings(tokens=2000, report=said.append))
    got = score_all(pairs, live, "test", engine)
    assert engine.tokens is not None
    assert engine.tokens < 2000
    assert said
    for a, b in zip(got.scores, want.scores, strict=True):
        assert a.margin == pytest.approx(b.margin, abs=1e-5)


def test_a_prompt_that_fits_nowhere_is_said_and_other_errors_are_passed_on(
    live: TinyLive, pairs: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    from objectives import continuation

    monkeypatch.setattr(continuation, "replay", none)
    with pytest.raises(ObjectiveError, match="does not fit into memory"):
        score_all(pairs, live, "test", Engine(Settings(tokens=200)))

    def other(*_: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(continuation, "replay", other)
    with pytest.raises(RuntimeError, match="shapes"):
        score_all(pairs, live, "test", Engine(Settings(tokens=200)))


def test_the_token_budget_comes_from_a_measured_pass() -> None:
    class Fixed:
        def peak(self, run: Any) -> int:
            run()
            return 4096 * 1000

        def free(self) -> int:
            return 10**9

    ran: list[int] = []
    gauge = Fixed()
    assert fitting_tokens(gauge, lambda: ran.append(1), 4096) == 2**18
    assert ran == [1]
    assert fitting_tokens(gauge, lambda: None, 40) == 6 * 10**8 // 102_400


def test_captured_prompts_are_made_once_and_anew_when_the_tower_is_written(
    pairs: Preference,
) -> None:
    live = tiny_live("llava")
    engine = Engine(Settings(tokens=400))
    evaluation = Evaluation(live, [pairs], engine)
    first = evaluation.score_sets("test")
    made = engine.store.made
    assert evaluation.score_sets("test") == first
    assert engine.store.made == made
    with torch.no_grad():
        for parameter in live.module.model.vision_tower.parameters():
            parameter.mul_(1.5)
    live.state = "tower merged"
    changed = evaluation.score_sets("test")
    assert engine.store.made > made
    fresh = score_all(pairs, live, "test", Engine(Settings(tokens=400)))
    assert changed[0] == fresh
    assert changed != first


def test_what_a_killed_process_left_half_written_of_the_prompt_cache_is_removed(
    tmp_path: Path,
) -> None:
    """Not what may still be written, and no whole file."""
    names = ("a.7.partial", "b.8.partial", "c.safetensors")
    left, young, whole = (tmp_path / name for name in names)
    for path in (left, young, whole):
        path.write_bytes(b"1234")
    for path in (left, whole):
        os.utime(path, (1.0, 1.0))
    files = CallFiles(tmp_path, 100, print)
    assert sorted(tmp_path.iterdir()) == [young, whole]
    assert files.held == 4


def test_prompts_without_room_in_memory_go_to_disk_and_damaged_files_are_made_anew(
    live: TinyLive, pairs: Preference, tmp_path: Path
) -> None:
    budget = Budget(memory=0, disk=2**30, folder=tmp_path / "prompts")
    settings = Settings(tokens=400, budget=budget, identity="x")
    first = score_all(pairs, live, "test", Engine(settings))
    files = sorted((tmp_path / "prompts").glob("*.safetensors"))
    assert files
    again = Engine(settings)
    assert score_all(pairs, live, "test", again) == first
    assert again.store.made == 0  # another run reads them
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    files[1].write_bytes(whole[:50])
    third = Engine(settings)
    assert score_all(pairs, live, "test", third) == first
    assert third.store.made == 2
    mended = Engine(settings)
    assert score_all(pairs, live, "test", mended) == first
    assert mended.store.made == 0
    other = Engine(replace(settings, identity="other weights"))
    score_all(pairs, live, "test", other)
    assert other.store.made > 2
    full = Budget(memory=0, disk=10, folder=tmp_path / "full")
    assert score_all(pairs, live, "test", Engine(replace(settings, budget=full))) == first
    assert not (tmp_path / "full").exists()


def test_a_prompt_is_cut_where_a_response_joins_its_end(live: TinyLive) -> None:
    """A tokenizer may join the prompt's end and the response's beginning into one token."""

    class Joining(type(live.processor.tokenizer)):  # type: ignore[misc]
        def _ids(self, text: str) -> list[int]:
            return super()._ids(text.replace("assistant: w50", "w99"))  # type: ignore[no-any-return]

    processor = replace(live.processor)
    processor.tokenizer = Joining({"<image>": 150})
    joined = replace(live, processor=processor)
    asked = [r for r in requests() if r.prompt.images]
    drop, found = tails(joined, asked[0].prompt, ["w50", "w60"])
    assert drop == 1
    assert [tail.begin for tail in found] == [0, 1]
    assert found[0].scored() == 2  # w99 and the end
    told = Engine(Settings(tokens=200)).answer(joined, make_plan(joined, asked))
    for request in asked:
        assert value(told[request]) == pytest.approx(value(plain_reply(joined, request)), abs=1e-5)


def test_a_decoder_that_cannot_go_on_is_read_from_the_beginning_and_that_is_said(
    live: TinyLive, pairs: Preference, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = score_all(pairs, live, "test", Engine(Settings(tokens=400)))

    def refuse(*_: Any) -> Any:
        raise NoRuleError("the decoder's argument puzzle")

    monkeypatch.setattr(passes, "enter", refuse)
    said: list[str] = []
    engine = Engine(Settings(tokens=400, report=said.append))
    got = score_all(pairs, live, "test", engine)
    assert engine.shared is False
    assert "argument puzzle" in said[0]
    for a, b in zip(got.scores, want.scores, strict=True):
        assert a.margin == pytest.approx(b.margin, abs=1e-5)
    texts = [Request(prompts()[0], "text", writing=Writing(3))]
    with pytest.raises(ObjectiveError, match="only scored responses"):
        engine.answer(live, make_plan(live, texts))


def written(live: TinyLive, writing: Writing, tokens: int = 400) -> list[Reply]:
    asked = [Request(prompt, "text", writing=writing) for prompt in prompts()]
    told = Engine(Settings(tokens=tokens)).answer(live, make_plan(live, asked))
    return [told[request] for request in asked]


def test_votes_are_drawn_alike_whatever_shares_the_batch(live: TinyLive) -> None:
    writing = Writing(8, votes=3, temperature=1.0, seed=4)
    one = written(live, writing)
    assert one == written(live, writing, tokens=30)
    assert all(len(reply.texts) == 3 for reply in one)
    assert any(len(set(reply.texts)) > 1 for reply in one)
    assert one != written(live, replace(writing, seed=5))
    greedy = written(live, Writing(8, votes=3))
    assert all(len(set(reply.texts)) == 1 for reply in greedy)
    cold = written(live, replace(writing, temperature=1e-4))
    assert [r.texts for r in cold] == [r.texts for r in greedy]


def test_a_text_ends_before_a_stop_string(live: TinyLive) -> None:
    free = written(live, Writing(8))
    stop = free[0].texts[0].split()[3]
    stopped = written(live, Writing(8, stop=(stop,)))
    for cut, whole in zip(stopped, free, strict=True):
        assert cut.texts[0] == whole.texts[0].split(stop)[0]
        assert cut.truncated == (whole.truncated and stop not in whole.texts[0])


def test_allowed_texts_are_all_that_is_written(live: TinyLive) -> None:
    allowed = ("w40 w41", "w40", "w77")
    for reply in written(live, Writing(8, allowed=allowed)):
        assert reply.texts[0] in allowed
        assert not reply.truncated


def test_a_conversation_of_several_turns_and_a_begun_answer_are_rendered(live: TinyLive) -> None:
    shown = prompts()[0].images
    prompt = make_prompt(
        [Turn("system", "w1"), Turn("user", "w2", 1), Turn("assistant", "w3"), Turn("user", "w4")],
        shown,
    )
    assert render(live, prompt).split()[-4:] == ["user:", "w4", "<end>", "assistant:"]
    begun = make_prompt([Turn("user", "w2"), Turn("assistant", "w3")])
    assert render(live, begun).split()[-2:] == ["assistant:", "w3"]
    assert render(live, begun, " w5").split()[-3:] == ["w3", "w5", "<end>"]
    _, (tail,) = tails(live, begun, [" w5"])
    assert tail.scored() == 2
    with pytest.raises(ValueError, match="must show all images"):
        make_prompt([Turn("user", "w2")], shown)


def test_equal_prompts_are_equal_by_content_and_requests_say_what_they_need() -> None:
    assert prompts() == prompts()
    assert len({prompt.key for prompt in prompts()}) == len(prompts())
    with pytest.raises(ValueError, match="needs response"):
        Request(prompts()[0], "reward")
    with pytest.raises(ValueError, match="needs writing"):
        Request(prompts()[0], "text", "w1")


@dataclass(frozen=True)
class OwnRun:
    """An objective that runs the model itself."""

    name: str = "own"
    average: Any = "micro"
    weight: float = 1.0
    data: Sequence[Example] = field(default_factory=lambda: [example(i) for i in range(4)])

    def examples(self, split: str) -> Sequence[Example]:
        assert split == "test"
        return self.data

    def score(self, live: Any, split: str) -> Any:
        assert live.module is not None
        yield [ExampleScore(e.id, 0.5, e.category) for e in self.examples(split)]


def test_objectives_that_run_the_model_themselves_are_a_block_of_their_own(
    live: TinyLive, pairs: Preference
) -> None:
    both = Evaluation(live, [OwnRun(), pairs], Engine(Settings(block=16)))
    blocks = both.blocks("test")
    assert [block.runs for block in blocks] == [None, None, 0]
    sets = both.score_sets("test")
    assert sets[0].value() == 0.5
    assert len(sets[1].scores) == COUNT


def test_in_bfloat16_few_pairs_flip_and_they_are_counted(pairs: Preference) -> None:
    """Batches round differently in half precision: the benchmark reports how many pairs flip."""
    live = tiny_live("llava")
    live.module.bfloat16()
    live.score_head.bfloat16()
    got = score_all(pairs, live, "test", Engine(Settings(tokens=400)))
    flips = 0
    for score, one in zip(got.scores, pairs.examples("test"), strict=True):
        plain = pairs.judge(one, [plain_reply(live, request) for request in pairs.requests(one)])
        flips += plain.value != score.value
    assert flips <= COUNT / 5


def test_images_prepared_for_a_batch_are_those_of_its_rows(live: TinyLive) -> None:
    """Rows of one batch show their own images: swapped images change what is captured."""
    asked = prompts()[:2]
    a = encode(live, [render(live, p) for p in asked], [p.images for p in asked])
    b = encode(live, [render(live, p) for p in asked], [p.images for p in reversed(asked)])
    assert torch.equal(a["pixel_values"], b["pixel_values"].flip(0))
    assert isinstance(asked[0], Prompt)
