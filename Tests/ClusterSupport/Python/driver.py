"""Steers clients made with centrifuge-python for tests: one JSON object a line in, one event a line out.

Every line of the input names an operation ("do"), a client ("client") and a tag; its outcome is an event
{"event": "done", "tag": ...} or {"event": "failed", "tag": ..., "code": ..., "reason": ...}. What happens to a client
without being asked is an event with the client's name. The program ends with its input.

The operations on bare sockets ("raw_...") are for what an SDK would never send.
"""

import asyncio
import json
import sys

try:
    import centrifuge
    import websockets
    from centrifuge.__meta__ import __version__
except ImportError as error:
    print(json.dumps({"event": "missing", "reason": str(error)}), flush=True)
    sys.exit(3)


def say(event, **fields):
    """Writes one event; a field without a value is left out."""
    line = {"event": event, **{name: value for name, value in fields.items() if value is not None}}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Connection(centrifuge.ClientEventHandler):
    """What happens to a connection."""

    def __init__(self, name):
        self.name = name

    async def on_connecting(self, ctx):
        say("connecting", client=self.name, code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx):
        say("connected", client=self.name, id=ctx.client, version=ctx.version)

    async def on_disconnected(self, ctx):
        say("disconnected", client=self.name, code=ctx.code, reason=ctx.reason)


class Membership(centrifuge.SubscriptionEventHandler):
    """What happens to a client in a room."""

    def __init__(self, name, room):
        self.name = name
        self.room = room

    async def on_subscribing(self, ctx):
        say("joining", client=self.name, room=self.room, code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx):
        position = ctx.stream_position
        continuity = "fresh" if not ctx.was_recovering else "recovered" if ctx.recovered else "lost"
        say(
            "joined",
            client=self.name,
            room=self.room,
            continuity=continuity,
            offset=position.offset if position else None,
            epoch=position.epoch if position else None,
        )

    async def on_unsubscribed(self, ctx):
        say("left", client=self.name, room=self.room, code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx):
        code = getattr(ctx.error, "code", ctx.code)
        say("refused", client=self.name, room=self.room, code=code, reason=str(ctx.error))

    async def on_publication(self, ctx):
        info = ctx.pub.info
        text = ctx.pub.data.get("text") if isinstance(ctx.pub.data, dict) else None
        say(
            "message",
            client=self.name,
            room=self.room,
            user=info.user if info else None,
            author=info.client if info else None,
            text=text,
            data=json.dumps(ctx.pub.data, sort_keys=True),
            offset=ctx.pub.offset or None,
        )


class Raw:
    """A connection that speaks the protocol by hand."""

    def __init__(self, name, socket):
        self.name = name
        self.socket = socket
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        try:
            async for frame in self.socket:
                for line in frame.splitlines():
                    say("raw", client=self.name, text=line)
        except websockets.ConnectionClosed:
            pass
        code = self.socket.close_code
        say("raw_closed", client=self.name, code=code, reason=self.socket.close_reason)


class Churner:
    """A member that enters one room after the other and notes every message that it must not see."""

    def __init__(self, socket):
        self.socket = socket
        self.id = 0
        self.lines = []
        self.here = None
        self.seen = 0
        self.faults = []

    async def next(self):
        while not self.lines:
            frame = await self.socket.recv()
            self.lines = [json.loads(line) for line in frame.splitlines()]
        return self.lines.pop(0)

    async def step(self):
        """Takes one message of the server; returns it when it is a reply."""
        message = await self.next()
        if not message:
            await self.socket.send("{}")
            return None
        push = message.get("push")
        if push is None:
            return message
        self.seen += 1
        sent_to = push.get("pub", {}).get("data", {}).get("text", "").split(" ")[0]
        if push.get("channel") != self.here or sent_to != self.here:
            self.faults.append(f"in {self.here}: {json.dumps(push)}")
        return None

    async def ask(self, command, body):
        self.id += 1
        await self.socket.send(json.dumps({"id": self.id, command: body}))
        while True:
            reply = await self.step()
            if reply is not None:
                if reply.get("id") != self.id or "error" in reply:
                    self.faults.append(f"{command}: {json.dumps(reply)}")
                return

    async def run(self, rooms, rounds, messages):
        await self.ask("connect", {})
        for turn in range(rounds):
            room = rooms[turn % len(rooms)]
            # Nothing of the room may come before the reply, which `ask` reads last.
            self.id += 1
            await self.socket.send(json.dumps({"id": self.id, "subscribe": {"channel": room}}))
            while True:
                reply = await self.step()
                if reply is not None:
                    break
            if reply.get("id") != self.id or "error" in reply:
                self.faults.append(f"subscribe: {json.dumps(reply)}")
                return
            self.here = room
            enough = self.seen + messages
            while self.seen < enough:
                await self.step()
            await self.ask("unsubscribe", {"channel": room})
            self.here = None


class Balancer:
    """A load balancer in front of gateways: hands every connection on to the gateway of the moment."""

    def __init__(self, target):
        self.target = target
        self.writers = set()

    async def handle(self, reader, writer):
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.carry(reader, upstream[1]), self.carry(upstream[0], writer))

    async def carry(self, reader, writer):
        self.writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        self.writers.discard(writer)
        writer.close()

    def switch(self, target):
        """Cuts all connections; new ones go to `target`."""
        self.target = target
        for writer in self.writers:
            writer.transport.abort()


class Driver:
    def __init__(self):
        self.clients = {}
        self.raws = {}
        self.balancers = {}
        self.pumps = {}

    def sub(self, request):
        client = self.clients[request["client"]]
        room = request["room"]
        return client.get_subscription(room) or client.new_subscription(
            room, Membership(request["client"], room), recoverable=True
        )

    # Clients made with the SDK.

    async def new(self, request):
        name = request["client"]
        client = centrifuge.Client(
            request["url"], Connection(name), timeout=request.get("timeout", 20), max_reconnect_delay=0.5, proxy=None
        )
        answer = client._handle_ping

        async def note_ping():
            say("ping", client=name)
            await answer()

        client._handle_ping = note_ping
        self.clients[name] = client

    async def connect(self, request):
        client = self.clients[request["client"]]
        await client.connect()
        await client.ready()

    async def disconnect(self, request):
        await self.clients[request["client"]].disconnect()

    async def subscribe(self, request):
        sub = self.sub(request)
        await sub.subscribe()
        await sub.ready()

    async def unsubscribe(self, request):
        await self.sub(request).unsubscribe()

    async def publish(self, request):
        await self.clients[request["client"]].publish(request["room"], {"text": request["text"]})

    async def burst(self, request):
        """Publishes `count` messages without waiting for one before the next."""
        client = self.clients[request["client"]]
        texts = [f"{request['text']} {number}" for number in range(request["count"])]
        await asyncio.gather(*[client.publish(request["room"], {"text": text}) for text in texts])

    async def pump(self, request):
        """Publishes to `rooms` in turn until told to stop."""
        client = self.clients[request["client"]]
        ended = asyncio.Event()
        self.pumps[request["client"]] = ended
        number = 0
        while not ended.is_set():
            for room in request["rooms"]:
                await client.publish(room, {"text": f"{room} {number}"})
                number += 1
            await asyncio.sleep(0.002)
        return {"count": number}

    async def stop_pump(self, request):
        self.pumps[request["client"]].set()

    async def presence(self, request):
        await self.clients[request["client"]].presence(request["room"])

    async def presence_stats(self, request):
        await self.clients[request["client"]].presence_stats(request["room"])

    async def history(self, request):
        await self.clients[request["client"]].history(request["room"], limit=10)

    async def rpc(self, request):
        await self.clients[request["client"]].rpc("anything", {})

    # A load balancer; its "client" is its name.

    async def balance(self, request):
        balancer = Balancer(request["target"])
        server = await asyncio.start_server(balancer.handle, "127.0.0.1", 0)
        self.balancers[request["client"]] = (balancer, server)
        return {"port": server.sockets[0].getsockname()[1]}

    async def switch(self, request):
        self.balancers[request["client"]][0].switch(request["target"])

    # Sockets without an SDK.

    async def raw_open(self, request):
        socket = await websockets.connect(request["url"], proxy=None, ping_interval=None)
        self.raws[request["client"]] = Raw(request["client"], socket)

    async def raw_send(self, request):
        await self.raws[request["client"]].socket.send(request["text"])

    async def churn(self, request):
        async with websockets.connect(request["url"], proxy=None, ping_interval=None) as socket:
            churner = Churner(socket)
            await churner.run(request["rooms"], request["rounds"], request["messages"])
        return {"count": churner.seen, "faults": churner.faults}

    async def perform(self, request):
        tag = request.get("tag")
        try:
            result = await getattr(self, request["do"])(request)
            say("done", tag=tag, client=request.get("client"), **(result or {}))
        except centrifuge.ReplyError as error:
            say("failed", tag=tag, client=request.get("client"), code=error.code, reason=error.message)
        except Exception as error:
            say("failed", tag=tag, client=request.get("client"), code=0, reason=f"{type(error).__name__}: {error}")


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    driver = Driver()
    running = set()
    say("ready", version=__version__)
    while line := await reader.readline():
        task = asyncio.ensure_future(driver.perform(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


try:
    asyncio.run(main())
except (KeyboardInterrupt, BrokenPipeError):
    pass
