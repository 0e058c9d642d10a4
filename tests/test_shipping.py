"""Files sent to nodes that lack them: written once, checked, and the same scores from there."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Setting
from studies.journal import read_trials
from studies.objectives_setup import make_objectives
from studies.run import run_study
from studies.setup import identities, read_study
from studies.workers.block_plan import MAIN, block_plan
from studies.workers.protocol import Order
from studies.workers.relocation import moved
from studies.workers.setup import local_files
from studies.workers.shipping import ALWAYS, lacking, load, unload

MakeStudy = Callable[..., Path]


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
    study = read_study(path)
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


def test_a_worker_scores_the_same_from_shipped_files(
    small_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.workers.bench import open_bench

    path = small_study("reasoning", out="shipped")
    study, order, store = read_study(path), order_of(path), Store()
    assert lacking(order.needs) == []
    monkeypatch.setenv(ALWAYS, "always")
    assert lacking(order.needs) == list(order.needs)
    cargo = load(store.put, order)
    there, root = unload(store.get, cargo, tmp_path / "cache")
    assert set(store.taken.values()) == {1}
    assert all(ref.startswith(root) for ref in there.identities)
    plan = block_plan(study.config, make_objectives(study.config, study.folder))
    piece = plan.pieces(0, study.template, "selection", MAIN)[0]
    weights = tuple(replace(s, parameters=_weight()) for s in piece.recipe.models)
    piece = replace(piece, recipe=replace(piece.recipe, models=weights))
    here, away = open_bench(order_of(path)), open_bench(there, root)
    assert here.score(piece).scores == away.score(piece).scores


def _weight() -> dict[str, Setting]:
    return {"weight": (Entry(None, 0.4),)}


def test_a_file_is_written_once_on_a_node_however_many_ask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i in range(6):
        (data / f"{i}.jsonl").write_text(f"{i}\n" * 1000)
    (data / "code.py").write_text("not sent")
    store = Store()
    order = load(store.put, simple(tmp_path, source="data"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: unload(store.get, order, tmp_path / "cache"), range(8)))
    assert set(store.taken.values()) == {1}
    assert len({root for _, root in found}) == 1
    there = Path(found[0][1] + str(data))
    assert sorted(p.name for p in there.iterdir()) == [f"{i}.jsonl" for i in range(6)]
    other = replace(
        order, file=str(tmp_path / "other.yaml"), cargo=replace(order.cargo, study="2")
    )
    _, second = unload(store.get, other, tmp_path / "cache")
    assert set(store.taken.values()) == {1}, "another study, the same files"
    inodes = {Path(r + str(data / "0.jsonl")).stat().st_ino for r in (found[0][1], second)}
    assert len(inodes) == 1, "one copy in the page cache"


def test_all_ways_to_name_a_path_lead_to_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / "data" / name).write_text("{}\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "data" / "c.jsonl")
    named = {"a": "data/a.jsonl", "b": str(tmp_path / "data/b.jsonl"), "c": "link.jsonl"}
    order, store = simple(tmp_path, **named), Store()
    there, _ = unload(store.get, load(store.put, order), tmp_path / "cache")
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


def test_what_was_damaged_on_its_way_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    store = Store()
    order = load(store.put, simple(tmp_path, source="a.json"))
    store.objects[:] = [b"{]" for _ in store.objects]
    with pytest.raises(UserError, match="another sha256"):
        unload(store.get, order, tmp_path / "cache")
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
