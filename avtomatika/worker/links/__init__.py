"""Links: take tasks from an orchestrator and send results back. One link for each address."""
