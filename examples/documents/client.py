"""An author submits two drafts; an editor reviews the complete one. Run it while ``avtomatika up`` runs here."""

import tomllib
from pathlib import Path

from avtomatika.client import Client
from avtomatika.errors import AvtomatikaError

TOKENS = {name: section["token"] for name, section in tomllib.loads(Path("clients.toml").read_text()).items()}
DRAFT = {"title": "Changing the blade", "text": "Switch the saw off.\nTODO: a picture of the lock.\nTurn the nut."}


def main() -> None:
    with Client.from_environment(TOKENS["bob"]) as bob, Client.from_environment(TOKENS["anna"]) as anna:
        refused = bob.wait(bob.submit("document", DRAFT)["job_id"])
        print(f"bob's draft is {refused['status']}, to be written: {refused['result']['gaps']}")

        text = DRAFT["text"].replace("TODO: a picture of the lock.", "Hold the lock.")
        job_id = bob.submit("document", {**DRAFT, "text": text})["job_id"]
        while (job := bob.job(job_id, wait=25))["waiting_for"] is None:
            pass  # the request returns when the job changes
        print(f"the complete one waits for an editor: {job['waiting_for']['message']}")
        decide(bob, "bob", job_id, {"category": "manual"})
        decide(anna, "anna", job_id, {"category": "poems"})
        decide(anna, "anna", job_id, {"category": "manual", "note": "well written"})
        print(f"{job_id} is {bob.wait(job_id)['status']}: {bob.job(job_id)['result']}")


def decide(client: Client, name: str, job_id: str, form: dict[str, str]) -> None:
    try:
        client.approve(job_id, "approved", data=form)
    except AvtomatikaError as error:
        print(f"{name} may not: {error}")
    else:
        print(f"{name} has approved it: {form}")


if __name__ == "__main__":
    main()
