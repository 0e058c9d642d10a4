"""Study and recipe files that are wrong or mean harm: made from the schema, and by hand."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_MARK = "@MARK@"

STUDY: dict[str, Any] = {
    "name": "s",
    "target": "models/vlm",
    "base": "models/base",
    "experts": [{"model": "models/vlm", "name": "vlm"}, {"model": "models/math", "name": "math"}],
    "method": "task_arithmetic",
    "parameters": {"lambda": 0.5},
    "search": {
        "knobs": {"weight": {"range": [0.0, 1.5], "log": False, "coupled": "free"}},
        "choices": {"normalize": [True, False]},
        "bands": 6,
        "modules": ["attention", "mlp"],
        "freeze": {"weight.vlm.0.mlp": 1.0},
        "refine": {"start": 1, "every": 20},
    },
    "exclude": ["embed_tokens"],
    "objectives": [
        {
            "name": "o",
            "kind": "generation",
            "data": "data/o.parquet",
            "split": {"selection": 4, "confirm": 0.5, "test": "rest", "seed": 1},
            "weight": 0.5,
            "at_least": "parent - 0.02",
            "parent": "math",
            "average": "micro",
            "columns": {"question": "q"},
            "limit": 40,
            "sample": "head",
            "stream": False,
            "on_bad": "error",
            "suffix": "",
            "max_new_tokens": 16,
            "constrained_to": ["0"],
        },
        {
            "name": "p",
            "kind": "generation",
            "data": "data/p.parquet",
            "split": {"selection": 4, "confirm": 4, "test": 4},
        },
    ],
    "sampler": "tpe",
    "warm_start": ["linear_grid"],
    "budget": {"trials": 9, "timeout": "8h", "items": 4000, "target": 0.9, "patience": 30},
    "confirm_top": 8,
    "compare": True,
    "seed": 0,
    "out": "runs/s",
    "tracking": {"enabled": True, "uri": "http://127.0.0.1:5000"},
    "runtime": {
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "kernels": "auto",
        "memory_gb": 20.0,
        "tokens_per_batch": 64,
        "cache_gb": 4.0,
        "template": "target",
        "disk_wait": "1h",
    },
}
"""A study that names nearly every key, and is valid."""

SMALL: dict[str, Any] = {
    **{key: STUDY[key] for key in ("name", "target", "base", "experts", "method")},
    "search": {"knobs": {"weight": [0.0, 1.5]}},
    "objectives": [
        {"name": "o", "kind": "generation", "data": "data/o.parquet", "split": {"test": 4}}
    ],
    "warm_start": ["linear_grid"],
}
"""A study of few keys, which is read sooner."""

FRONT: dict[str, Any] = {
    **SMALL,
    "objectives": [STUDY["objectives"][1], {**STUDY["objectives"][1], "name": "q"}],
    "front": ["p", "q"],
    "sampler": "nsga2",
}
"""A study of what `refine` cannot stand beside."""

RECIPE: dict[str, Any] = {
    "merge_method": "ties",
    "base_model": "models/base",
    "models": [
        {"model": "models/vlm", "parameters": {"weight": 0.5, "density": [0.1, 0.9]}},
        {"model": "models/math", "parameters": {"weight": [{"filter": "mlp", "value": 1.0}]}},
    ],
    "parameters": {"lambda": 1.0, "normalize": True},
    "dtype": "float32",
    "out_dtype": "bfloat16",
    "mergetuna": {
        "version": 1,
        "target": "models/vlm",
        "exclude": ["embed_tokens"],
        "template": "target",
        "seed": 3,
        "tasks": {},
    },
}
"""A recipe that names nearly every key, and is valid."""

WHOLE = (("study", STUDY), ("study", FRONT), ("recipe", RECIPE))
"""Files that are valid, by kind."""

NUMBERS = ["'3'", "[3]", "{a: 3}", "true", ".nan", "-.inf", "1e999", "9" * 5000, "-1", "!!foo 3"]
WRONG = {
    bool: ["1", "'true'", "[]", "null", "yes", ".nan"],
    int: [*NUMBERS, "1.5", "0x"],
    float: NUMBERS,
    str: ["3", "true", "[a]", "{a: b}", ".nan", '"a\\0b"', '"\\uD800"', "!!python/name:os.x a"],
    list: ["3", "text", "{a: 1}", "[[]]", "[null]", "[{}]"],
    dict: ["3", "text", "[1]", "{zzz: 1}", "{1: 2}"],
}
"""Values that nothing of a type may have, as YAML."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file.

    Attributes:
        name: of the case.
        kind: "study" or "recipe".
        content: of the file.
        line: where the first problem must be said to stand, or None.
    """

    name: str
    kind: str
    content: bytes
    line: int | None = None


def dumped(content: Any) -> str:
    """JSON, which is YAML, with one key to a line."""
    return json.dumps(content, indent=1)


def _leaves(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value with its place, containers included, the whole excluded."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*place, key), value
        if isinstance(value, dict | list):
            yield from _leaves(value, (*place, key))


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        content = content[step]
    return content


def _marked(whole: Any, place: tuple[Any, ...], value: str) -> tuple[str, int]:
    """The file with `value` at `place`, and the line of it."""
    changed = deepcopy(whole)
    _at(changed, place[:-1])[place[-1]] = _MARK
    text = dumped(changed)
    return text.replace(f'"{_MARK}"', value), text[: text.index(_MARK)].count("\n") + 1


def values(kind: str, whole: Any, free: dict[str, set[str]]) -> Iterator[Hostile]:
    """Every value of the file replaced by what its type cannot be, but for what is `free`."""
    for place, value in _leaves(whole):
        dotted = ".".join(map(str, place))
        for wrong in WRONG[type(value)]:
            if wrong not in free.get(dotted, ()):
                text, line = _marked(whole, place, wrong)
                yield Hostile(f"{kind}: {dotted}: {wrong[:20]}", kind, text.encode(), line)


def keys(kind: str, whole: Any, open_places: set[str]) -> Iterator[Hostile]:
    """Every mapping with a key more, in other case, twice, or without one that it needs."""
    for place, value in [((), whole), *_leaves(whole)]:
        if not isinstance(value, dict) or ".".join(map(str, place)) in open_places or not value:
            continue
        first = next(iter(value))
        for new in ("unknown", first.upper(), f" {first}", "", "__class__", "model_config"):
            changed = deepcopy(whole)
            _at(changed, place)[new] = _MARK
            text = dumped(changed)
            line = text[: text.index(_MARK)].count("\n") + 1
            name = f"{kind}: {'.'.join(map(str, place))} with {new!r}"
            yield Hostile(name, kind, text.replace(_MARK, "x").encode(), line)
        text = dumped(whole)
        twice = text.replace(f'"{first}"', f'"{first}": 1, "{first}"', 1)
        yield Hostile(f"{kind}: {first} twice", kind, twice.encode())


def _with(kind: str, case: str, /, **changes: Any) -> Hostile:
    whole = SMALL if kind == "study" else RECIPE
    return Hostile(f"{kind}: {case}", kind, dumped({**whole, **changes}).encode())


def _bomb(width: int = 9, depth: int = 12) -> str:
    lines = ["l0: &l0 [" + ", ".join(["lol"] * width) + "]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(lines)


def texts(kind: str) -> Iterator[Hostile]:
    """Files that are wrong as text or as YAML, whatever the schema."""
    good = dumped(SMALL if kind == "study" else RECIPE)
    flow = good.rstrip("}\n")
    cases: dict[str, bytes] = {
        "empty": b"",
        "blank": b" \n\n",
        "a comment alone": b"# nothing\n",
        "a byte order mark alone": b"\xef\xbb\xbf",
        "null": b"null",
        "a text": b"hello",
        "a list": b"- 1\n- 2\n",
        "a number": b"3",
        "binary": bytes(range(256)),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "a zip": b"PK\x03\x04" + bytes(range(200)),
        "latin-1": good.encode() + b"\n# caf\xe9\n",
        "utf-16": good.encode("utf-16"),
        "utf-32": good.encode("utf-32"),
        "a truncated character": good.encode() + b"# \xe2\x82",
        "a zero byte": good.encode() + b"\x00",
        "an escape character": good.encode() + b"\n# \x1b[2J",
        "tabs": b"name: s\n\tbase: x\n",
        "two documents": good.encode() + b"\n---\n" + good.encode(),
        "an end and more": good.encode() + b"\n...\nmore: 1\n",
        "a directive of another version": b"%YAML 3.0\n---\n" + good.encode(),
        "an unknown tag handle": f"{flow}, name: !e!x 1}}".encode(),
        "an unclosed bracket": flow.encode(),
        "an unclosed quote": (flow + ', "x').encode(),
        "an undefined alias": f"{flow}, zzz: *nope}}".encode(),
        "a list in itself": f"{flow}, zzz: &a [*a]}}".encode(),
        "a mapping in itself": f"{flow}, zzz: &a {{b: *a}}}}".encode(),
        "an alias as key": f"{flow}, &a zzz: 1, *a : 2}}".encode(),
        "a mapping as key": f"{flow}, ? {{a: 1}} : 2}}".encode(),
        "a list as key": f"{flow}, ? [a] : 2}}".encode(),
        "a number as key": f"{flow}, 1: 2}}".encode(),
        "null as key": f"{flow}, null: 2}}".encode(),
        "a key with a newline": f'{flow}, "a\\nb": 2}}'.encode(),
        "a long key": f'{flow}, "{"k" * 500}": 2}}'.encode(),
        "a key of another script's space": f'{flow}, "a\\u2028b": 2}}'.encode(),
        "a bomb": _bomb().encode(),
        "a bomb that is wide": _bomb(400, 4).encode(),
        "a merge key of a number": f"{flow}, <<: 3}}".encode(),
        "a merge key of numbers": f"{flow}, <<: [1, 2]}}".encode(),
        "a merge key with unknown keys": f"{flow}, <<: {{zzz: 1}}}}".encode(),
        "too many merge keys": "\n".join(
            ["a: &a {x: 1}", *(f"b{i}: {{<<: *a}}" for i in range(300))]
        ).encode(),
        "python code": f"{flow}, zzz: !!python/object/apply:os.system [touch pwned]}}".encode(),
        "a python module": f"{flow}, zzz: !!python/module:os x}}".encode(),
        "a python tuple": f"{flow}, zzz: !!python/tuple [1]}}".encode(),
        "a whole python object": b"!!python/object:studies.config.StudyConfig {}",
        "a set": f"{flow}, zzz: !!set {{a, b}}}}".encode(),
        "an ordered map": b"!!omap [a: 1]",
        "binary data": f"{flow}, zzz: !!binary aGk=}}".encode(),
        "a local tag": f"{flow}, zzz: !include other.yaml}}".encode(),
        "deep lists": b"a: " + b"[" * 5000,
        "deep mappings": b"{a: " * 3000,
        "deep and closed": b"a: " + b"[" * 200 + b"]" * 200,
        "deep blocks": b"".join(b" " * i + b"a:\n" for i in range(400)),
        "too large": good.encode() + b"\n#" + b"x" * (1 << 20),
        "a text that is too long": f'{flow}, zzz: "{"x" * 30_000}"}}'.encode(),
        "many unknown keys": (flow + "".join(f", zzz{i}: 1" for i in range(400)) + "}").encode(),
        "a tagged key": f"{flow}, !!python/none zzz: 1}}".encode(),
        "shell": b"$(touch pwned): `touch pwned`\n",
        "a percent": b"%\n",
        "html": b"<html><body>404</body></html>\n",
        "json lines": b'{"a": 1}\n{"b": 2}\n',
        "a conflict of git": b"<<<<<<< HEAD\nname: a\n=======\nname: b\n>>>>>>> x\n",
        "carriage returns": b"name: s\rbase: [\r",
    }
    for name, content in cases.items():
        yield Hostile(f"{kind}: {name}", kind, content)


def outputs() -> Iterator[Hostile]:
    """Studies that would write over what they read, or where nothing of theirs belongs."""
    for out in (
        *("/", "//", "..", ".", "", "models/vlm", "models/../models/vlm/", "models", "data"),
        *("data/o.parquet", "data/o.parquet/x", "models/vlm/sub", "link", "link/../vlm"),
        *("~", "~/x", "~nobody-has-this-name/x", "x" * 400, "loop", "runs/../../.."),
        *("models/math", "models/base/../base", "./", "runs/.."),
    ):
        yield _with("study", f"out {out[:30]!r}", out=out)
    for name in ("..", ".", "a/b", "../x", "", "x" * 300, "a b", "a\nb", ".hidden", "/"):
        yield _with("study", f"name {name[:30]!r}", name=name)
    warm = [{"study": "old", "best": 2}]
    yield _with("study", "out of a warm start", out="old", warm_start=warm)
    warm = [{"recipe": "old/recipe.yaml"}]
    yield _with("study", "out over a recipe", out="old", warm_start=warm)
    runtime = {"template": "old/chat.jinja"}
    yield _with("study", "out over a template", out="old", runtime=runtime)


def rules() -> Iterator[Hostile]:
    """Values of the right type that no study or recipe can have."""
    objective = SMALL["objectives"][0]
    knob: dict[str, Any] = {"range": [0.0, 1.0]}
    study: dict[str, dict[str, Any]] = {
        "no experts": {"experts": []},
        "no objectives": {"objectives": []},
        "an objective twice": {"objectives": [objective, objective]},
        "an expert twice": {"experts": STUDY["experts"] * 2},
        "an unknown preset": {"objectives": [{**objective, "preset": "vl_rewardbnech"}]},
        "a preset that is a list": {"objectives": [{**objective, "preset": []}]},
        "objectives as a mapping": {"objectives": {"a": objective}},
        "an objective that is null": {"objectives": [None]},
        "a missing kind": {"objectives": [{"name": "x"}]},
        "a kind that is a list": {"objectives": [{**objective, "kind": ["generation"]}]},
        "an unknown method": {"method": "task_arithmetics"},
        "a long method": {"method": "t" * 15_000},
        "a method as choice": {"search": {"choices": {"method": ["ties", "nope"]}}},
        "a method that is a list": {"search": {"choices": {"method": [["ties"], {"a": 1}]}}},
        "an unknown knob": {"search": {"knobs": {"wieght": knob}}},
        "a range upside down": {"search": {"knobs": {"weight": [1.0, 0.0]}}},
        "a range of nothing": {"search": {"knobs": {"weight": [1.0, 1.0]}}},
        "a range of three": {"search": {"knobs": {"weight": [0.0, 1.0, 2.0]}}},
        "a range of texts": {"search": {"knobs": {"weight": ["0", "1"]}}},
        "a log range from zero": {"search": {"knobs": {"weight": {**knob, "log": True}}}},
        "a log range below zero": {
            "search": {"knobs": {"weight": {"range": [-1.0, 1.0], "log": True}}}
        },
        "bands and curve": {"search": {"knobs": {"weight": knob}, "bands": 2, "curve": 3}},
        "bands that fall": {"search": {"knobs": {"weight": knob}, "bands": [4, 2]}},
        "bands below zero": {"search": {"knobs": {"weight": knob}, "bands": [-3, 2]}},
        "bands of nothing": {"search": {"knobs": {"weight": knob}, "bands": []}},
        "a part called rest": {"search": {"knobs": {"weight": knob}, "modules": {"rest": ["a"]}}},
        "a part twice": {"search": {"knobs": {"weight": knob}, "modules": ["mlp", "mlp"]}},
        "seeds without masks": {"search": {"choices": {"seed": [1, 2]}}},
        "a mean over no masks": {"search": {"knobs": {"weight": knob}, "average_seeds": 3}},
        "a mean over one seed": {
            "method": "dare_ties",
            "search": {"knobs": {"weight": knob}, "average_seeds": 1},
        },
        "a seed that is a list": {
            "method": "dare_ties",
            "search": {"choices": {"seed": [[1], {"a": 2}]}},
        },
        "a method per group of no methods": {
            "search": {"knobs": {"weight": knob}, "bands": 2, "method_per_group": True}
        },
        "refining nothing": {"search": {"knobs": {"weight": knob}, "refine": {"start": 1}}},
        "refining a list": {"search": {"knobs": {"weight": knob}, "bands": 4, "refine": [1]}},
        "a choice of one": {"search": {"choices": {"normalize": [True]}}},
        "a choice of the same": {"search": {"choices": {"normalize": [True, True]}}},
        "a choice of nan": {"search": {"choices": {"lambda": [float("nan"), 1.0]}}},
        "a knob twice": {"search": {"knobs": {"weight": knob, "lambda": knob}}},
        "an infinite parameter": {"parameters": {"lambda": float("inf")}},
        "a nan parameter": {"parameters": {"lambda": [0.1, float("nan")]}},
        "a parameter of another method": {"parameters": {"density": 0.5}},
        "an unknown sampler": {"sampler": "tpee"},
        "an unknown grid": {"warm_start": ["linear_gird"]},
        "a grid that is a number": {"warm_start": [3]},
        "an empty warm start": {"warm_start": [{}]},
        "a warm start with a typo": {"warm_start": [{"recpie": "x"}]},
        "no trials": {"budget": {"trials": 0}},
        "no limit": {"budget": {"trials": None}},
        "a target alone": {"budget": {"trials": None, "target": 0.5}},
        "a duration without a unit": {"budget": {"timeout": "8"}},
        "a duration below zero": {"budget": {"timeout": "-8h"}},
        "a duration that never ends": {"budget": {"timeout": "9" * 400 + "d"}},
        "a duration of nothing": {"budget": {"timeout": "0s"}},
        "an unknown dtype": {"runtime": {"dtype": "int8"}},
        "an unknown device": {"runtime": {"device": "gpu"}},
        "a device that is a path": {"runtime": {"device": "/dev/zero"}},
        "a device with a number too many": {"runtime": {"device": "cpu:0:1"}},
        "threads without end": {"runtime": {"threads": 10**20}},
        "a batch without end": {"runtime": {"tokens_per_batch": 10**20}},
        "a template that is missing": {"runtime": {"template": "nope.jinja"}},
        "a template that is a folder": {"runtime": {"template": "models"}},
        "a missing model": {"base": "models/bsae"},
        "a model that is a file": {"base": "data/o.parquet"},
        "a model with a long name": {"base": "x/" + "y" * 5000},
        "a model of nobody": {"base": "~nobody-has-this-name/x"},
        "an adapter without a model": {"base": "+models/vlm"},
        "two adapters": {"base": "models/vlm+models/vlm+models/vlm"},
        "no base": {"base": None},
        "a base that is empty": {"base": ""},
        "a negative seed": {"seed": -1},
        "a seed beyond 64 bits": {"seed": 2**64},
        "splits of nothing": {"objectives": [{**objective, "split": {}}]},
        "two rests": {"objectives": [{**objective, "split": {"test": "rest", "confirm": "rest"}}]},
        "a share above one": {"objectives": [{**objective, "split": {"test": 1.5}}]},
        "no data": {"objectives": [{k: v for k, v in objective.items() if k != "data"}]},
        "a reward head that is missing": {
            "objectives": [{"name": "p", "kind": "preference", "data": "data/o.parquet"}]
        },
    }
    for name, changes in study.items():
        yield _with("study", name, **changes)
    one = RECIPE["models"][0]
    recipe: dict[str, dict[str, Any]] = {
        "an unknown method": {"merge_method": "tise"},
        "no models": {"models": []},
        "models and slices": {"slices": [{"sources": [{"model": "x", "layer_range": [0, 1]}]}]},
        "an infinite weight": {"models": [{**one, "parameters": {"weight": float("inf")}}]},
        "a nan density": {"models": [{**one, "parameters": {"density": float("nan")}}]},
        "a density above one": {"models": [{**one, "parameters": {"density": 1.5}}]},
        "an empty gradient": {"models": [{**one, "parameters": {"weight": []}}]},
        "a filter that is a number": {
            "models": [{**one, "parameters": {"weight": [{"filter": 3, "value": 1}]}}]
        },
        "a weight as text": {"models": [{**one, "parameters": {"weight": "0.5"}}]},
        "a missing model": {"base_model": "models/bsae"},
        "version 2": {"mergetuna": {"version": 2, "target": "models/vlm"}},
        "no target": {"mergetuna": {"version": 1}},
        "a negative seed": {"mergetuna": {"version": 1, "target": "models/vlm", "seed": -1}},
        "modules": {"modules": {"text": {}}},
        "a tokenizer that is a list": {"tokenizer": [1]},
        "a tokenizer source that is a list": {"tokenizer_source": [{}]},
        "a template that is missing": {
            "mergetuna": {"version": 1, "target": "models/vlm", "template": "nope.jinja"}
        },
        "methods without groups": {"merge_method": "per_group"},
        "methods that are a mapping": {
            "merge_method": "per_group",
            "mergetuna": {**RECIPE["mergetuna"], "methods": {"method": "ties"}},
        },
        "a range of layers without end": {
            "merge_method": "per_group",
            "mergetuna": {
                **RECIPE["mergetuna"],
                "methods": [
                    {"method": "ties", "layer_range": [0, 10**30]},
                    {"method": "linear"},
                ],
            },
        },
        "statistics of nothing": {
            "mergetuna": {
                **RECIPE["mergetuna"],
                "statistics": {"file": "/dev/zero", "sha256": "0" * 64},
            }
        },
    }
    for name, changes in recipe.items():
        yield _with("recipe", name, **changes)
