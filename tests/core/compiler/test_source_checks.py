"""Errors in the source of a handler are reported with their line; correct code is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from avtomatika import Blueprint
from avtomatika.errors import BlueprintError
from avtomatika.loading import load_blueprints

Compile = Callable[..., Blueprint]

MODULE = """
from enum import StrEnum
import logging

from avtomatika import Blueprint, RetryPolicy

logger = logging.getLogger(__name__)
OPTIONS = {{"max_retries": 2, "transitions": {{"success": "done"}}}}
TYPO = {{"max_retrys": 2}}

class Color(StrEnum):
    RED = "red"
    BLUE = "blue"

def refuse(value):
    raise ValueError(value)

bp = Blueprint(name="shop")

@bp.handler(is_start=True)
{kind} start({parameters}):
{body}

@bp.aggregator("gather")
def gather(aggregation_results, actions):
    actions.go_to("done")

@bp.handler(is_end=True)
def done(): ...
"""
#: Reaches every state, so that only the tested statement is wrong.
REST = """
    if initial_data["rest"]:
        actions.dispatch_parallel([{"task_type": "t"}], aggregate_into="gather")
    else:
        actions.go_to("done")
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles a blueprint whose start has the given body and parameters."""

    def compile_blueprint(body: str, parameters: str = "actions, initial_data", kind: str = "def") -> Blueprint:
        file = tmp_path / "shop.py"
        file.write_text(MODULE.format(body=indent(dedent(body), "    "), parameters=parameters, kind=kind))
        [blueprint] = load_blueprints(str(file))
        blueprint.compile()
        return blueprint

    return compile_blueprint


def anyhow(statement: str) -> str:
    """Return *statement* in a separate branch."""
    return f"if initial_data['first']:\n{indent(dedent(statement), '    ')}\nel{dedent(REST).strip()}\n"


WRONG = {
    'actions.dispatch_task("t", {}, {"success": "done"}, max_retrys=3)': "did you mean 'max_retries'",
    'actions.dispatch_task("t", parms={}, transitions={"success": "done"})': "did you mean 'params'",
    'actions.dispatch_task("t", {}, {"success": "done"}, 3)': "takes at most 3 arguments by position, not 4",
    'actions.dispatch_task("t", task_type="u", transitions={"success": "done"})': "the argument 'task_type' twice",
    'actions.dispatch_task("t", transitions={"success": "done"}, **TYPO)': "no argument 'max_retrys'",
    'actions.dispatch_task("t", transitions={"success": "done"}, priority=99)': "priority must be a whole number",
    'actions.dispatch_task("t", transitions={"success": "done"}, dispatch_strategy="cheepest")': "not 'cheepest'",
    'actions.dispatch_task("t", transitions={"success": "done"}, retry=RetryPolicy(max_retrys=3))': "RetryPolicy has",
    'actions.dispatch_task("t", transitions={"success": "done"}, retry=RetryPolicy(jitter=2))': "jitter must be",
    'actions.go_to(stat="done")': "go_to has no argument 'stat'; did you mean 'state'",
    'actions.go_to("done", 5)': "takes at most 1 arguments",
    'actions.wait(second=5, then="done")': "did you mean 'seconds'",
    'actions.wait(then="done")': "give either seconds or until",
    'actions.wait(5, until="2030-01-01T00:00:00Z", then="done")': "give either seconds or until",
    'actions.await_human_approval("mail", transitions={"approved": "done"})': "needs the argument 'message'",
    'actions.await_human_approval(transitions={"approved": "done"})': "needs the arguments 'integration' and 'message'",
    'actions.run_blueprint("b", transitions={"success": "done", "failed": "done"})': "has no outcome 'failed'",
    'actions.run_blueprint("b", initial={}, transitions={"success": "done"})': "no argument 'initial'",
    'actions.dispatch_parallel(task=[], aggregate_into="gather")': "did you mean 'tasks'",
    'actions.dispatch_parallel([{"task_typ": "t"}], aggregate_into="gather")': "did you mean 'task_type'",
    'actions.dispatch_parallel([{"task_type": "t", "priority": 10}], aggregate_into="gather")': "priority must be",
    'actions.dispatch_parallel([dict(task_type="t", param={})], aggregate_into="gather")': "did you mean 'params'",
    'actions.dispatch_parallel([{"type": "t", "prams": {}} for _ in initial_data], aggregate_into="gather")': "'prams'",
    'actions.dispatch_parallel([*[{"type": "t", "prams": {}}], *initial_data["more"]], "gather")': "'prams'",
    'actions.dispatch_parallel([{"type": "t", "transitions": {"success": "done"}}], "gather")': "leads to 'done', but",
    'actions.dispatch_parallel([{"type": "t", "transitions": {"failure": "nowhere"}}], "gather")': "unknown state",
    'actions.dispatch_parallel([{"task_type": "t"}], "gather", on_failure="finish")': "on_failure must be one of",
    'actions.dispatch_parallel([{"task_type": "t"}], "gather", max_failure=1)': "did you mean 'max_failures'",
    'actions.dispatch_parallel([{"blueprint": "b", "params": {}}], "gather")': "dispatch_parallel has no 'params'",
    'actions.run_blueprints([{"blueprint": "b", "prio": 1}], "gather")': "did you mean 'priority'",
    'actions.run_blueprints([{"task_type": "t"}], "gather")': "a child of run_blueprints has no 'task_type'",
    'actions.run_blueprints([{"blueprint": "b", "transitions": {"timeout": "done"}}], "gather")': "outcome 'timeout'",
    'actions.run_blueprints([{"blueprint": "b"}], "done")': "leads to 'done', which is not an aggregator",
    'actions.run_blueprints([{"blueprint": "no name"}], "gather")': "the blueprint 'no name' must be a name",
    'actions.run_blueprints([{"blueprint": "b", "time_limit": 0}], "gather")': "time_limit must be a positive number",
    'actions.run_blueprint("b", {}, {"success": "done"}, labels={"a": 1})': "labels must map up to 32 names to texts",
    'tasks = []\ntasks.append({"type": "t", "prams": {}})\nactions.dispatch_parallel(tasks, "gather")': "'prams'",
    'task = {"type": "t", "prams": {}}\nactions.dispatch_parallel([task], "gather")': "'prams'",
}


@pytest.mark.parametrize(("statement", "message"), WRONG.items(), ids=WRONG.values())
def test_what_cannot_work_is_refused(compiled: Compile, statement: str, message: str) -> None:
    with pytest.raises(BlueprintError) as caught:
        compiled(anyhow(statement))

    assert message in str(caught.value)
    assert "line" in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        'actions.dispatch_task("t", transitions={"success": "done"}, **initial_data["options"])',
        'actions.dispatch_task("t", **OPTIONS)',
        'options = {"max_retries": 2}\noptions["priority"] = 3\n'
        'actions.dispatch_task("t", {}, {"success": "done"}, **options)',
        'actions.dispatch_task("t", transitions={"success": "done"}, priority=initial_data["priority"])',
        'actions.dispatch_task("t", {"max_retrys": 1}, transitions={"success": "done", "odd": "done"})',
        'actions.wait(seconds=initial_data.get("s"), until=initial_data.get("u"), then="done")',
        'actions.wait(*initial_data["for"], then="done")',
        'actions.run_blueprint("b", transitions={"success": "done", "failure": "done", "cancelled": "done"})',
        'actions.dispatch_parallel([{"kind": "t", **each} for each in initial_data] and [], "gather")',
        'tasks = [{"kind": "t"}]\nfor task in tasks:\n    task["type"] = task.pop("kind")\n'
        'actions.dispatch_parallel(tasks, "gather")',
        'task = {"kind": "t"}\nrename(task)\nactions.dispatch_parallel([task], "gather")',
        'actions.dispatch_parallel([{"type": "t", "transitions": {"success": "gather"}}], "gather")',
    ],
)
def test_what_may_work_is_not(compiled: Compile, statement: str) -> None:
    assert "done" in compiled(anyhow(statement)).plan.states


class TestInjectedNames:
    @pytest.mark.parametrize(
        ("name", "wanted"),
        [("intial_data", "initial_data"), ("initialData", "initial_data"), ("state_histroy", "state_history"),
         ("eror", "error"), ("contxt", "context"), ("tracing_contex", "tracing_context")],
    )  # fmt: skip
    def test_misspelt_are_refused(self, compiled: Compile, name: str, wanted: str) -> None:
        parameters = f"actions, {'' if wanted == 'initial_data' else 'initial_data, '}{name}"
        body = REST if wanted != "initial_data" else REST.replace("initial_data", name)
        with pytest.raises(BlueprintError, match=f"parameter '{name}' is not injected; did you mean '{wanted}'"):
            compiled(body, parameters)

    def test_actions_are_known_by_their_use(self, compiled: Compile) -> None:
        with pytest.raises(BlueprintError, match=r"its parameter 'act' is not injected; did you mean 'actions'\?"):
            compiled(REST.replace("actions", "act"), "act, initial_data")

    @pytest.mark.parametrize("name", ["errors", "content", "current_status", "data", "clients", "action", "file"])
    def test_other_names_are_data(self, compiled: Compile, name: str) -> None:
        assert "start" in compiled(REST, f"actions, initial_data, {name}").plan.states

    def test_a_name_that_the_file_uses_as_a_key_is_data(self, compiled: Compile) -> None:
        blueprint = compiled(f'initial_data["eror"]\n{dedent(REST)}', "actions, initial_data, eror")

        assert "start" in blueprint.plan.states

    @pytest.mark.parametrize(("attribute", "hint"), [("job", "job_id"), ("client.plam", "plan")])
    def test_attributes_of_what_is_injected(self, compiled: Compile, attribute: str, hint: str) -> None:
        owner = "" if attribute.startswith("client") else "context."
        with pytest.raises(BlueprintError, match=f"did you mean '{hint}'"):
            compiled(f"print({owner}{attribute})\n{dedent(REST)}", "actions, context, client, initial_data")


#: ``GO`` is replaced by an action.
UNDECIDED = [
    "if initial_data['a']:\n    GO",
    "if initial_data['a']:\n    GO\nelif initial_data['b']:\n    actions.go_to('gather')",
    "if not initial_data:\n    return\nGO",
    "size = initial_data['size']\nif size > 3:\n    GO\nlogger.info('small')",
    "match initial_data['kind']:\n    case 'a':\n        GO\n    case 'b':\n        GO",
    "try:\n    int(initial_data['a'])\n    GO\nexcept ValueError:\n    logger.warning('odd')",
    "with open('x'):\n    if initial_data['a']:\n        GO",
    "if initial_data['a']:\n    GO\nelse:\n    print('nothing')",
]
DECIDED = [
    "if initial_data['a']:\n    GO\nif not initial_data['a']:\n    GO",
    "if initial_data['a'] < 3:\n    GO\nelif initial_data['a'] >= 3:\n    GO",
    "found = False\nfor each in initial_data:\n    if each:\n        found = True\nif found:\n    GO\n"
    "if not found:\n    GO",
    "for each in initial_data:\n    actions.dispatch_task('t', transitions={'success': 'gather'})",
    "while True:\n    if initial_data.pop('a'):\n        return GO",
    "if initial_data['a']:\n    GO\nelse:\n    raise ValueError",
    "if initial_data['a']:\n    GO\nelse:\n    refuse(1)",
    "if initial_data['a'] not in ('x', 'y'):\n    raise ValueError\n"
    "if initial_data['a'] == 'x':\n    GO\nelif initial_data['a'] == 'y':\n    GO",
    "match Color(initial_data['a']):\n    case Color.RED:\n        GO\n    case Color.BLUE:\n        GO",
    "match initial_data:\n    case {'a': a}:\n        GO\n    case _:\n        GO",
    "to = 'a' if initial_data else 'b'\nif to == 'a':\n    GO\nelif to == 'b':\n    GO",
    "try:\n    GO\n    print(int(initial_data))\nexcept ValueError:\n    logger.warning('odd')",
    "try:\n    value = int(initial_data['a'])\nexcept ValueError:\n    return GO\nGO",
    "try:\n    print(initial_data)\nfinally:\n    GO",
    "return GO if initial_data else GO",
]


class TestPaths:
    """Every path of a handler takes an action, unless the source leaves open whether there is such a path."""

    @pytest.mark.parametrize("body", UNDECIDED)
    def test_one_without_an_action_is_refused(self, compiled: Compile, body: str) -> None:
        with pytest.raises(BlueprintError, match=r"line \d+: takes no action on the path that ends here"):
            compiled(self._with_all_states(body))

    @pytest.mark.parametrize("body", DECIDED)
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_others_are_not(self, compiled: Compile, body: str, kind: str) -> None:
        assert {"gather", "done"} <= compiled(self._with_all_states(body), kind=kind).plan.states.keys()

    @staticmethod
    def _with_all_states(body: str) -> str:
        """*body*, with a branch that leads to the aggregator."""
        parallel = "actions.dispatch_parallel([{'type': 't'}], 'gather')"
        return f"import os\nif os.name == 'x':\n    {parallel}\nelse:\n{indent(body, '    ')}".replace(
            "GO", "actions.go_to('done')"
        )
