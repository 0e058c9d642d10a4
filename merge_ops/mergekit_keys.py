"""Keys of mergekit's configurations that decide no weight here, and those that would."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from merge_ops.errors import did_you_mean
from merge_ops.yaml_file import Location, YamlFile

Problems = list[tuple[Location, str]]

METHODS = frozenset(
    {
        "arcee_fusion",
        "breadcrumbs",
        "breadcrumbs_ties",
        "dare_linear",
        "dare_ties",
        "della",
        "della_linear",
        "karcher",
        "linear",
        "model_stock",
        "multislerp",
        "nearswap",
        "nuslerp",
        "passthrough",
        "ram",
        "ramplus_tl",
        "sce",
        "slerp",
        "task_arithmetic",
        "ties",
    }
)
"""The methods of mergekit 0.1.5."""

_PARAMETERS = frozenset(
    {
        "alpha",
        "density",
        "eps",
        "epsilon",
        "filter_wise",
        "gamma",
        "lambda",
        "max_iter",
        "normalize",
        "normalize_weights",
        "nuslerp_flatten",
        "nuslerp_row_wise",
        "r",
        "rescale",
        "scale",
        "select_topk",
        "t",
        "tol",
        "weight",
    }
)
"""The parameters of those methods; mergekit passes over those that a method does not have."""

_OPTIONS = frozenset(
    {
        "allow_crimes",
        "async_write",
        "clone_tensors",
        "copy_tokenizer",
        "cuda",
        "device",
        "gpu_rich",
        "lazy_unpickle",
        "lora_merge_cache",
        "lora_merge_dtype",
        "low_cpu_memory",
        "multi_gpu",
        "name",
        "num_threads",
        "out_shard_size",
        "quiet",
        "random_seed",
        "read_to_gpu",
        "safe_serialization",
        "transformers_cache",
        "trust_remote_code",
        "unsafe_truncate_embeddings",
        "verbosity",
        "write_model_card",
        "write_threads",
    }
)
"""Options of mergekit's command line, idle inside a file, and mergekit-multi's `name`."""

_TOKENIZER = ("source", "tokens", "pad_to_multiple_of")


def has_no_effect(method: str, key: str) -> bool:
    """Whether mergekit knows a parameter which changes nothing in a method that lacks it.

    `int8_mask` is the type of a temporary mask, whatever the method.
    """
    return key == "int8_mask" or (method in METHODS and key in _PARAMETERS)


def without_idle_keys(file: YamlFile, problems: Problems, notes: Problems) -> YamlFile:
    """The file without mergekit's top-level keys that decide no weight here.

    Args:
        file: a recipe, not yet validated.
        problems: keys that would decide weights, and that this project does not support.
        notes: a line for each key that is passed over.
    """
    data = dict(file.data)
    for key in [key for key in data if key in _OPTIONS]:
        del data[key]
        notes.append(((key,), f"{key} has no effect here"))
    if "chat_template" in data:
        del data["chat_template"]
        text = "chat_template has no effect here; mergetuna.template chooses a template"
        notes.append((("chat_template",), text))
    if "modules" in data:
        del data["modules"]
        text = "modules: is not supported; the language model is found without: write models:"
        problems.append((("modules",), text))
    _tokenizer(data, problems, notes)
    return replace(file, data=data)


def _tokenizer(data: dict[str, Any], problems: Problems, notes: Problems) -> None:
    """The two ways to name a tokenizer; only the target's own changes no embedding."""
    source = data.pop("tokenizer_source", None)
    if source is not None:
        _source(source, ("tokenizer_source",), data, problems, notes)
    tokenizer = data.pop("tokenizer", None)
    if tokenizer is None:
        return
    if not isinstance(tokenizer, Mapping):
        problems.append((("tokenizer",), f"tokenizer: must be a mapping, but got {tokenizer!r}"))
        return
    for key, value in tokenizer.items():
        if key not in _TOKENIZER:
            hint = did_you_mean(key, _TOKENIZER)
            problems.append((("tokenizer", key), f"tokenizer.{key}: unknown key{hint}"))
        elif key != "source" and value:
            text = "would change the embeddings, which is not supported"
            problems.append((("tokenizer", key), f"tokenizer.{key}: {text}"))
    _source(tokenizer.get("source", "union"), ("tokenizer", "source"), data, problems, notes)


def _source(
    value: Any, place: Location, data: Mapping[str, Any], problems: Problems, notes: Problems
) -> None:
    """Accept the target's own tokenizer, under either of its names."""
    dotted = ".".join(map(str, place))
    if value is not None and value in ("base", data.get("base_model")):
        text = f"{dotted} has no effect here: tokenizer and embedding rows are the target's"
        notes.append((place, text))
        return
    text = f"{value!r} would change the embeddings, which is not supported; only 'base' is"
    problems.append((place, f"{dotted}: {text}"))
