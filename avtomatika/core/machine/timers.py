"""The timers of a job. Their ids are derived from the job, so that any step can cancel them."""

from avtomatika.core.events import DeadlineExceeded, RetryHandler, RetryTask, Start, TaskTimeout, TimeReached
from avtomatika.core.job import Job, JobStatus, Task, WaitRecord
from avtomatika.core.job_request import WAITING
from avtomatika.core.plan import Plan
from avtomatika.core.step import SetTimer


def dispatch_timer(plan: Plan, job: Job, task: Task) -> tuple[SetTimer, ...]:
    """Return the timer for *task* to be taken. (The consumer of ``taken`` arms the result timer.)"""
    if task.dispatch_timeout_seconds is None:
        return ()
    event = TaskTimeout(job.id, task.id, task.attempt, "dispatch")
    key = plan.key(task.state, "_timeout")
    return (SetTimer(f"{task.id}:dispatch", task.dispatch_timeout_seconds, key, event),)


def retry_timer(plan: Plan, job: Job, task: Task, delay_seconds: float) -> SetTimer:
    """Return the back-off timer before ``task.attempt``."""
    event = RetryTask(job.id, task.id, task.attempt)
    return SetTimer(f"{task.id}:retry", delay_seconds, plan.key(task.state, "_retry"), event)


def handler_timer(plan: Plan, job: Job, delay_seconds: float) -> SetTimer:
    """Return the back-off timer of the handler of ``job.current_state``."""
    state = str(job.current_state)
    event = RetryHandler(job.id, state, transition=job.transitions, failures=job.handler_failures)
    return SetTimer(_handler_id(job), delay_seconds, plan.key(state, "_retry"), event)


def wait_timer(plan: Plan, job: Job, wait: WaitRecord, delay_seconds: float, *, at_ms: int | None = None) -> SetTimer:
    """Return the timer that ends *wait*."""
    event = TimeReached(job.id, wait.token)
    return SetTimer(_wait_id(wait), delay_seconds, plan.key(wait.state, "_timer"), event, at_ms)


def timers_of_wait(wait: WaitRecord) -> tuple[str, ...]:
    """Return the ids of all timers that may be armed for *wait*."""
    return () if wait.kind == "child" else (_wait_id(wait),)


def start_timer(plan: Plan, job: Job) -> SetTimer:
    """Return the timer that starts *job* at the time that its client wants."""
    key = plan.key(plan.start, "_start")
    return SetTimer(_start_id(job), job.delay_seconds or 0, key, Start(job.id), job.at_ms)


def deadline_timer(plan: Plan, job: Job) -> tuple[SetTimer, ...]:
    """Return the execution timeout of *job*. It keeps running in every status, including quarantine."""
    if job.execution_timeout_seconds is None:
        return ()
    key = plan.key(plan.start, "_timer")
    return (SetTimer(_deadline_id(job), job.execution_timeout_seconds, key, DeadlineExceeded(job.id)),)


def timers_of_task(task: Task) -> tuple[str, ...]:
    """Return the ids of all timers that may be armed for *task*."""
    if not task.is_open:
        return (f"{task.id}:retry",)
    limits = {"dispatch": task.dispatch_timeout_seconds, "result": task.result_timeout_seconds}
    return tuple(f"{task.id}:{which}" for which, seconds in limits.items() if seconds is not None)


def timers_of_job(job: Job, status: JobStatus) -> tuple[str, ...]:
    """Return the ids of all timers that may be armed for *job* and that it no longer needs in *status*."""
    of_handler = (_handler_id(job),) if job.handler_failures else ()
    of_wait = timers_of_wait(job.wait) if job.wait is not None else ()
    of_job = (_deadline_id(job),) if status.is_final and job.execution_timeout_seconds is not None else ()
    of_tasks = tuple(timer for task in job.tasks.values() for timer in timers_of_task(task))
    has_started = job.steps or job.transitions or not (status.is_final or status is JobStatus.PENDING)
    is_timed = (job.delay_seconds or job.at_ms) is not None or job.on_conflict in WAITING
    of_start = (_start_id(job),) if is_timed and not has_started else ()
    return (*of_start, *of_tasks, *of_wait, *of_handler, *of_job)


def _wait_id(wait: WaitRecord) -> str:
    return f"{wait.token}:wait"


def _start_id(job: Job) -> str:
    return f"{job.id}:start"


def _deadline_id(job: Job) -> str:
    return f"{job.id}:deadline"


def _handler_id(job: Job) -> str:
    return f"{job.id}:handler"
