"""Names of the files in a study's folder."""

RECIPE = "recipe.yaml"
RESULTS = "results.json"
TABLE = "results.md"
SPLIT_FILE = "splits.json"
HISTORY = "figures/history.png"
DEPTH = "figures/depth.png"
SCORES = "found_scores.json"
