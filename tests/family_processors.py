"""Tiny live models of every tested family, with processors that make what the real ones make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from merge_ops.decoder import find_decoder
from tests.families import AUDIO, FAMILIES, IMAGE, build

_END, _WORDS = 2, 6
"""The token that ends an answer, and the first that is a word: "w0"."""


class Tokenizer:
    """Words "w0", "w1" ... and placeholders, separated by spaces."""

    pad_token_id, eos_token_id = 0, _END
    padding_side = "left"

    def __init__(self, special: Mapping[str, int]) -> None:
        self._special = {"<s>": 1, "<end>": _END, "user:": 3, "assistant:": 4, **special}
        self._names = {token: name for name, token in self._special.items()}

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool,
        padding: bool = False,
        return_tensors: str | None = None,
    ) -> dict[str, Any]:
        assert not add_special_tokens
        if isinstance(text, str):
            return {"input_ids": self._ids(text)}
        assert padding
        assert return_tensors == "pt"
        return padded([self._ids(one) for one in text])

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        names = [self._names.get(t, f"w{t - _WORDS}") for t in tokens if t != 0]
        kept = [n for n in names if not (skip_special_tokens and n in self._special)]
        return " ".join(kept)

    def _ids(self, text: str) -> list[int]:
        return [
            self._special[word] if word in self._special else _WORDS + _number(word)
            for word in text.split()
        ]


def _number(word: str) -> int:
    return int(word[1:]) if word[1:].isdigit() else len(word)


def padded(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Ids and mask, padded on the left."""
    width = max(map(len, rows))
    ids = [[0] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


Media = Callable[[list[Image.Image], dict[str, Tensor]], dict[str, Tensor]]
"""What a family's processor adds for images, given the padded ids with placeholders expanded."""


@dataclass
class Processor:
    """Renders turns as words, and expands each image to its tokens.

    Attributes:
        expansion: tokens of one image.
        media: what else the family wants.
    """

    expansion: list[int]
    media: Media
    tokenizer: Tokenizer = field(init=False)

    def __post_init__(self) -> None:
        self.tokenizer = Tokenizer({"<image>": self.expansion[-1]})

    def apply_chat_template(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        continue_final_message: bool = False,
    ) -> str:
        assert not tokenize
        words = ["<s>"]
        for turn in turns:
            words.append(f"{turn['role']}:" if turn["role"] != "system" else "user:")
            words += [part.get("text", "<image>") for part in turn["content"]]
            words.append("<end>")
        if continue_final_message:
            words.pop()
        return " ".join([*words, *(["assistant:"] if add_generation_prompt else [])])

    def __call__(
        self,
        *,
        text: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        padding: bool,
        add_special_tokens: bool,
        return_tensors: str,
    ) -> dict[str, Tensor]:
        assert padding
        assert return_tensors == "pt"
        rows = []
        for one in text:
            ids = self.tokenizer(one, add_special_tokens=add_special_tokens)["input_ids"]
            place = one.split().index("<image>")
            rows.append([*ids[:place], *self.expansion, *ids[place + 1 :]])
        inputs = padded(rows)
        return {**inputs, **self.media([shown[0] for shown in images], inputs)}


class PrefixProcessor(Processor):
    """PaliGemma's: the prompt is read in both directions, a suffix in one."""

    def __call__(self, *, suffix: None = None, **named: Any) -> dict[str, Tensor]:
        assert suffix is None
        inputs = super().__call__(**named)
        labels = {"labels": inputs["input_ids"]}
        return {**inputs, **labels, "token_type_ids": torch.zeros_like(inputs["input_ids"])}


@dataclass
class TinyLive:
    """A live model of one family; its weights before the decoder are never written."""

    module: Any
    processor: Any
    score_head: nn.Module
    state: str = "as built"

    @property
    def decoder(self) -> nn.Module:
        return find_decoder(self.module).module

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def first_changed_layer(self) -> int:
        return 0

    def fingerprint(self, part: str) -> str:
        return f"{part} {self.state}"


def tiny_live(name: str, attention: str = "eager") -> TinyLive:
    """A random model of a family."""
    model = build(FAMILIES[name]())
    model.set_attn_implementation(attention)
    torch.manual_seed(5)
    size = model.config.get_text_config().hidden_size
    return TinyLive(model, _processor(name, model), nn.Linear(size, 1, bias=False))


def _pixels(image: Image.Image, *shape: int) -> Tensor:
    seed = sum(image.getpixel((0, 0)))  # type: ignore[arg-type]
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _processor(name: str, model: Any) -> Processor:
    if name.startswith("paligemma"):
        return PrefixProcessor([IMAGE] * 16, _plain)
    if name in ("llava_next", "llava_next_video", "llava_onevision"):
        sizes = torch.tensor([[16, 32]])
        with torch.no_grad():
            found = model.model.get_image_features(
                torch.zeros(1, 3, 3, 16, 16), sizes, return_dict=True
            ).pooler_output
        return Processor([IMAGE] * sum(len(part) for part in found), _tiles)
    qwen = [148, *[IMAGE] * 6]
    kinds: Mapping[str, tuple[list[int], Media]] = {
        "llava": ([IMAGE] * 16, _plain),
        "qwen2_vl": (qwen, _patches),
        "qwen2_5_vl": (qwen, _patches),
        "qwen3_vl": (qwen, _patches),
        "qwen2_5_omni_thinker": (qwen, _omni),
        "mllama": ([160], _mllama),
        "qwen2_audio": ([AUDIO] * 10, _sound),
        "gemma3": ([IMAGE] * 4, _marked),
        "internvl": ([IMAGE] * 4, _plain),
    }
    single = ([IMAGE] * 4, lambda shown, _inputs: _stack(shown, 1, 3, 16, 16))
    return Processor(*kinds.get(name, single))


def _stack(shown: list[Image.Image], *shape: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.stack([_pixels(image, *shape) for image in shown])}


def _plain(shown: list[Image.Image], _inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return _stack(shown, 3, 16, 16)


def _marked(shown: list[Image.Image], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**_plain(shown, inputs), "token_type_ids": (inputs["input_ids"] == IMAGE).long()}


def _tiles(shown: list[Image.Image], _inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    sizes = torch.tensor([[16, 32]] * len(shown))
    return {**_stack(shown, 3, 3, 16, 16), "image_sizes": sizes}


def _omni(shown: list[Image.Image], _inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    grid = torch.tensor([[1, 4, 6]] * len(shown))
    return {"pixel_values": torch.cat([_pixels(i, 24, 96) for i in shown]), "image_grid_thw": grid}


def _patches(shown: list[Image.Image], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    marks = (inputs["input_ids"] == IMAGE).int()
    return {**_omni(shown, inputs), "mm_token_type_ids": marks}


def _mllama(shown: list[Image.Image], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    seen = ((inputs["input_ids"] == 160).cumsum(1) > 0).long()  # from the image on
    return {
        **_stack(shown, 1, 2, 3, 16, 16),
        "aspect_ratio_ids": torch.tensor([[2]] * len(shown)),
        "aspect_ratio_mask": torch.ones(len(shown), 1, 2, dtype=torch.long),
        "cross_attention_mask": seen[:, :, None, None].expand(-1, -1, 1, 2).clone(),
    }


def _sound(shown: list[Image.Image], _inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features = torch.stack([_pixels(image, 8, 40) for image in shown])
    mask = torch.ones(len(shown), 40, dtype=torch.long)
    return {"input_features": features, "feature_attention_mask": mask}
