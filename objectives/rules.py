"""How a row becomes examples: the columns it takes and the function that reads them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from objectives.data import Example
from objectives.rows import Row
from objectives.tables import Join


@dataclass(frozen=True, slots=True)
class RowRule:
    """How a row becomes examples.

    Attributes:
        required: columns that the data must have.
        optional: columns that are used where they are.
        examples: reads one row; none where the row is not part of the task.
        join: where the pictures are, if a data set keeps them apart.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    examples: Callable[[Row], Iterable[Example]]
    join: Join | None = None

    def columns(self) -> tuple[str, ...]:
        """All that it may read."""
        return self.required + self.optional


@dataclass(frozen=True, slots=True)
class Roles:
    """What an objective of a kind needs of an example, beside id and question.

    Attributes:
        texts: single texts.
        lists: lists of texts.
        numbers: lists of numbers.
    """

    texts: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


def plain_rule(roles: Roles) -> RowRule:
    """The rule for data whose columns are named after the roles; `image` and `category` may lack.

    `image` may hold several pictures; further ones may stand in `image_1` to `image_7`.
    """
    images = ("image", *(f"image_{i}" for i in range(1, 8)))

    def examples(row: Row) -> Iterator[Example]:
        yield Example(
            id=row.text("id"),
            question=row.text("question"),
            images=row.images(*images),
            texts={role: row.text(role) for role in roles.texts},
            category=row.optional("category") or "all",
            lists={role: row.literal_texts(role) for role in roles.lists},
            numbers={role: row.numbers(role) for role in roles.numbers},
        )

    required = ("id", "question", *roles.texts, *roles.lists, *roles.numbers)
    return RowRule(required, (*images, "category"), examples)
