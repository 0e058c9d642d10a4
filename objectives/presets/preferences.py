"""Preference pairs with images: VL-RewardBench, RLAIF-V, Multimodal RewardBench."""

from collections.abc import Iterator

from objectives.categories import vl_rewardbench_category
from objectives.data import Example
from objectives.preset import Preset
from objectives.rows import Row
from objectives.rules import RowRule


def _vl_rewardbench(row: Row) -> Iterator[Example]:
    images = row.images("image")
    responses = row.texts("response")
    if len(responses) != 2:
        raise row.bad("response", "must be two texts", responses)
    ranking = row.numbers("human_ranking", 2)
    if sorted(ranking) != [0, 1]:
        raise row.bad("human_ranking", "must be [0, 1] or [1, 0]", row.value("human_ranking"))
    better = int(ranking[0])  # the index of the better response
    name = row.text("id")
    yield Example(
        id=name,
        question=row.question("query", images),
        images=images,
        texts={"chosen": responses[better], "rejected": responses[1 - better]},
        category=vl_rewardbench_category(name),
    )


def _rlaif_v(row: Row) -> Iterator[Example]:
    images = row.images("image")
    yield Example(
        id=row.optional("idx") or row.numbered(),
        question=row.question("question", images),
        images=images,
        texts={"chosen": row.text("chosen"), "rejected": row.text("rejected")},
        category="all",
        groups={"origin": row.optional("origin_dataset") or "unknown"},
    )


def _multimodal_rewardbench(row: Row) -> Iterator[Example]:
    images = row.images("Image")
    outputs = ("Output1", "Output2")
    better = row.text("Better")
    if better not in outputs:
        raise row.bad("Better", "must be 'Output1' or 'Output2'", better)
    worse = outputs[1 - outputs.index(better)]
    yield Example(
        id=row.text("ID"),
        question=row.question("Text", images),
        images=images,
        texts={"chosen": row.text(better), "rejected": row.text(worse)},
        category=row.text("Category"),
    )


_RLAIF_V = RowRule(
    ("question", "image", "chosen", "rejected"), ("idx", "origin_dataset"), _rlaif_v
)
_RLAIF_V_PAPER = "Yu et al., RLAIF-V, arXiv:2405.17220"

PRESETS = (
    Preset(
        name="vl_rewardbench",
        source="MMInstruction/VL-RewardBench:test",
        kind="preference",
        metric="pair_accuracy",
        rule=RowRule(("id", "query", "response", "image", "human_ranking"), (), _vl_rewardbench),
        citation="Li et al., VL-RewardBench, arXiv:2411.17451",
        split={"selection": "rest", "confirm": 0.5},
        search_on="rlaif_v_400",
        note="for test only: a third of it holds about 61 general items. Selection and confirm "
        "come from RLAIF-V, without the pairs that both hold.",
    ),
    Preset(
        name="rlaif_v_400",
        source="lca0503/rlaif_v_train_400:test",
        kind="preference",
        metric="pair_accuracy",
        rule=_RLAIF_V,
        citation=f"{_RLAIF_V_PAPER}; 400 pairs drawn by arXiv:2502.13487",
        split={"selection": 200, "confirm": 100, "test": "rest"},
    ),
    Preset(
        name="rlaif_v",
        source="openbmb/RLAIF-V-Dataset:train",
        kind="preference",
        metric="pair_accuracy",
        rule=_RLAIF_V,
        citation=_RLAIF_V_PAPER,
        settings={"stream": True, "limit": 2000},
        note="83,132 pairs; the first 2,000 are streamed unless `limit` says otherwise.",
    ),
    Preset(
        name="multimodal_rewardbench",
        source="",
        kind="preference",
        metric="pair_accuracy",
        rule=RowRule(
            ("ID", "Text", "Output1", "Output2", "Better", "Category"),
            ("Image",),
            _multimodal_rewardbench,
        ),
        citation="Yasunaga et al., Multimodal RewardBench, arXiv:2502.14191",
        note="not on the hub: `data: PATH/all_data.json` of the repository "
        "facebookresearch/multimodal_rewardbench, its pictures beside it.",
    ),
)
