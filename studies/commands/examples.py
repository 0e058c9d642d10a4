"""Examples of every command, for the end of its --help."""

EXIT_CODES = (
    "Exit codes: 0 done; 1 a check failed (align), no candidate holds the guards (run) or a "
    "server ended (ui); 2 a mistake of yours, named in one line; 130 stopped by Ctrl-C; 143 "
    "stopped by SIGTERM."
)
_EXAMPLES = {
    "init": ("mergetuna init", "mergetuna init studies/night.yaml"),
    "run": (
        "mergetuna run study.yaml",
        "mergetuna run study.yaml --trials 200 --timeout 8h",
        "mergetuna run study.yaml --quiet",
        "mergetuna run study.yaml --json-log | jq -c 'select(.event == \"best\")'",
    ),
    "validate": (
        "mergetuna validate study.yaml",
        "mergetuna validate study.yaml --quick",
        "mergetuna validate study.yaml --json | jq .estimate.seconds",
    ),
    "trials": (
        "mergetuna trials runs/my-study",
        "mergetuna trials runs/my-study --json | jq '.[].value'",
    ),
    "best": ("mergetuna best runs/my-study > recipe.yaml", "mergetuna best runs/my-study --json"),
    "merge": (
        "mergetuna merge recipe.yaml --out merged",
        "mergetuna merge mergekit.yaml --out merged --dtype bfloat16 --shard-size 5GB",
    ),
    "eval": (
        "mergetuna eval recipe.yaml --study study.yaml",
        "mergetuna eval owner/model --study study.yaml --split confirm --json",
    ),
    "align": (
        "mergetuna align models/vlm models/math",
        "mergetuna align models/vlm models/math+models/adapter --no-verify",
    ),
    "families": ("mergetuna families", "mergetuna families --all --json"),
    "convert": ("mergetuna convert OpenGVLab/InternVL2-1B converted --json",),
    "methods": ("mergetuna methods", "mergetuna methods ties", "mergetuna methods --json"),
    "objectives": ("mergetuna objectives", "mergetuna objectives vl_rewardbench"),
    "samplers": ("mergetuna samplers", "mergetuna samplers --json"),
    "baselines": (
        "mergetuna baselines study.yaml",
        "mergetuna baselines study.yaml --captions captions.jsonl --votes 5 --json",
    ),
    "statistics": ("mergetuna statistics study.yaml",),
    "status": (
        "mergetuna status runs/my-study",
        "watch -n 60 mergetuna status runs/my-study",
        "mergetuna status runs/my-study --json | jq .state",
    ),
    "report": (
        "mergetuna report runs/my-study",
        "mergetuna report runs/my-study --out shared/night.html --json",
    ),
    "export": (
        "mergetuna export runs/my-study --out release",
        "mergetuna export runs/my-study --out release --push owner/name",
    ),
    "ui": ("mergetuna ui runs/my-study", "mergetuna ui runs/my-study --port 0 --no-open"),
    "sync": (
        "mergetuna sync runs/my-study",
        "mergetuna sync runs/my-study --uri http://127.0.0.1:5000 --json",
    ),
    "demo": ("mergetuna demo", "mergetuna demo --out /tmp/demo --trials 40"),
    "build": ("mergetuna zoo build --out zoo",),
    "verify": ("mergetuna zoo verify", "mergetuna zoo verify zoo --json"),
}


def epilog(command: str) -> str:
    """The end of a command's help; a blank line stands between lines, or they would be joined."""
    return "\n\n".join(("Examples:", *(f"  {line}" for line in _EXAMPLES[command])))
