from datetime import timedelta

from avtomatika import AsyncClient, Client

with Client("http://localhost:8080", "token-of-the-shop", timeout=timedelta(seconds=5)) as client:
    submitted = client.submit("order", {"size": 1}, priority=3, execution_timeout=timedelta(hours=1))
    client.submit("order", prioritty=3)  # wrong: call-arg
    client.submit("order", {"size": 1}, labels={"shop": 3})  # wrong: dict-item
    job = client.wait(submitted["job_id"], timeout=60)
    print(job["result"], job["reslt"])  # wrong: misc
    for summary in client.jobs(status="failed", label=["shop=north"]):
        print(summary["id"], summary["idd"])  # wrong: misc
    for chunk in client.stream(job["id"], kinds=("text",)):
        print(chunk["data"], chunk["date"])  # wrong: misc
    client.stream(job["id"], since=3)  # wrong: call-arg
    client.cancle(job["id"])  # wrong: attr-defined
    client.send_task("encode", {"path": "a.mov"}, delay=60, retries=2, time_limit=timedelta(minutes=1))
    client.send_tasks("encode", [{}], priority="high")  # wrong: arg-type
    client.send_task("encode", path="a.mov")  # wrong: call-arg


async def submit(client: AsyncClient) -> str:
    await client.submit("order", prioritty=3)  # wrong: call-arg
    submitted = await client.submit("order", {"size": 1})
    async for entry in client.jobs(label="shop=north"):
        print(entry["statuss"])  # wrong: misc
    async for chunk in client.stream(submitted["job_id"], follow="yes"):  # wrong: arg-type
        print(chunk["attempt"])
    return submitted["job_id"]
