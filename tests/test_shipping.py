"""Files sent to nodes that lack them: written once, checked, and the same scores from there."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from merge_ops.errors import UserError
from merge_ops.loading import load_model
from objectives.records import SPLITS
from studies.journal import read_trials
from studies.model_setup import load_models
from studies.objectives_setup import make_objectives
from studies.run import run_study
from studies.setup import identities, read_study
from studies.space_setup import make_space
from studies.statistics import attach, with_statistics
from studies.workers.block_plan import MAIN, block_plan
from studies.workers.protocol import Order
from studies.workers.relocation import moved
from studies.workers.setup import local_files
from studies.workers.shipped_cache import ShippedCache
from studies.workers.shipping import lacking, load, named_pictures, unload
from tests.adapters import factors_for, save_adapter

MakeStudy = Callable[..., Path]
MakeCache = Callable[..., ShippedCache]


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[MakeCache]:
    """Opens the node's folder as one more process does."""
    opened: list[ShippedCache] = []

    def make(disk: Callable[[Path], int] | None = None) -> ShippedCache:
        opened.append(ShippedCache(tmp_path / "cache", disk))
        return opened[-1]

    yield make
    for cache in opened:
        cache.close()


@dataclass(slots=True)
class Store:
    """An object store: what was put, and how often each object was taken."""

    objects: list[bytes] = field(default_factory=list)
    taken: Counter[int] = field(default_factory=Counter)

    def put(self, content: bytes) -> int:
        self.objects.append(content)
        return len(self.objects) - 1

    def get(self, reference: int) -> bytes:
        self.taken[reference] += 1
        return self.objects[reference]


def order_of(path: Path) -> Order:
    study = attach(read_study(path))
    plan = block_plan(study.config, make_objectives(study.config, study.folder))
    return Order(
        str(study.file.path.resolve()),
        str(study.out.resolve()),
        identities(study),
        "another host",  # the models are summed again
        plan.digest(),
        needs=local_files(study),
    )


def simple(folder: Path, **needs: str) -> Order:
    file = folder / "study.yaml"
    file.write_text("name: x\n" + "".join(f"{k}: {v}\n" for k, v in needs.items()))
    places = (str(file), *(str((folder / v).resolve()) for v in needs.values()))
    return Order(str(file), str(folder / "out"), {}, "here", "", needs=places)


def lora_study(make: MakeStudy, folder: Path) -> Path:
    base = load_model(str(folder / "models/base"), "float32")
    named = {"base_model_name_or_path": "demo/text", "r": 4, "lora_alpha": 4}
    save_adapter(folder / "models/own-lora", factors_for(base, "q_proj", rank=4), **named)
    experts = [{"model": "models/vlm"}, {"model": "models/base+models/own-lora"}]
    return make("reasoning", out="shipped-lora", experts=experts)


def statistics_study(make: MakeStudy, _folder: Path) -> Path:
    own = {"objective": {"vlm": "perception", "math": "reasoning"}, "items": 4}
    search = {"knobs": {"weight": [0.1, 1.0]}}
    changes = {"method": "fisher", "compare": False, "search": search, "statistics": own}
    path = make("reasoning", out="shipped-statistics", **changes)
    study = read_study(path)
    objectives = make_objectives(study.config, study.folder).main
    with_statistics(study, load_models(study), objectives, identities(study))
    return path


def views_study(make: MakeStudy, _folder: Path) -> Path:
    return make("skills", out="shipped-views")


def picture_study(make: MakeStudy, folder: Path) -> Path:
    """Rows that name files, in another folder than their own."""
    from datasets import Dataset, Image

    (folder / "pictures").mkdir(exist_ok=True)
    data = {}
    for split in SPLITS:
        table = Dataset.from_parquet(str(folder / f"data/reasoning-{split}.parquet"))
        lines = []
        for row in table.select(range(12)).cast_column("image", Image(decode=False)):
            picture = row.pop("image")["bytes"]
            (folder / f"pictures/{row['id']}.png").write_bytes(picture)
            lines.append(json.dumps({**row, "image": f"../pictures/{row['id']}.png"}) + "\n")
        (folder / f"data/named-{split}.jsonl").write_text("".join(lines))
        data[split] = f"data/named-{split}.jsonl"
    only = {"name": "named", "kind": "generation", "max_new_tokens": 4, "data": data}
    return make("reasoning", out="shipped-pictures", objectives=[only])


def plain_study(make: MakeStudy, _folder: Path) -> Path:
    return make("reasoning", out="shipped")


@pytest.mark.parametrize(
    "kind", [plain_study, lora_study, statistics_study, views_study, picture_study]
)
def test_a_worker_scores_the_same_from_shipped_files(
    small_study: MakeStudy,
    demo_folder: Path,
    caches: MakeCache,
    kind: Callable[[MakeStudy, Path], Path],
) -> None:
    from studies.workers.bench import open_bench

    path = kind(small_study, demo_folder)
    study, order, store = attach(read_study(path)), order_of(path), Store()
    objectives = make_objectives(study.config, study.folder)
    cargo = load(store.put, order, named_pictures(objectives.main))
    there, root = unload(store.get, cargo, caches())
    assert set(store.taken.values()) == {1}
    assert all(ref.startswith(root) for ref in there.identities)
    here, away = open_bench(order), open_bench(there, root)
    facts = here.facts()
    space = make_space(study, facts.layers, facts.merged_names)
    recipe = space.decode({d.name: d.default for d in space.dimensions()})
    pieces = block_plan(study.config, objectives).pieces(0, recipe, "selection", MAIN)
    assert {p.places for p in pieces} == (
        {(0,), (1,), (2,)} if kind is views_study else {pieces[0].places}
    )
    for piece in {p.places: p for p in pieces}.values():
        assert here.score(piece).scores == away.score(piece).scores
    assert len({str(c) for c in Path(root).rglob("*.png")}) == (36 if kind is picture_study else 0)


def test_what_is_lacking_and_what_is_taken_anyway(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    order = simple(tmp_path, source="a.json")
    assert lacking(order) == []
    assert lacking(replace(order, ship="always")) == list(order.needs)
    (tmp_path / "a.json").unlink()
    assert lacking(order) == [str(tmp_path / "a.json")]


def test_room_is_made_by_letting_go_of_what_nobody_has_open(
    tmp_path: Path, caches: MakeCache
) -> None:
    """Half of the disk at most; the study used longest ago goes first, never one in use."""
    disk = 4000
    folder = tmp_path / "cache"

    def free(_: Path) -> int:
        return disk - sum(p.stat().st_size for p in (folder / "files").iterdir())

    def send(name: str, cache: ShippedCache, *, close: bool = True) -> Path:
        (tmp_path / f"{name}.json").write_text(name * 800)
        store = Store()
        order = load(store.put, simple(tmp_path, source=f"{name}.json"))
        items = [i for i in order.cargo.items if i.path.endswith(".json")]
        _, root = unload(store.get, replace(order, cargo=replace(order.cargo, items=items)), cache)
        if close:
            cache.close()
        return Path(root)

    first = send("a", caches(free))
    second = send("b", caches(free), close=False)
    third = send("c", caches(free))
    assert not first.exists()
    assert second.is_dir()
    assert third.is_dir()
    fourth = send("d", caches(free), close=False)
    assert not third.exists()
    assert len(list((folder / "files").iterdir())) == 2
    assert len(list((folder / "studies").glob("*.lock"))) == 2
    with pytest.raises(UserError, match="was to be sent there, but its disk has"):
        send("e", caches(lambda _: 799))
    assert second.is_dir()
    assert fourth.is_dir()


def test_a_file_is_written_once_on_a_node_however_many_ask(
    tmp_path: Path, caches: MakeCache
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i in range(6):
        (data / f"{i}.jsonl").write_text(f"{i}\n" * 1000)
    (data / "code.py").write_text("not sent")
    store = Store()
    order = load(store.put, simple(tmp_path, source="data"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: unload(store.get, order, caches()), range(8)))
    assert set(store.taken.values()) == {1}
    assert len({root for _, root in found}) == 1
    there = Path(found[0][1] + str(data))
    assert sorted(p.name for p in there.iterdir()) == [f"{i}.jsonl" for i in range(6)]
    other = replace(
        order, file=str(tmp_path / "other.yaml"), cargo=replace(order.cargo, study="2")
    )
    _, second = unload(store.get, other, caches())
    assert set(store.taken.values()) == {1}, "another study, the same files"
    inodes = {Path(r + str(data / "0.jsonl")).stat().st_ino for r in (found[0][1], second)}
    assert len(inodes) == 1, "one copy in the page cache"


def test_all_ways_to_name_a_path_lead_to_the_shipped_one(
    tmp_path: Path, caches: MakeCache
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / "data" / name).write_text("{}\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "data" / "c.jsonl")
    named = {"a": "data/a.jsonl", "b": str(tmp_path / "data/b.jsonl"), "c": "link.jsonl"}
    order, store = simple(tmp_path, **named), Store()
    there, _ = unload(store.get, load(store.put, order), caches())
    content = read_study_data(Path(there.file))
    for value in (content["a"], content["b"], content["c"]):
        assert (Path(there.file).parent / value).is_file()
        assert not Path(value).is_absolute()


def read_study_data(path: Path) -> dict[str, str]:
    from merge_ops.yaml_file import read_yaml

    return read_yaml(path).data


def test_a_link_out_of_a_folder_and_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    data = tmp_path / "data"
    data.mkdir()
    (data / "x.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(UserError, match="it is a link out of"):
        load(Store().put, simple(tmp_path, source="data"))
    (tmp_path / "metric.py").write_text("")
    with pytest.raises(UserError, match="only data is sent"):
        load(Store().put, simple(tmp_path, source="metric.py"))


def test_what_was_damaged_on_its_way_is_not_kept(tmp_path: Path, caches: MakeCache) -> None:
    (tmp_path / "a.json").write_text("{}")
    store = Store()
    order = load(store.put, simple(tmp_path, source="a.json"))
    store.objects[:] = [b"{]" for _ in store.objects]
    with pytest.raises(UserError, match="another sha256"):
        unload(store.get, order, caches())
    assert not any((tmp_path / "cache" / "files").iterdir())


def test_hub_ids_stay_and_both_sides_of_an_adapter_move() -> None:
    assert moved("owner/name@main", "/c") == "owner/name@main"
    assert moved("/m/base+/a/lora", "/c") == "/c/m/base+/c/a/lora"
    assert moved("owner/name+/a/lora", "/c") == "owner/name+/c/a/lora"
    assert moved("target", "/c") == "target"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not find_spec("ray"), reason="the extra ray is not installed")
def test_a_node_that_sees_no_path_scores_the_same(small_study: MakeStudy, tmp_path: Path) -> None:
    settings = {"trials": 6, "racing": {"block": 16}, "compare": False, "sampler": "random"}
    alone = read_study(small_study("reasoning", out="seen", **settings))
    run_study(alone)
    path = small_study("reasoning", out="unseen", **settings)
    code = f"import tests.shipping; tests.shipping.main({str(path)!r}, {str(tmp_path)!r})"
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("the study's files are sent there") == 1
    keys = ("digest", "scores")
    found = [
        sorted(str((t.params, t.value, [t.user_attrs[k] for k in keys])) for t in read_trials(out))
        for out in (alone.out, read_study(path).out)
    ]
    assert found[0] == found[1]
    assert list((tmp_path / "mergetuna" / "shipped" / "files").iterdir())
