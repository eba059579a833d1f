"""Count the words of all files in a folder, many files at a time."""

from avtomatika import Blueprint

bp = Blueprint("count", api_endpoint="jobs/count")


@bp.handler(is_start=True)
def look(folder, actions):
    actions.dispatch_task("list_files", {"folder": folder}, transitions={"success": "read", "failure": "failed"})


@bp.handler
def read(files, actions):
    actions.dispatch_parallel(
        [
            {"task_type": "count_words", "params": {"file": each}, "transitions": {"failure": "failed"}}
            for each in files
        ],
        aggregate_into="add_up",
        max_failures=10,  # one more leads to failed, and cancels the other tasks
    )


@bp.aggregator(is_end=True)
def add_up(aggregation_results):
    results = aggregation_results.values()
    counts = [result["data"]["words"] for result in results if result["status"] == "success"]
    unread = [result["error"]["message"] for result in results if result["status"] == "failure"]
    return {"files": len(counts), "words": sum(counts), "unread": unread}


@bp.handler(is_end="failed")
def failed(error):
    return error
