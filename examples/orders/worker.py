"""Skills of a shop. The stock is a folder: one file for each piece, which an order moves to a folder of its own."""

import os
from collections import Counter
from pathlib import Path

from avtomatika import Worker

worker = Worker()
PRICES = {"lamp": 40, "chair": 90, "table": 250}


@worker.skill
def reserve(items: list[str], order: str) -> dict:
    """Take the items from the stock, all or none. A second run, after a crash, takes only what is missing."""
    mine = Path("reserved", order)
    mine.mkdir(parents=True, exist_ok=True)
    wanted = Counter(items) - Counter(piece.name.partition("-")[0] for piece in mine.iterdir())
    for item, count in wanted.items():
        pieces = sorted(Path("stock").glob(f"{item}-*"))
        if len(pieces) < count:
            release(order)
            return {"status": "sold_out", "data": {"missing": item}}
        for piece in pieces[:count]:
            os.rename(piece, mine / piece.name)
    return {"price": sum(PRICES[item] for item in items)}


@worker.skill
def release(order: str) -> None:
    for piece in Path("reserved", order).glob("*"):
        os.rename(piece, Path("stock", piece.name))


@worker.skill
def pack(item: str) -> dict:
    return {"parcel": f"one {item}, in paper"}


@worker.skill
def ship(parcels: list[str], customer: str) -> dict:
    return {"shipment": f"{len(parcels)} parcels to {customer}: {'; '.join(parcels)}"}
