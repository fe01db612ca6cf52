// What a client says: makes Wire's views from the session's strings and appends the commands. Called by the session,
// one command per text frame.

import Bytes
import Wire

/// Appends commands to a buffer.
enum CommandWriter {
    /// `connect`, with the positions of rooms to which the server subscribed us last time. Asks for close hints.
    static func connect(
        id: UInt32, _ options: ClientOptions, recovering rooms: [(room: String, mark: StreamMark)],
        to out: inout ByteBuffer
    ) {
        var subscriptions = ByteBuffer()
        for (room, mark) in rooms {
            withSubscription(room, after: mark) { JSONCodec.appendEntry($0, to: &subscriptions) }
        }
        var headers = ByteBuffer()
        withBytes(CloseHint.header.description, "1") { JSONCodec.appendEntry(name: $0, value: $1, to: &headers) }
        var request = ConnectRequest()
        request.subscriptions = subscriptions.bytes
        request.headers = headers.bytes
        withBytes(options.token ?? "", options.name) { token, name in
            request.token = token
            request.name = name
            withBytes(options.version, "") { version, _ in
                request.version = version
                (options.data ?? []).withUnsafeBytes { data in
                    request.data = data
                    JSONCodec.append(Command(id: id, request: .connect(request)), to: &out)
                }
            }
        }
    }

    /// `subscribe`; with a mark it asks for what came after it.
    static func subscribe(
        id: UInt32, room: String, after mark: StreamMark?, joinLeave: Bool, to out: inout ByteBuffer
    ) {
        withSubscription(room, after: mark, joinLeave: joinLeave) {
            JSONCodec.append(Command(id: id, request: .subscribe($0)), to: &out)
        }
    }

    /// `publish`; `key` lets the server recognise a repetition.
    static func publish(id: UInt32, room: String, data: [UInt8], key: String, to out: inout ByteBuffer) {
        var request = PublishRequest()
        withBytes(room, key) { room, key in
            request.room = room
            request.idempotencyKey = key
            data.withUnsafeBytes { data in
                request.data = data
                JSONCodec.append(Command(id: id, request: .publish(request)), to: &out)
            }
        }
    }

    /// `unsubscribe`.
    static func unsubscribe(id: UInt32, room: String, to out: inout ByteBuffer) {
        withBytes(room, "") { room, _ in
            JSONCodec.append(Command(id: id, request: .unsubscribe(room: room)), to: &out)
        }
    }

    /// `presence`: about `limit` members from `cursor` on; empty: from the first one.
    static func presence(id: UInt32, room: String, limit: UInt32, cursor: String, to out: inout ByteBuffer) {
        withBytes(room, cursor) { room, cursor in
            var request = PresenceRequest(room: room)
            request.limit = limit
            request.cursor = cursor
            JSONCodec.append(Command(id: id, request: .presence(request)), to: &out)
        }
    }

    /// `presence_stats`.
    static func presenceStats(id: UInt32, room: String, to out: inout ByteBuffer) {
        withBytes(room, "") { room, _ in
            JSONCodec.append(Command(id: id, request: .presenceStats(room: room)), to: &out)
        }
    }

    /// `history`: the last `limit` publications, newest first.
    static func history(id: UInt32, room: String, limit: Int, to out: inout ByteBuffer) {
        var request = HistoryRequest()
        request.limit = Int32(clamping: limit)
        request.reverse = true
        withBytes(room, "") { room, _ in
            request.room = room
            JSONCodec.append(Command(id: id, request: .history(request)), to: &out)
        }
    }

    /// `ping`.
    static func ping(id: UInt32, to out: inout ByteBuffer) {
        JSONCodec.append(Command(id: id, request: .ping), to: &out)
    }

    /// The answer to the server's ping.
    static func pong(to out: inout ByteBuffer) { JSONCodec.append(Command(id: 0, request: .pong), to: &out) }

    /// `send`: has no id and gets no reply.
    static func send(data: [UInt8], to out: inout ByteBuffer) {
        data.withUnsafeBytes { JSONCodec.append(Command(id: 0, request: .send(data: $0)), to: &out) }
    }

    private static func withSubscription(
        _ room: String, after mark: StreamMark?, joinLeave: Bool = false, _ body: (SubscribeRequest) -> Void
    ) {
        var request = SubscribeRequest()
        request.joinLeave = joinLeave
        withBytes(room, mark?.epoch ?? "") { room, epoch in
            request.room = room
            // Without it a room that keeps history would tell no position to recover from.
            request.recoverable = true
            if let mark {
                request.recover = true
                request.epoch = epoch
                request.offset = mark.offset
            }
            body(request)
        }
    }

    private static func withBytes(_ first: String, _ second: String, _ body: (WireBytes, WireBytes) -> Void) {
        var (first, second) = (first, second)
        first.withUTF8 { first in
            second.withUTF8 { second in body(WireBytes(first), WireBytes(second)) }
        }
    }
}
