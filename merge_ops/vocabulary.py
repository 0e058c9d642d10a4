"""Which rows of embeddings and head stand for the same token in all models of a recipe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.tokens import tokens_of

_SHOWN = 3  # ranges of ids that are written out


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a tensor that are merged; all methods see them as the whole tensor.

    Attributes:
        index: ascending, int64, (n,).
    """

    index: Tensor

    @property
    def neighbours(self) -> bool:
        """Whether no row lies between them, so that they are a view of the tensor."""
        return int(self.index[-1] - self.index[0]) == len(self.index) - 1

    def shape(self, whole: Sequence[int]) -> torch.Size:
        """Of the rows of a tensor of shape `whole`."""
        return torch.Size([len(self.index), *whole[1:]])

    def of(self, tensor: Tensor) -> Tensor:
        """These rows: a view if they are neighbours, else a copy."""
        if self.neighbours:
            return tensor[int(self.index[0]) : int(self.index[-1]) + 1]
        return tensor[self.index.to(tensor.device)]

    def put(self, out: Tensor, rows: Tensor) -> None:
        """Write these rows of `out`, and no other."""
        out.index_copy_(0, self.index.to(out.device), rows.to(out.dtype))


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the tokenizers of several models say about the rows of one tensor.

    Attributes:
        rows: those that are merged, or None for the whole tensor of every model.
        text: how many that are, and which are kept, for people.
    """

    rows: Rows | None
    text: str


def agree(sizes: Mapping[str, int]) -> Agreement:
    """Compare the tokens of several models id by id.

    An id agrees if it is the same token in all, added tokens included, or, among rows that all
    have, in none: vocabularies are padded. The other rows are kept from the target.

    Args:
        sizes: rows of the tensor, by reference; the target first.

    Raises:
        UserError: a model has no tokenizer, or no token is the same in all.
    """
    vocabularies = {reference: _tokens(reference) for reference in sizes}
    target, *others = vocabularies.values()
    total, common = next(iter(sizes.values())), min(sizes.values())
    agreed = [i for i in range(common) if all(o.get(i) == target.get(i) for o in others)]
    if not any(i in target for i in agreed):
        raise UserError(
            f"rows of embeddings and head are merged where tokenizers agree, but those of "
            f"{', '.join(sizes)} agree on no id ({_example(0, vocabularies)}); add embed_tokens "
            "and lm_head to mergetuna.exclude to keep the target's."
        )
    if len(agreed) == max(sizes.values()):
        return Agreement(None, f"all {total:,} rows are merged; the tokenizers agree id by id")
    rows = Rows(torch.tensor(agreed, dtype=torch.int64))
    left = sorted(set(range(total)).difference(agreed))
    if not left:
        return Agreement(
            rows, f"all {total:,} rows are merged; further rows of experts go nowhere"
        )
    text = (
        f"{len(agreed):,} of {total:,} rows are merged; {len(left):,} kept from the target: "
        f"ids {_ranges(left)} ({_example(left[0], vocabularies)})"
    )
    return Agreement(rows, text)


def summary(texts: Mapping[str, str]) -> list[str]:
    """A line for each different text, with the names of the tensors that it holds for."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name.removeprefix("model.").removesuffix(".weight"))
    return [f"{' and '.join(group)}: {text}" for text, group in names.items()]


def _tokens(reference: str) -> Mapping[int, str]:
    found = tokens_of(reference)
    if not found:
        raise UserError(
            f"{reference}: embeddings and head are merged where tokenizers agree, but the folder "
            "holds no tokenizer; put its tokenizer.json there, or add embed_tokens and lm_head to "
            "mergetuna.exclude to keep the target's."
        )
    return found


def _example(i: int, vocabularies: Mapping[str, Mapping[int, str]]) -> str:
    """What one id is in each model; the models of one meaning together."""
    meanings: dict[str, list[str]] = {}
    for reference, tokens in vocabularies.items():
        word = f"{tokens[i]!r:.40}" if i in tokens else "no token"
        meanings.setdefault(word, []).append(Path(reference).name)
    told = [f"{word} in {', '.join(names)}" for word, names in meanings.items()]
    return f"{i} is {' and '.join(told)}"


def _ranges(ids: Sequence[int]) -> str:
    """Ids in short: "3, 32000-32063"; the first few ranges."""
    found = [f"{a}" if a == b else f"{a}-{b}" for a, b in _runs(ids)]
    return ", ".join(found[:_SHOWN]) + (" ..." if len(found) > _SHOWN else "")


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours."""
    start = ids[0]
    for a, b in pairwise(ids):
        if b != a + 1:
            yield start, a
            start = b
    yield start, ids[-1]
