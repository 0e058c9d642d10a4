"""Processors that read videos, too, load without torchvision and give what the image needs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers.utils.import_utils import is_torchvision_available

from merge_ops.errors import UserError
from merge_ops.processors import NoVideos, load_processor
from objectives.prompts import encode

without_torchvision = pytest.mark.skipif(
    is_torchvision_available(), reason="transformers' own way is taken where torchvision is there"
)

_GRID = {"image_grid_pinpoints": [[16, 32], [32, 16]], "vision_feature_select_strategy": "full"}
_CLIP: Mapping[str, Any] = {
    "size": {"height": 16, "width": 16},
    "crop_size": {"height": 16, "width": 16},
}
_QWEN: Mapping[str, Any] = {"patch_size": 4, "merge_size": 2, "min_pixels": 64, "max_pixels": 1024}

CASES: Mapping[str, tuple[str, str, Mapping[str, Any], Mapping[str, Any], str]] = {
    "llava_next_video": (
        "LlavaNextVideoProcessor",
        "LlavaNextImageProcessor",
        {**_CLIP, "image_grid_pinpoints": _GRID["image_grid_pinpoints"]},
        {"patch_size": 8, "vision_feature_select_strategy": "full"},
        "<image>",
    ),
    "llava_onevision": (
        "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessor",
        {"size": {"height": 16, "width": 16}, "image_grid_pinpoints": [[16, 32], [32, 16]]},
        {"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
        "<image>",
    ),
    "internvl": (
        "InternVLProcessor",
        "GotOcr2ImageProcessor",
        {"size": {"height": 16, "width": 16}, "min_patches": 1, "max_patches": 4},
        {"image_seq_length": 4},
        "<IMG_CONTEXT>",
    ),
    "smolvlm": (
        "SmolVLMProcessor",
        "SmolVLMImageProcessor",
        {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}},
        {"image_seq_len": 4},
        "<image>",
    ),
    "qwen2_vl": ("Qwen2VLProcessor", "Qwen2VLImageProcessor", _QWEN, {}, "<|image_pad|>"),
    "qwen2_5_vl": ("Qwen2_5_VLProcessor", "Qwen2VLImageProcessor", _QWEN, {}, "<|image_pad|>"),
    "qwen3_vl": ("Qwen3VLProcessor", "Qwen2VLImageProcessor", _QWEN, {}, "<|image_pad|>"),
    "qwen2_5_omni": ("Qwen2_5OmniProcessor", "Qwen2VLImageProcessor", _QWEN, {}, "<|IMAGE|>"),
}
"""Processor, image processor and its settings, the processor's own settings, an image's mark."""

_MARKS = {
    "image_token": "<image>",
    "video_token": "<video>",
    "audio_token": "<|AUDIO|>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
_TEMPLATE = (
    "{% for m in messages %}{% for part in m['content'] %}"
    "{{ 'MARK ' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
)


def write_processor(folder: Path, name: str, layout: str) -> str:
    """A processor's folder as the hub has them: one file per part, or all parts in one."""
    kind, image_kind, pictures, own, mark = CASES[name]
    marks = {**_MARKS, "image_token": mark} if name != "internvl" else _MARKS
    words = ["<pad>", "<unk>", "what", "is", "this", "<end_of_utterance>", "<|video_pad|>"]
    words += [f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2)]
    words = list(dict.fromkeys([*words, *marks.values()]))
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=marks,
        additional_special_tokens=[w for w in words if w.startswith("<")],
    )
    fast.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(_TEMPLATE.replace("MARK", mark))
    video_kind = image_kind.replace("Image", "Video").replace("GotOcr2", "InternVL")
    parts: dict[str, Mapping[str, Any]] = {
        "image_processor": {"image_processor_type": image_kind, **pictures},
        "video_processor": {"video_processor_type": video_kind, **pictures},
    }
    if name == "qwen2_5_omni":
        parts["feature_extractor"] = {"feature_extractor_type": "WhisperFeatureExtractor"}
    _write(folder / "config.json", {"model_type": name})
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    if layout == "one file":
        _write(folder / "processor_config.json", {"processor_class": kind, **own, **parts})
        return mark
    named = {"processor_class": kind} if layout == "a file per part" else {}
    _write(folder / "processor_config.json", own)
    sound = parts.get("feature_extractor", {})
    _write(folder / "preprocessor_config.json", {**named, **parts["image_processor"], **sound})
    _write(folder / "video_preprocessor_config.json", parts["video_processor"])
    return mark


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


class _Live:
    """As much of a live model as prompts need."""

    device = "cpu"

    def __init__(self, processor: Any) -> None:
        self.processor = processor


@without_torchvision
@pytest.mark.parametrize("layout", ["one file", "a file per part", "no class named"])
@pytest.mark.parametrize("name", CASES)
def test_images_need_no_torchvision(
    name: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", str)  # a package of its own
    mark = write_processor(tmp_path, name, layout)
    processor = load_processor(str(tmp_path))
    assert type(processor).__name__ == CASES[name][0]
    assert isinstance(processor.video_processor, NoVideos)
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what"}]}]
    text = processor.apply_chat_template(said, tokenize=False)
    assert text == f"{mark} what"
    pictures = [[Image.new("RGB", (32, 16), color)] for color in ("red", "blue")]
    live: Any = _Live(processor)
    inputs = encode(live, [text, f"{text} is this"], pictures)
    shown = inputs["input_ids"] == processor.tokenizer.convert_tokens_to_ids(mark)
    counts = shown.sum(1).tolist()
    assert counts[0] == counts[1] > 1
    assert inputs["pixel_values"].isfinite().all()
    with pytest.raises(UserError, match="videos need torchvision"):
        processor.video_processor([])
