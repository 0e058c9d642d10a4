"""One merge by mergekit in memory, timed; run by the python of an environment that has mergekit.

Prints the CPU seconds of each repeat as JSON. Called by benchmarks/engine.py.
"""

import json
import sys
import time
from pathlib import Path

import torch
import yaml
from mergekit.architecture import arch_info_for_config
from mergekit.config import MergeConfiguration
from mergekit.graph import Executor
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from transformers import AutoConfig


def main() -> None:
    """Arguments: configuration file, threads, repeats."""
    path, threads, repeats = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    config = MergeConfiguration.model_validate(yaml.safe_load(path.read_text()))
    first = config.referenced_models()[0]
    model_config = AutoConfig.from_pretrained(first.model.path)
    architecture = arch_info_for_config(model_config)
    live: dict[str, torch.Tensor] = {}
    seconds = []
    for _ in range(repeats + 1):  # the first reads the files
        start = time.process_time()
        planner = MergePlanner(config, architecture, MergeOptions(), model_config)
        planner._plan()  # plan_in_memory() fails with the pydantic of this year
        names = {task: weight.name for weight, task in planner._tensors}
        for task, value in Executor(list(names)).run(quiet=True):
            name = names[task]
            if name in live:
                live[name].copy_(value)
            else:
                live[name] = value.clone()
        seconds.append(time.process_time() - start)
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main()
