"""Ask the model many questions at once, and the agent for refunds. Run it while ``avtomatika up`` runs here."""

from avtomatika.client import Client


def main() -> None:
    with Client.from_environment() as client:
        ask_many(client)
        write_to_agent(client, "Ada", "I ask for a refund of 40.")
        write_to_agent(client, "Bob", "I ask for a refund of 250.", decision="rejected")


def ask_many(client: Client) -> None:
    texts = [f"Chapter {number}: saws, blades, and what blades number {number} cut" for number in range(30)]
    questions = [{"tenant": "north", "text": text} for text in texts]
    questions += [{"tenant": "south", "text": "A short question"}, {"tenant": "south", "text": "too long " * 100}]
    submitted = client.submit_many("completion", [{"initial_data": question} for question in questions])
    jobs = [client.wait(job_id) for job_id in submitted["job_ids"]]
    answered = [job["result"] for job in jobs if job["status"] == "finished"]
    calls = round(sum(1 / result["batch"] for result in answered))
    print(f"{len(answered)} of {len(jobs)} questions are answered, by {calls} calls of the model")
    print(f"the other one: {jobs[-1]['result']['message']}")


def write_to_agent(client: Client, customer: str, text: str, decision: str | None = None) -> None:
    print(f"{customer}: {text}")
    job_id = client.submit("agent", {"customer": customer, "text": text})["job_id"]
    if decision is not None:
        while (job := client.job(job_id, wait=25))["waiting_for"] is None:
            pass  # the request returns when the job changes
        print(f"{job['waiting_for']['message']} {decision}")
        client.approve(job_id, decision)
    for entry in client.stream(job_id, kinds=["text"]):  # token by token, until the job ends
        print(entry["data"], end="|", flush=True)
    print()


if __name__ == "__main__":
    main()
