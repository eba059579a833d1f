"""An order: reserve its items, wait for the payment, pack the items, ship. An order that is not paid releases them."""

from dataclasses import dataclass
from datetime import timedelta

from avtomatika import Blueprint


@dataclass
class Order:
    customer: str
    items: list[str]


@dataclass
class Payment:
    amount: int


bp = Blueprint("order", api_endpoint="jobs/order", input=Order)


@bp.handler(is_start=True)
def reserving(items, job_id, actions):
    actions.dispatch_task(
        "reserve", {"items": items, "order": job_id}, transitions={"success": "unpaid", "sold_out": "refused"}
    )


@bp.handler
def unpaid(actions):
    """Wait for the payment service."""
    actions.wait_for(
        "paid", schema=Payment, timeout=timedelta(days=14), transitions={"received": "counting", "timeout": "releasing"}
    )


@bp.handler
def counting(price, signal_data: Payment, job_data, actions):
    job_data["paid"] = job_data.get("paid", 0) + signal_data.amount
    actions.go_to("unpaid" if job_data["paid"] < price else "packing")


@bp.handler
def packing(items, actions):
    tasks = [{"task_type": "pack", "params": {"item": item}} for item in items]
    actions.dispatch_parallel(tasks, aggregate_into="shipping")


@bp.aggregator
def shipping(aggregation_results, customer, actions):
    parcels = [result["data"]["parcel"] for result in aggregation_results.values()]
    actions.dispatch_task("ship", {"parcels": parcels, "customer": customer}, transitions={"success": "shipped"})


@bp.handler
def releasing(job_id, error, job_data, actions):
    job_data["reason"] = error["code"]  # the next success clears the error
    actions.dispatch_task("release", {"order": job_id}, transitions={"success": "refused"})


@bp.handler(is_end=True)
def shipped(shipment, price, paid):
    return {"shipment": shipment, "price": price, "paid": paid}


@bp.handler(is_end="failed")
def refused(reason="sold out", missing=None):
    return {"reason": reason, "missing": missing}
