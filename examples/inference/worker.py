"""A language model behind a queue, and a tool for an agent."""

from dataclasses import dataclass

import model

from avtomatika import InvalidInputError, Worker

worker = Worker()
LONGEST = 500


@dataclass
class Prompt:
    messages: list[str]


@worker.skill(batch=8, max_wait=0.2, rate="50/s")  # the rate holds for all workers together
def generate(params: list[Prompt], contexts):
    """Answer up to eight prompts by one call of the model, and stream the tokens of each to its own job."""
    answers: list[list[str]] = [[] for _ in params]
    for number, token in model.generate([prompt.messages for prompt in params]):
        answers[number].append(token)
        contexts[number].stream.write(f"{token} ")
    return [result(prompt, " ".join(tokens), len(params)) for prompt, tokens in zip(params, answers, strict=True)]


def result(prompt: Prompt, answer: str, batch: int):
    if len(prompt.messages[0]) > LONGEST:
        return InvalidInputError(
            f"more than {LONGEST} characters"
        )  # fails this prompt, and not the others of the batch
    if answer.startswith("CALL refund "):
        return {"status": "tool", "data": {"amount": int(answer.removeprefix("CALL refund "))}}
    return {"answer": answer, "batch": batch}


@worker.skill
def refund(customer: str, amount: int) -> dict:
    with open("refunds.txt", "a") as file:
        file.write(f"{customer} {amount}\n")
    return {"observation": f"{amount} were refunded"}
