from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from avtomatika import AsyncTaskContext, Files, ReportProgress, Task, TaskContext, Worker

worker = Worker()


@worker.skill
def pack(context: TaskContext, files: Files) -> dict[str, str]:
    task: Task = context.task
    context.progres(0.5)  # wrong: attr-defined
    context.progress("half")  # wrong: arg-type
    files.pth("box.txt").write_text(task.task_type)  # wrong: attr-defined
    return {"box": str(files.path("box.txt")), "job": task.jobid}  # wrong: attr-defined


@worker.skill(tme_limit=60)  # wrong: call-overload, untyped-decorator
async def send() -> None: ...


@worker.skill(time_limit=timedelta(minutes=1))
async def fetch(context: AsyncTaskContext, progress: ReportProgress, cancelled: Callable[[], bool]) -> None:
    path: Path = await context.files.download("s3://inputs/box.txt")
    lost: Path = context.files.download("s3://inputs/box.txt")  # wrong: assignment
    progress(0.5, path.name)
    progress(0.5, mesage="half")  # wrong: call-arg
    cancelled(lost)  # wrong: call-arg
