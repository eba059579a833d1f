"""``avtomatika check``: check settings, blueprints and token files without a server."""

import click

from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.tokens import Clients, Workers

from .arguments import blueprints_option, worker_option
from .definition_files import limits_of_file, schedules_of_file
from .worker import default_worker


@click.command("check")
@blueprints_option
@worker_option
def command(blueprints: str, worker: str | None) -> None:
    """Check settings, blueprints, worker and token files, without a server.

    Exits 2 with the reason if web, orchestrator or worker would not start.
    """
    settings = Settings.from_environment()
    for blueprint in load_blueprints(blueprints):
        plan = blueprint.compile()
        click.echo(f"blueprint {plan.blueprint}: {len(plan.states)} states, plan {plan.plan_hash}")
    clients, workers = Clients(**settings.client_tokens), Workers(**settings.worker_tokens)
    if settings.clients_config_path.is_file():
        click.echo(f"clients   {settings.clients_config_path}: {len(clients)} clients")
    if settings.workers_config_path.is_file():
        click.echo(f"workers   {settings.workers_config_path}: {', '.join(workers.names) or 'no worker'}")
    if (schedules := schedules_of_file(settings.schedules_config)()) is not None:
        click.echo(f"schedules {settings.schedules_config}: {', '.join(schedules) or 'no schedule'}")
    if (limits := limits_of_file(settings.limits_config)()) is not None:
        click.echo(f"limits    {settings.limits_config}: {', '.join(limits) or 'no limit'}")
    found = worker or default_worker()
    if found is not None:
        from avtomatika.worker.run import load_worker

        click.echo(f"worker    {found}: {', '.join(load_worker(found).skills) or 'no skill'}")
