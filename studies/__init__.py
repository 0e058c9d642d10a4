"""A study from YAML to recipe: the loop, the ledger, tracking, export, reports, the command line."""
