"""Run the reports of four nights of the past. Run it while ``avtomatika up`` runs here."""

import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from avtomatika.client import Client

BERLIN = ZoneInfo("Europe/Berlin")


def main() -> None:
    with Client.from_environment() as client:
        while not (schedules := client.schedules()):
            time.sleep(0.1)  # the orchestrator has not read schedules.toml yet
        [nightly] = schedules
        print(f"the schedule {nightly['name']}, defined in the {nightly['source']}: {nightly['timing']}")

        runs = client.backfill("nightly", datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2026, 10, 29, tzinfo=BERLIN))
        for run in runs:
            job = client.wait(run["job_id"])
            events = [event["event_type"] for event in client.history(job["id"])["events"]]
            tick = datetime.fromisoformat(run["scheduled_at"]).astimezone(BERLIN)
            print(f"{tick:%d %b %H:%M}: {job['status']}, {events.count('task_retried')} retry, {job['result']}")

    print(Path("reports/2026-10-26.txt").read_text().rstrip())
    print("alerts:", Path("alerts.txt").read_text().rstrip())


if __name__ == "__main__":
    main()
