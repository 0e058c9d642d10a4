"""Damaged model folders: refused in one line that names them, or merged exactly as they say."""

import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from shutil import rmtree
from typing import Any

import pytest
import torch
from torch import Tensor

from merge_ops import checkpoint, opening
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.recipe import Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.tokens import tokens_of
from studies.console import quiet_transformers
from tests.families import FAMILIES, build
from tests.fuzz_mutations import Files, mutate, write_files
from tests.fuzz_oracle import WrongError, stored, structure, tokens
from tests.tiny import save, tiny_llama

SLOWEST, LARGEST = 60.0, 1 << 20
"""Seconds that one case may take on a busy machine; KiB by which the process may grow in all."""

_TEXT = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "head_dim": None,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": None,
         "attention_bias": False, "mlp_bias": False}  # fmt: skip
_TOWER = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
          "image_size": 224, "patch_size": 32, "num_channels": 3}  # fmt: skip
_LLAMA = {"": {**_TEXT, "model_type": None, "tie_word_embeddings": False}}
_LLAVA = {"": {"model_type": None}, "text_config": _TEXT, "vision_config": _TOWER}


@dataclass(frozen=True, slots=True)
class Subject:
    """A sound model that is damaged again and again.

    Attributes:
        files: of its folder.
        reference: a sound model of the same class, with other weights.
        known: what of its config decides its tensors.
        keys: names on disk by canonical name.
        own: the reference's weights by canonical name.
    """

    files: Files
    reference: str
    known: Mapping[str, Any]
    keys: Mapping[str, str]
    own: Mapping[str, Tensor]


@dataclass(slots=True)
class Tally:
    """What came of all cases."""

    said: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def text(self) -> str:
        """A report in lines."""
        total = self.accepted.total() + self.refused.total() + len(self.failures)
        lines = [
            f"{total} cases: {self.refused.total()} refused, {self.accepted.total()} accepted as "
            f"they are, {len(self.failures)} failures; slowest {self.slowest:.1f} s",
            *(f"  {kind}: {self.refused[kind]} refused, {self.accepted[kind]} accepted"
              for kind in sorted(self.refused | self.accepted)),
            *(f"  {count:5d} x {said}" for said, count in self.said.most_common(40)),
        ]  # fmt: skip
        return "\n".join([*lines, *self.failures[:40]])


def read_files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_subject(
    root: Path, models: tuple[Any, Any], known: Mapping[str, Any], shard: str
) -> Subject:
    """Save two models of one class; the second, in shards of that size, is to be damaged."""
    save(models[0], root / "reference")
    save(models[1], root / "sound")
    if shard:
        (root / "sound" / "model.safetensors").unlink()
        models[1].save_pretrained(root / "sound", max_shard_size=shard)
    recipe = Recipe("passthrough", (Source(str(root / "sound")),), target=str(root / "reference"))
    opened = opening.open_models(recipe)
    places = opened.checkpoints[str(root / "sound")].places
    keys = {
        t.name: places[opened.own_name(str(root / "sound"), t.name)].key for t in opened.tensors
    }
    own = {
        name: opened.target.read(opened.own_name(str(root / "reference"), name)) for name in keys
    }
    files = read_files(root / "sound")
    return Subject(files, str(root / "reference"), known, keys, own)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """One file, several, tied embeddings, and a vision-language model."""
    root = tmp_path_factory.mktemp("subjects")
    quiet_transformers()

    def llamas(*, tied: bool = False) -> tuple[Any, Any]:
        return tuple(tiny_llama(seed, layers=1, tied=tied) for seed in (0, 1))  # type: ignore[return-value]

    family = FAMILIES["llava"]
    return [
        make_subject(root / "whole", llamas(), _LLAMA, ""),
        make_subject(root / "shards", llamas(), _LLAMA, "4KB"),
        make_subject(root / "tied", llamas(tied=True), _LLAMA, ""),
        make_subject(root / "llava", (build(family()), build(family(), seed=5)), _LLAVA, ""),
    ]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch, subjects: list[Subject]) -> Iterator[None]:
    """Sound models are opened once; nothing is kept of damaged ones."""
    sound = {s.reference: checkpoint.open_checkpoint(s.reference, "float32") for s in subjects}

    read = checkpoint.open_checkpoint

    def opened(reference: str, dtype: str | None) -> checkpoint.Checkpoint:
        return sound.get(reference) or read(reference, dtype)

    monkeypatch.setattr(checkpoint, "open_checkpoint", opened)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    model_folder.cache_clear()
    tokens_of.cache_clear()


def run_case(subjects: list[Subject], seed: int, root: Path, tally: Tally) -> None:
    """Damage one model, merge it, and judge what came of it."""
    rng = Random(seed)
    subject = rng.choice(subjects)
    kind, files = mutate(subject.files, rng)
    folder = root / f"case{seed}"
    write_files(folder, files)
    begun = time.monotonic()
    live = kind.startswith("config") and rng.random() < 0.3
    models = (str(folder), subject.reference) if live else (subject.reference, str(folder))
    try:
        problem = merge(subject, files, *models, live=live)
        if problem:
            tally.failures.append(f"SILENT {seed} {kind}: {problem}")
        else:
            tally.accepted[kind] += 1
    except UserError as error:
        text = str(error)
        if "\n" in text or folder.name not in text or len(text) < 20:
            tally.failures.append(f"UNCLEAR {seed} {kind}: {text!r}")
        else:
            tally.refused[kind] += 1
            said = text.split(folder.name, 1)[1][:60].lstrip("/")
            tally.said["".join("#" if c.isdigit() else c for c in said)] += 1
    except Exception:
        last = traceback.format_exc().strip().splitlines()
        tally.failures.append(f"TRACEBACK {seed} {kind}: {last[-1][:200]} {last[-3].strip()}")
    tally.slowest = max(tally.slowest, time.monotonic() - begun)
    rmtree(folder)
    model_folder.cache_clear()
    tokens_of.cache_clear()


def merge(subject: Subject, files: Files, target: str, expert: str, *, live: bool) -> str:
    """Give the target all of the expert; why that should not have gone through, or nothing."""
    notes: list[str] = []
    recipe = Recipe("passthrough", (Source(expert),), dtype="float32", target=target)
    opened = opening.open_models(recipe)
    named = {tensor.name for tensor in opened.tensors}
    resident = load_resident(recipe, Runtime(kernels="eager", report=notes.append))
    resident.become(recipe)
    try:
        content = {disk_name(name, subject): tensor for name, tensor in stored(files).items()}
        if structure(files, subject.known) != structure(subject.files, subject.known):
            return "the config describes another model"
        if named != subject.keys.keys():
            return f"{sorted(named ^ subject.keys.keys())[:3]} are not merged"
        agreed = agreeing(subject, files)
    except WrongError as error:
        return str(error)
    extra = content.keys() - set(subject.keys.values())
    extra = {name for name in extra if not is_tied_head(name, subject)}
    if extra and not any("left out" in note for note in notes):
        return f"nothing is said of {sorted(extra)[:3]}"
    return differing(subject, content, resident.parameters, agreed, live=live)


def disk_name(name: str, subject: Subject) -> str:
    """As the sound model has it: transformers takes names with one `model.` more, too."""
    short = name.removeprefix("model.")
    return short if name not in subject.keys.values() and short in subject.keys.values() else name


def is_tied_head(name: str, subject: Subject) -> bool:
    """Whether a file may hold it beside the embeddings, which were compared."""
    return name == "lm_head.weight" and "lm_head.weight" not in subject.keys


def agreeing(subject: Subject, files: Files) -> list[int]:
    """Ids of one meaning in both."""
    ours, theirs = tokens(files), tokens(subject.files)
    size = subject.own["model.embed_tokens.weight"].shape[0]
    return [i for i in range(size) if ours.get(i) == theirs.get(i)]


def differing(
    subject: Subject,
    content: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    agreed: list[int],
    *,
    live: bool,
) -> str:
    """Which tensor is not what the folder says, or nothing."""
    for name, key in subject.keys.items():
        given, kept = content[key], subject.own[name]
        expected = kept if live else given
        if not live and name in {"model.embed_tokens.weight", "lm_head.weight"}:
            expected = kept.clone()
            expected[agreed] = given[agreed]
        got = found[name].detach()
        same = got.shape == expected.shape and got.view(torch.int32).equal(
            expected.contiguous().view(torch.int32)
        )
        if not same:
            return f"{name} is not what the file holds"
    return ""


def fuzz(subjects: list[Subject], root: Path, seeds: range) -> None:
    """Run these cases, print what came of them, and fail with all that went wrong."""
    tally = Tally()
    before = getrusage(RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        run_case(subjects, seed, root, tally)
    grown = getrusage(RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"{tally.text()}\nmemory grew by {grown >> 10} MiB\n")
    assert not tally.failures, tally.text()
    harmless = [kind for kind in tally.refused if kind.endswith((": reorder", ": stray"))]
    assert not harmless
    assert tally.slowest < SLOWEST
    assert grown < LARGEST
    assert tally.accepted.total()
    assert tally.refused.total()


@pytest.mark.usefixtures("fast")
def test_a_few_hundred_damaged_folders(subjects: list[Subject], tmp_path: Path) -> None:
    fuzz(subjects, tmp_path, range(150))


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.usefixtures("fast")
def test_ten_thousand_damaged_folders(subjects: list[Subject], tmp_path: Path) -> None:
    fuzz(subjects, tmp_path, range(1000, 11000))
