"""Skills of the nightly report, on the sales in ``sales.csv``."""

import csv
from datetime import date
from pathlib import Path

from avtomatika import InvalidInputError, TransientError, Worker

worker = Worker()


@worker.skill(time_limit=60)
def read_sales(day: date, attempt: int) -> dict:
    if attempt == 1:
        raise TransientError("the database is being backed up")  # as every night: tried again
    with open("sales.csv", newline="") as file:
        sales = {row["product"]: int(row["amount"]) for row in csv.DictReader(file) if row["day"] == str(day)}
    if not sales:
        raise InvalidInputError(f"no sales on {day}")  # trying again would not help
    return {"sales": sales}


@worker.skill
def write_report(day: date, sales: dict[str, int]) -> dict:
    lines = [f"{product:10}{amount:6}" for product, amount in sorted(sales.items())]
    file = Path("reports", f"{day}.txt")
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([f"Sales of {day}", *lines, f"{'total':10}{sum(sales.values()):6}", ""]))
    return {"report": str(file), "total": sum(sales.values())}


@worker.skill
def alert(text: str) -> None:
    with open("alerts.txt", "a") as file:
        file.write(f"{text}\n")
