"""What the hub can answer, said in one line with what to do; nothing here touches the network."""

import errno
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import errors

from merge_ops import download
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.old_layouts.conversion import convert
from merge_ops.recipe import Recipe, Source
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import read_recipe
from studies.provenance import with_commits
from tests.test_convert_adapters import pickled_llama
from tests.tiny import tiny_llama

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _forget() -> None:
    download.download.cache_clear()
    model_folder.cache_clear()


def answer(kind: type[Any], status: int) -> Any:
    """An error of the hub as huggingface_hub makes it."""
    request = httpx2.Request("GET", "https://huggingface.co/api/models/owner/name")
    return kind(
        f"{status} Client Error\n\nmore", response=httpx2.Response(status, request=request)
    )


def unreachable(cause: Exception) -> Exception:
    error = errors.LocalEntryNotFoundError("Got: something\nlong")
    error.__cause__ = cause
    return error


CASES = {
    "gated": (
        answer(errors.GatedRepoError, 403),
        "Ask for access at https://huggingface.co/owner/name and log in with `hf auth login`",
    ),
    "missing": (
        answer(errors.RepositoryNotFoundError, 404),
        "no such repository on the hub, or it",
    ),
    "no revision": (
        answer(errors.RevisionNotFoundError, 404),
        "has no revision 'v9'. Check branch",
    ),
    "bad token": (answer(errors.HfHubHTTPError, 401), "does not know your token (401)"),
    "forbidden": (answer(errors.HfHubHTTPError, 403), "your token may not read it (403)"),
    "too many": (answer(errors.HfHubHTTPError, 429), "no more requests for now (429)"),
    "down": (answer(errors.HfHubHTTPError, 503), "problem of its own (503). Try again later"),
    "down, not cached": (
        unreachable(answer(errors.HfHubHTTPError, 504)),
        "problem of its own (504). Try again later",
    ),
    "no network": (
        unreachable(httpx2.ConnectError("no route")),
        "the hub is out of reach. Check the network, or pass a local folder",
    ),
    "offline": (
        unreachable(errors.OfflineModeIsEnabled("offline")),
        "HF_HUB_OFFLINE is set. Unset it, or pass a local folder",
    ),
    "half cached": (
        errors.IncompleteSnapshotError("x", "y"),
        "its copy here is incomplete. Run again",
    ),
    "proxy": (httpx2.ProxyError("bad proxy"), "the hub is out of reach (bad proxy)"),
    "disk full": (
        OSError(errno.ENOSPC, "No space left on device"),
        "is full. Free some of it, or set HF_HOME",
    ),
    "something else": (OSError("odd\nlong"), "the hub did not give it (odd). Try again"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_hub_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, expected = CASES[name]

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError) as refused:
        model_folder("owner/name@v9")
    assert str(refused.value).startswith("owner/name@v9: ")
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_offline_for_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not monkeypatched: the tests run with HF_HUB_OFFLINE set."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        model_folder("owner/nothing-here")


def test_neither_folder_nor_hub_id() -> None:
    with pytest.raises(UserError, match=r"no such folder here, and it is no hub id"):
        model_folder("owner/name/more/than/that")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in the hub's cache, and nothing outside: `owner/name`, branch main."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    repository = cache / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


def test_the_commit_that_a_name_resolved_to(cached: Path) -> None:
    tiny_llama(0).save_pretrained(cached)
    write_tree(cached)
    assert model_folder("owner/name") == cached
    assert download.commit("owner/name") == COMMIT
    assert download.commit(str(cached)) == COMMIT
    assert download.commit(str(cached.parent)) is None


def test_the_commit_stands_in_a_recipe(cached: Path, tmp_path: Path) -> None:
    tiny_llama(0).save_pretrained(cached)
    write_tree(cached)
    tiny_llama(1).save_pretrained(tmp_path / "here")
    sources = (Source("owner/name"), Source(str(tmp_path / "here")))
    recipe = Recipe("linear", sources, None, target="owner/name", provenance={"study": "x"})
    write_recipe(with_commits(recipe), tmp_path / "recipe.yaml")
    provenance = read_recipe(tmp_path / "recipe.yaml").provenance
    assert provenance == {"study": "x", "models_commit": {"owner/name": COMMIT}}
    local = Recipe("linear", sources[1:], None, target=str(tmp_path / "here"))
    assert with_commits(local) is local


def write_tree(snapshot: Path) -> None:
    """huggingface_hub's own list of what the repository holds."""
    from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

    entries = {
        path.name: TreeCacheEntry(path.stat().st_size, "0" * 40, None, None, None)
        for path in snapshot.iterdir()
    }
    write_tree_cache(str(snapshot.parents[1]), COMMIT, entries)


REPOSITORY = [
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "chat_template.jinja",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.safetensors",
    "original/consolidated.00.pth",
    "original/model.safetensors",
    "onnx/model.onnx",
    "model.fp16.safetensors",
    "tf_model.h5",
    "modeling_old.py",
    "README.md",
    "adapter_model.bin",
]


def asked_for(patterns: dict[str, Any]) -> set[str]:
    from huggingface_hub.utils._paths import filter_repo_objects

    kept = filter_repo_objects(
        REPOSITORY,
        allow_patterns=patterns["allow_patterns"],
        ignore_patterns=patterns["ignore_patterns"],
    )
    return set(kept)


def test_only_needed_files_and_no_pickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    def give(name: str, **options: Any) -> str:
        calls.append({"name": name, **options})
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", give)
    tiny_llama(0).save_pretrained(tmp_path)
    model_folder("owner/name@branch")
    assert (calls[0]["name"], calls[0]["revision"]) == ("owner/name", "branch")
    assert asked_for(calls[0]) == {
        *REPOSITORY[:7],
        "README.md",  # for its licence
        "pytorch_model.bin.index.json",  # a list of names, no pickle
    }
    assert download.source_folder("owner/name@branch", allow_pickle=True) == tmp_path
    assert len(calls) == 1  # it has safetensors: no pickle is asked for


def test_pickles_only_if_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, _ = pickled_llama(tmp_path / "published")
    calls: list[set[str]] = []

    def give(name: str, **options: Any) -> str:  # noqa: ARG001
        calls.append(asked_for(options))
        folder = tmp_path / f"cache-{len(calls)}"
        folder.mkdir()
        for path in source.iterdir():
            if path.suffix == ".json" or path.name in calls[-1]:
                (folder / path.name).write_bytes(path.read_bytes())
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", give)
    with pytest.raises(UserError, match="mergetuna convert owner/name OUT --allow-pickle"):
        model_folder("owner/name")
    convert("owner/name", tmp_path / "new", allow_pickle=True)
    assert "pytorch_model.bin" not in calls[0]
    assert {"pytorch_model.bin", "adapter_model.bin"} <= calls[1]
    assert json.loads((tmp_path / "new" / "config.json").read_text())["hidden_size"] == 16
