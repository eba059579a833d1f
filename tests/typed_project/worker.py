from avtomatika import Files, Task, TaskContext, Worker

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
