"""Processors: read from a folder, without their part for videos where torchvision is missing."""

import json
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils.import_utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from merge_ops.errors import UserError, first_line
from merge_ops.hub import model_folder

_NAMED_IN = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer_config.json",
)
"""Where a processor's class is named, in transformers' own order."""


class NoVideos(VideoProcessorMixin):
    """Stands where a processor keeps its part for videos; every one of them needs torchvision."""

    num_frames = fps = None  # read by SmolVLM's chat template

    def __call__(self, *_args: Any, **_options: Any) -> Any:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError("videos need torchvision; install it, or leave them out.")


def load_processor(reference: str, image_backend: str | None = None) -> Any:
    """The processor of a model, or the tokenizer of a text model.

    Args:
        reference: a folder or a hub id.
        image_backend: "pil" or "torchvision", or None for transformers' choice.

    Raises:
        UserError: the folder has neither.
    """
    folder = model_folder(reference)
    chosen = {"backend": image_backend} if image_backend else {}
    try:
        kind = None if is_torchvision_available() else _class_of(folder)
        parts = kind.get_attributes() if kind else ()
        if "image_processor" in parts and "video_processor" in parts:
            return _without_videos(kind, folder, chosen)
        auto: Any = transformers.AutoProcessor
        return auto.from_pretrained(folder, local_files_only=True, **chosen)
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{reference}: its processor cannot be loaded: {reason}") from None


def _class_of(folder: Path) -> Any:
    """The class of a folder's processor, found as transformers finds it, or None."""
    for name in _NAMED_IN:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if isinstance(content, dict) and content.get("processor_class"):
            return getattr(transformers, str(content["processor_class"]), None)
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return PROCESSOR_MAPPING.get(type(config), None)


def _without_videos(kind: Any, folder: Path, chosen: dict[str, str]) -> Any:
    """What `kind.from_pretrained` gives, with `NoVideos` in its place."""
    readers: dict[str, Any] = {
        "image_processor": transformers.AutoImageProcessor,
        "feature_extractor": transformers.AutoFeatureExtractor,
        "tokenizer": transformers.AutoTokenizer,
    }
    parts: list[Any] = []
    for part in kind.get_attributes():
        if part == "video_processor":
            parts.append(NoVideos())
        else:
            options = chosen if part == "image_processor" else {}
            parts.append(readers[part].from_pretrained(folder, local_files_only=True, **options))

    def check(self: Any, name: str, part: Any) -> Any:
        own = isinstance(part, NoVideos)
        return NoVideos if own else kind.check_argument_for_proper_class(self, name, part)

    lenient: Any = type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})
    stated, _ = kind.get_processor_dict(folder, local_files_only=True)
    return lenient.from_args_and_dict(parts, stated)
