"""Which worker fits a task: selection by resources, load, cost, reputation and cached files."""
