#!/usr/bin/env python3
"""A service in Python that publishes over NATS and hears what goes out. Needs `pip install nats-py`, and nothing of ours.

NATS_URL says where the broker is. The server needs `nats.out = ["users"]`.
"""

import asyncio
import json
import os

import nats

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")


async def main() -> None:
    client = await nats.connect(URL)
    heard = await client.subscribe("tidings.user.ada")
    await client.flush()

    # To the stream: a CloudEvent in binary mode, with its attributes as headers. The broker answers that it has it.
    headers = {"ce-specversion": "1.0", "ce-id": "order-7-paid", "ce-source": "/orders", "ce-type": "order.paid"}
    data = {"title": "Order 7 was paid", "audience": {"users": ["ada"]}}
    stored = await client.jetstream().publish("tidings.publish.orders", json.dumps(data).encode(), headers=headers)
    print(f"stored in {stored.stream}", flush=True)
    message = json.loads((await heard.next_msg(timeout=20)).data)
    print(f"{message['type']}: {message['notification']['title']}", flush=True)

    # By a request, with an answer: this one is refused, and says why.
    answer = await client.request("tidings.request.publish", b'{"type": "note", "titel": "Tea"}', timeout=20)
    problem = json.loads(answer.data)
    print(f"{answer.headers['Nats-Service-Error-Code']}: {problem['detail']}", flush=True)
    await client.close()


asyncio.run(main())
