"""Inputs of every modality for the tiny models of the Qwen2.5 families, and their experts."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tests.families import AUDIO, FAMILIES, IMAGE, VIDEO, build, build_text
from tests.tiny import save

Modality = Literal["image", "video", "audio"]
OMNI, VISION = "qwen2_5_omni_thinker", "qwen2_5_vl"


def save_omni(root: Path) -> None:
    """A target that hears and sees; an expert of its class, one that only sees, one that reads."""
    for seed, name in enumerate(("target", "hearing")):
        save(build(FAMILIES[OMNI](), seed), root / name)
    save(build(FAMILIES[VISION](), 2), root / "seeing")
    save(build_text(FAMILIES[OMNI]().text, 3), root / "reading")


def inputs_of(model: Any, modality: Modality, seed: int = 0) -> dict[str, Tensor]:
    """What a model is called with: a short text with one image, video or sound in it."""
    generator = torch.Generator().manual_seed(seed)
    seen = {"image": [IMAGE] * 4, "video": [VIDEO] * 8, "audio": [AUDIO] * 9}[modality]
    ids = torch.tensor([[5, 146 if modality == "audio" else 148, *seen, 149, 6, 7]])
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if modality == "audio":
        mask = torch.arange(40)[None] < 36  # 36 of 40 frames are sound
        sound = torch.randn(1, 8, 40, generator=generator)
        return {**call, "input_features": sound, "feature_attention_mask": mask.long()}
    frames = 1 if modality == "image" else 2
    grid = torch.tensor([[frames, 4, 4]])
    pixels = torch.randn(16 * frames, 96, generator=generator)
    omni = "Omni" in type(model).__name__
    if not omni:
        kinds = (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
        call["mm_token_type_ids"] = kinds
    if modality == "image":
        return {**call, "pixel_values": pixels, "image_grid_thw": grid}
    # Qwen2.5-VL counts 4 positions a second and the Omni model 25; this is one for a frame in both
    key, seconds = ("video_second_per_grid", 1 / 25) if omni else ("second_per_grid_ts", 1 / 4)
    spacing = {key: torch.tensor([seconds])}
    return {**call, "pixel_values_videos": pixels, "video_grid_thw": grid, **spacing}
