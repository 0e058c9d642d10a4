"""Stages: the training of each model of the zoo from its parents' folders."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaForCausalLM
from transformers import LlavaForConditionalGeneration as Llava

from studies.demo.architectures import (
    freeze,
    language_config,
    load_text,
    load_vlm,
    new_reward_model,
    new_vlm,
    save,
    vision_config,
)
from studies.demo.plan import Plan, Steps
from studies.demo.sources import cell_batch, image_batch, preference_batch, text_batch
from studies.demo.training import (
    Tick,
    alignment_loss,
    answer_loss,
    cell_loss,
    preference_loss,
    train,
)
from studies.demo.vocabulary import COLOR_NAMES, encode

BLIND_SHARE = 0.1  # of the reward model's pairs


def run_stage(name: str, folder: Path, seed: int, plan: Plan, tick: Tick) -> None:
    """Trains one model from its parents in `folder` and saves it there as `folder/name`.

    Everything random comes from (seed, name); the caller's generators are left alone.
    """
    torch.set_num_threads(1)
    rng = random.Random(f"{seed} {name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.getrandbits(62))
        if name.startswith("skill_"):
            train_skill(name, folder, plan, rng, tick)
        else:
            STAGES[name](folder, plan, rng, tick)


def train_vision(folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """The vision tower, taught to tell the digit and the colour of every cell."""
    tower, head = CLIPVisionModel(vision_config()), nn.Linear(64, 11 + 5)

    def losses() -> Iterator[Tensor]:
        while True:
            pixels, digits, colors = cell_batch(plan.vision.batch, rng)
            cells = tower(pixel_values=pixels).last_hidden_state[:, 1:]  # (B, 4, H)
            yield cell_loss(head(cells), digits, colors)

    train(nn.ModuleList([tower, head]), losses(), plan.vision, tick)
    tower.save_pretrained(folder / "vision")


def train_base(folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """The base: scenes in words, number facts and a little of everything that will be asked."""
    model = LlamaForCausalLM(language_config())
    train(model, _text_losses(model, plan.base, rng), plan.base, tick)
    save(model, folder / "base")


def train_math(folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """The arithmetic expert, fine-tuned from the base on words alone."""
    model = load_text(folder / "base")
    freeze(model, "embed_tokens", "lm_head")
    train(model, _text_losses(model, plan.math, rng), plan.math, tick)
    save(model, folder / "math")


def train_vlm(folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """The vision-language model: the base under a tower and a projector, perception only."""
    model, base = new_vlm(), load_text(folder / "base")
    model.model.language_model.load_state_dict(base.model.state_dict())
    model.lm_head.load_state_dict(base.lm_head.state_dict())
    tower = CLIPVisionModel.from_pretrained(folder / "vision")
    model.model.vision_tower.load_state_dict(tower.state_dict())
    freeze(model, "embed_tokens", "lm_head", "vision_tower")
    total = plan.align.count + plan.vlm.count
    _align(model, plan, rng, lambda done, _: tick(done, total))
    train(
        model,
        _image_losses(model, plan.vlm, rng),
        plan.vlm,
        lambda done, _: tick(plan.align.count + done, total),
    )
    save(model, folder / "vlm")


def _align(model: Llava, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """Teaches the projector alone to write a cell as the sum of its words' embeddings."""
    words = [*(str(digit) for digit in range(10)), *COLOR_NAMES, "none"]
    table = model.model.language_model.embed_tokens.weight[encode(words)].detach()
    projector = model.model.multi_modal_projector
    for layer in (projector.linear_1, projector.linear_2):
        nn.init.normal_(layer.weight, std=0.1)

    def losses() -> Iterator[Tensor]:
        while True:
            pixels, digits, colors = cell_batch(plan.align.batch, rng)
            features = torch.stack(list(model.model.get_image_features(pixels).pooler_output))
            yield alignment_loss(features, digits, colors, table)

    train(projector, losses(), plan.align, tick)


def train_reward(folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """The reward model: the arithmetic expert with a score head, on preferences in words."""
    model = new_reward_model(load_text(folder / "math"))
    freeze(model, "embed_tokens")

    def losses() -> Iterator[Tensor]:
        while True:
            yield preference_loss(model, preference_batch(plan.reward.batch, BLIND_SHARE, rng))

    train(model, losses(), plan.reward, tick)
    save(model, folder / "reward")


def train_skill(name: str, folder: Path, plan: Plan, rng: random.Random, tick: Tick) -> None:
    """An expert in one more skill, fine-tuned from the vision-language model's decoder."""
    model = load_vlm(folder / "vlm")
    freeze(model, "embed_tokens", "lm_head", "vision_tower", "multi_modal_projector")
    steps = plan.skills[name]
    train(model, _image_losses(model, steps, rng), steps, tick)
    save(model, folder / name)


def _text_losses(model: LlamaForCausalLM, steps: Steps, rng: random.Random) -> Iterator[Tensor]:
    while True:
        yield answer_loss(model, text_batch(steps.mixture, steps.batch, rng))


def _image_losses(model: Llava, steps: Steps, rng: random.Random) -> Iterator[Tensor]:
    while True:
        yield answer_loss(model, image_batch(steps.mixture, steps.batch, rng))


STAGES: dict[str, Callable[[Path, Plan, random.Random, Tick], None]] = {
    "vision": train_vision,
    "base": train_base,
    "math": train_math,
    "vlm": train_vlm,
    "reward": train_reward,
}
