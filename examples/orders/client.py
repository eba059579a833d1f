"""Order from the shop, and pay in two parts. Run it while ``avtomatika up`` runs here."""

from pathlib import Path

from avtomatika.client import Client
from avtomatika.errors import AvtomatikaError


def main() -> None:
    fill_the_stock()
    with Client.from_environment() as client:
        job_id = client.submit("order", {"customer": "Ada", "items": ["lamp", "table"]}, labels={"shop": "north"})[
            "job_id"
        ]
        client.signal(job_id, "paid", {"amount": 100}, idempotency_key="transfer-1")
        client.signal(job_id, "paid", {"amount": 100}, idempotency_key="transfer-1")  # sent twice: counts once
        try:
            client.signal(job_id, "paid", {"amount": "190"})
        except AvtomatikaError as error:
            print(f"refused: {error}")
        client.signal(job_id, "paid", {"amount": 190}, idempotency_key="transfer-2")
        print(client.wait(job_id)["result"])

        sold_out = client.wait(client.submit("order", {"customer": "Bob", "items": ["chair", "table"]})["job_id"])
        print(f"{sold_out['status']}: {sold_out['result']}")
    print("in stock:", sorted(piece.name for piece in Path("stock").iterdir()))


def fill_the_stock() -> None:
    Path("stock").mkdir()
    for piece in ("lamp-1", "lamp-2", "chair-1", "table-1"):
        Path("stock", piece).touch()


if __name__ == "__main__":
    main()
