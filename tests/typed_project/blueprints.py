from dataclasses import dataclass
from datetime import timedelta

from avtomatika import (
    Actions,
    AggregationResults,
    Blueprint,
    ClientInfo,
    Condition,
    F,
    JobContext,
    JobStatus,
    RetryPolicy,
    TaskFiles,
)
from avtomatika.testing import run

is_large: Condition = F.job_data["size"] > 100
bp = Blueprint("order", api_endpoint="orders", execution_timeout=timedelta(hours=1))
wrong = Blueprint("order", max_retrys=3)  # wrong: call-arg


@bp.handler("start", is_large, is_start=True)
def start_large(actions: Actions) -> None:
    actions.go_to("done")


@bp.handler("start", "size > 100")  # wrong: call-overload, untyped-decorator
def start_small(actions: Actions) -> None: ...


@bp.handler("start", is_start=True)
def start(actions: Actions, client: ClientInfo, task_files: TaskFiles) -> None:
    print(client.nam)  # wrong: attr-defined
    task_files.write_jsn("a.json", {})  # wrong: attr-defined
    actions.dispach_task("pack")  # wrong: attr-defined
    actions.dispatch_task("pack", transitions={"success": 3})  # wrong: dict-item
    actions.dispatch_task("pack", {}, {"success": "done"}, prioritty=3)  # wrong: call-arg
    actions.dispatch_task("pack", {}, {"success": "done"}, dispatch_timeout="60")  # wrong: arg-type
    actions.wait(timedelta(days=1), then="done")
    actions.dispatch_task("pack", {}, {"success": "join"}, retry=RetryPolicy(delay=timedelta(minutes=1)))


@bp.aggregator
async def join(context: JobContext, aggregation_results: AggregationResults, actions: Actions) -> None:
    for task_id, result in aggregation_results.items():
        context.job_data[task_id] = result["dta"]  # wrong: typeddict-item
    print(context.job_dta)  # wrong: attr-defined
    await actions.go_to("done")


@bp.handler(is_end=True)
def done(job_data: dict[str, object]) -> object:
    return job_data


@dataclass
class Order:
    size: int


typed = Blueprint("typed", input=Order, output=int)


@typed.handler(is_start=True, is_end=True)
def typed_start(initial_data: Order, actions: Actions) -> int:
    actions.dispatch_task("pack", initial_data, {"success": "done"})
    actions.dispatch_task("pack", 3, {"success": "done"})  # wrong: arg-type
    print(initial_data.sise)  # wrong: attr-defined
    return initial_data.size


run(typed, Order(3))
ended = run(bp, {"size": 1}, skills={"pack": {}})
assert ended.status is JobStatus.FINISHED
print(ended.status.is_finl)  # wrong: attr-defined
