"""Splits: drawn by category, the same for one seed, and without a common example."""

import io
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.images import Pictures, decode, fingerprint, read_picture
from objectives.quotas import split_sizes, stratified
from objectives.records import SPLITS
from objectives.splitting import Division, Pool, divide
from objectives.twins import NEAR, groups, marks, why
from tests.published import encoded, picture


def example(
    name: str, seed: int | None = None, question: str = "", category: str = "all", **lists: Any
) -> Example:
    images = () if seed is None else Pictures([read_picture(encoded(picture(seed)))])
    return Example(name, question or f"what of {name}?", images, {}, category, lists)


def ids(division: Division, objective: str = "o") -> dict[str, list[str]]:
    return {s: [e.id for e in division.splits[objective][s]] for s in SPLITS}


def words(count: int, categories: Sequence[str] = ("all",)) -> list[Example]:
    return [example(f"e{i}", category=categories[i % len(categories)]) for i in range(count)]


def test_sizes_are_kept_and_categories_share_them() -> None:
    free = [example(f"e{i}", category="rare" if i % 10 == 0 else "often") for i in range(100)]
    division = divide(
        [Pool("o", free=free, sizes={"selection": 40, "confirm": 20, "test": "rest"})]
    )
    found = division.splits["o"]
    assert {s: len(found[s]) for s in SPLITS} == {"selection": 40, "confirm": 20, "test": 40}
    for split, rare in (("selection", 4), ("confirm", 2), ("test", 4)):
        assert Counter(e.category for e in found[split])["rare"] == rare  # type: ignore[index]
    order = [e.id for e in found["selection"]]
    assert order == [e.id for e in free if e.id in set(order)]  # the order of the data
    assert len({name for names in ids(division).values() for name in names}) == 100


def test_one_seed_gives_one_division_and_more_data_hardly_moves_it() -> None:
    def drawn(count: int, seed: int) -> list[str]:
        sizes = {"selection": 0.5, "confirm": 0.25, "test": "rest"}
        return ids(divide([Pool("o", free=words(count), sizes=sizes, seed=seed)]))["selection"]  # type: ignore[arg-type]

    assert drawn(80, 0) == drawn(80, 0) != drawn(80, 1)
    assert len(set(drawn(80, 0)) - set(drawn(88, 0))) <= 6


def test_questions_about_one_picture_stay_together() -> None:
    free = [example(f"e{i}", seed=i // 4) for i in range(40)]
    found = ids(
        divide([Pool("o", free=free, sizes={"selection": 12, "confirm": 8, "test": "rest"})])
    )
    pictures = {s: {int(name[1:]) // 4 for name in names} for s, names in found.items()}
    assert not any(a & b for a, b in combinations(pictures.values(), 2))
    assert [len(names) for names in found.values()] == [12, 8, 20]


def test_rlaif_v_pairs_inside_vl_rewardbench_are_dropped_from_selection_and_said() -> None:
    bench = [example(f"RLAIF-V-{i}", seed=i) for i in range(6)]
    pairs = [example(str(i), seed=i, question=f"other words {i}") for i in range(4, 24)]
    pool = Pool(
        "vl",
        fixed={"test": bench},
        free=pairs,
        sizes={"selection": "rest", "confirm": 0.5},
        within={"test": "vl_rewardbench", "": "rlaif_v_400"},
    )
    division = divide([pool])
    assert {s: len(names) for s, names in ids(division, "vl").items()} == {
        "selection": 9,
        "confirm": 9,
        "test": 6,
    }
    assert [(d.id, d.rule, d.twin) for d in division.dropped] == [
        ("4", "image", ("vl", "test", "RLAIF-V-4")),
        ("5", "image", ("vl", "test", "RLAIF-V-5")),
    ]
    assert division.notes() == [
        "vl: left out 2 of the examples to draw from: test of vl holds the same (by image)"
    ]


def test_test_keeps_what_explicit_splits_share_across_objectives() -> None:
    one = Pool(
        "a",
        fixed={
            s: [example(f"{s}{i}", seed=10 * k + i) for i in range(3)]
            for k, s in enumerate(SPLITS)
        },
    )
    other = Pool(
        "b",
        fixed={
            "selection": [example("x", seed=22), example("y", seed=50)],
            "confirm": [example("z", seed=51)],
            "test": [example("w", seed=0)],
        },
    )
    division = divide([one, other])
    assert ids(division, "a")["selection"] == ["selection1", "selection2"]  # b's test holds 0
    assert ids(division, "b")["selection"] == ["y"]  # a's test holds 22
    assert {(d.objective, d.id, d.twin) for d in division.dropped} == {
        ("a", "selection0", ("b", "test", "w")),
        ("b", "x", ("a", "test", "test2")),
    }


def test_one_source_gives_two_objectives_the_same_split_for_the_same_picture() -> None:
    pools = [
        Pool(
            name,
            free=[example(f"{name}{i}", seed=i) for i in range(20)],
            sizes={"selection": 8, "confirm": 4, "test": "rest"},
            seed=k,
        )
        for k, name in enumerate("ab")
    ]
    division = divide(pools)
    for mine, theirs in combinations(SPLITS, 2):
        a = {name[1:] for name in ids(division, "a")[mine]}
        assert not a & {name[1:] for name in ids(division, "b")[theirs]}


def test_a_split_that_others_hold_whole_is_refused() -> None:
    same = [example(f"e{i}", seed=i) for i in range(2)]
    pool = Pool("o", fixed={"selection": [example("s")], "confirm": same, "test": same})
    with pytest.raises(ObjectiveError, match="o: the splits must not share examples, but confirm"):
        divide([pool])


def photo(seed: int) -> Image.Image:
    image = picture(seed, 320)
    ImageDraw.Draw(image).rectangle((40 + seed, 40, 120, 90), fill="white")
    return image


def again(image: Image.Image, *, quality: int = 60, scale: float = 1.0) -> Image.Image:
    size = round(image.width * scale), round(image.height * scale)
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    return decode(stream.getvalue())


@pytest.mark.parametrize(("quality", "scale"), [(90, 1.0), (30, 1.0), (60, 0.5), (60, 1.5)])
def test_a_picture_scaled_or_encoded_anew_is_known_again(quality: int, scale: float) -> None:
    for seed in range(4):
        image = photo(seed)
        copy = again(image, quality=quality, scale=scale)
        one, two = (
            marks(Example(name, "what ?", (shown,), {}, "all"), "d")
            for name, shown in (("a", image), ("b", copy))
        )
        assert why(one, two) == "near image"
        assert len(set(groups([one, two]))) == 1
        other = marks(Example("c", "who ?", (copy,), {}, "all"), "d")
        assert why(one, other) is None  # another question about what may be another picture


def test_unrelated_pictures_are_not_near() -> None:
    shapes = [fingerprint(picture(seed)).shape for seed in range(40)]
    assert min((a ^ b).bit_count() for a, b in combinations(shapes, 2)) > NEAR


def test_scenes_of_one_layout_with_other_things_in_it_are_not_the_same() -> None:
    scenes = []
    for digit in "38":
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle((4, 4, 60, 60), outline="black", fill="navy")
        ImageDraw.Draw(image).text((28, 26), digit, fill="white", font_size=20)
        scenes.append(marks(Example(digit, "which ?", (image,), {}, "all"), "d"))
    assert (scenes[0].shapes[0] ^ scenes[1].shapes[0]).bit_count() <= 2 * NEAR
    assert why(*scenes) is None


def test_a_blank_picture_ties_nothing_together_but_its_question_does() -> None:
    def blank(name: str, question: str) -> Any:
        return marks(Example(name, question, (Image.new("RGB", (9, 9)),), {}, "all"), "d")

    assert why(blank("a", "one ?"), blank("b", "two ?")) is None
    assert why(blank("a", "one  ?"), blank("b", "One ?")) == "question"


def test_the_same_question_with_other_options_is_another() -> None:
    one, two = (
        marks(example(name, question="which one is right ?", options=(name, "z")), "d")
        for name in "ab"
    )
    assert why(one, two) is None
    assert why(one, one) == "id"


def test_ids_are_compared_within_one_data_set_only() -> None:
    one, two = marks(example("1"), "textvqa"), marks(example("1", question="other"), "mathvista")
    assert why(one, two) is None


@pytest.mark.parametrize(
    "sizes",
    [{"selection": 8, "test": 3}, {"selection": 10, "test": "rest"}, {"selection": 0.01}],
)
def test_sizes_that_cannot_be_are_refused(sizes: Any) -> None:
    with pytest.raises(ObjectiveError, match="must be drawn from 10 examples"):
        split_sizes("o", sizes, 10)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=1),
    st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3),
)
def test_quotas_add_up(counts: dict[str, int], weights: list[float]) -> None:
    total = sum(counts.values())
    sizes = {
        s: int(total * w / (sum(weights) + 1e-9)) for s, w in zip(SPLITS, weights, strict=True)
    }
    quotas = stratified(sizes, counts)
    for split, size in sizes.items():
        assert sum(quotas[c][split] for c in counts) == size
    for category, count in counts.items():
        assert sum(quotas[category].values()) <= count


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=12, max_size=40),
    st.integers(0, 5),
)
def test_no_two_splits_share_a_mark(rows: list[tuple[int, int]], seed: int) -> None:
    free = [example(f"e{i}", question=f"q{q}", category=str(c)) for i, (q, c) in enumerate(rows)]
    pool = Pool(
        "o", free=free, sizes={"selection": 0.4, "confirm": 0.3, "test": "rest"}, seed=seed
    )
    try:
        found = divide([pool]).splits["o"]
    except ObjectiveError:
        return
    asked = {s: {e.question for e in found[s]} for s in SPLITS}
    assert not any(a & b for a, b in combinations(asked.values(), 2))
