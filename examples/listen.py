#!/usr/bin/env python3
"""A listener in Python: prints what comes, and what it makes of the counts. Needs `pip install websockets`.

TIDINGS_TOKEN is a user's token: TIDINGS_TOKEN=$(tidings token --user ada)
An argument says after how many notifications to stop.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect

URL = os.environ.get("TIDINGS_URL", "http://127.0.0.1:7400").replace("http", "ws", 1) + "/v1/ws"
TOKEN = os.environ["TIDINGS_TOKEN"]


async def listen(most: float) -> None:
    # `connect` as an iterator comes back by itself, with growing pauses, whenever the connection ends.
    async for socket in connect(URL):
        await socket.send(json.dumps({"type": "token", "token": TOKEN}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "hello":
                print(f"I am {message['user']}, with {message['counts']['unread']} unread", flush=True)
            elif message["type"] == "notification":
                notification = message["notification"]
                print(f"{notification['type']}: {notification['title']}", flush=True)
                most -= 1
            elif message["type"] == "counts":
                print(f"{message['unread']} unread", flush=True)
                if most <= 0:
                    return
            elif message["type"] == "closing":
                print(f"closed: {message['reason']}", flush=True)


asyncio.run(listen(float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")))
