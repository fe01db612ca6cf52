// Commands in JSON, client side: what the Swift client, the terminal client and the load tester send. A command is
// appended without a line break; several in one frame are separated by one. Absent, zero, false and empty are left out.

package import Bytes

extension JSONCodec {
    /// Appends `command`; its id is left out when it is 0.
    package static func append(_ command: Command, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.number("id", command.id, &out)
            append(command.request, &members, &out)
        }
    }

    /// Appends one entry to `entries`, which become `ConnectRequest.subscriptions`. Rooms must differ.
    package static func appendEntry(_ request: SubscribeRequest, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(jsonString: request.room)
        entries.append(UInt8(ascii: ":"))
        var inner = request
        inner.room = .empty
        append(inner, to: &entries)
    }

    /// Appends one pair to `entries`, which become `ConnectRequest.headers` or `Publication.tags`. Names must differ.
    package static func appendEntry(name: WireBytes, value: WireBytes, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(jsonString: name)
        entries.append(UInt8(ascii: ":"))
        entries.append(jsonString: value)
    }

    // MARK: - Parts

    private static func append(_ request: Request, _ members: inout JSONMembers, _ out: inout ByteBuffer) {
        switch request {
        case .pong: break
        case .publish(let publish):
            members.key("publish", &out)
            append(publish, to: &out)
        case .connect(let connect):
            members.key("connect", &out)
            append(connect, to: &out)
        case .subscribe(let subscribe):
            members.key("subscribe", &out)
            append(subscribe, to: &out)
        case .unsubscribe(let room): append("unsubscribe", room: room, &members, &out)
        case .presence(let presence):
            members.key("presence", &out)
            append(presence, to: &out)
        case .presenceStats(let room): append("presence_stats", room: room, &members, &out)
        case .history(let history):
            members.key("history", &out)
            append(history, to: &out)
        case .ping: append("ping", &members, &out)
        case .send(let data):
            members.key("send", &out)
            out.appendObject { members, out in members.json("data", data, &out) }
        case .rpc(let method, let data):
            members.key("rpc", &out)
            out.appendObject { members, out in
                members.json("data", data, &out)
                members.string("method", method, &out)
            }
        case .refresh(let token): append("refresh", token: token, &members, &out)
        case .subRefresh(let room, let token): append("sub_refresh", room: room, token: token, &members, &out)
        }
    }

    private static func append(
        _ name: StaticString, room: WireBytes = .empty, token: WireBytes = .empty, _ members: inout JSONMembers,
        _ out: inout ByteBuffer
    ) {
        members.key(name, &out)
        out.appendObject { members, out in
            members.string("channel", room, &out)
            members.string("token", token, &out)
        }
    }

    private static func append(_ request: ConnectRequest, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("token", request.token, &out)
            members.json("data", request.data, &out)
            members.map("subs", request.subscriptions, &out)
            members.string("name", request.name, &out)
            members.string("version", request.version, &out)
            members.map("headers", request.headers, &out)
        }
    }

    private static func append(_ request: SubscribeRequest, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("channel", request.room, &out)
            members.string("token", request.token, &out)
            members.flag("recover", request.recover, &out)
            members.string("epoch", request.epoch, &out)
            members.number("offset", request.offset, &out)
            members.json("data", request.data, &out)
            members.flag("positioned", request.positioned, &out)
            members.flag("recoverable", request.recoverable, &out)
            members.flag("join_leave", request.joinLeave, &out)
            members.string("delta", request.delta, &out)
        }
    }

    private static func append(_ request: PublishRequest, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("channel", request.room, &out)
            members.json("data", request.data, &out)
            members.string("idempotency_key", request.idempotencyKey, &out)
        }
    }

    private static func append(_ request: PresenceRequest, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("channel", request.room, &out)
            members.number("limit", request.limit, &out)
            members.string("cursor", request.cursor, &out)
        }
    }

    private static func append(_ request: HistoryRequest, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("channel", request.room, &out)
            if request.limit != 0 {
                members.key("limit", &out)
                if request.limit < 0 { out.append(UInt8(ascii: "-")) }
                out.append(decimal: UInt64(request.limit.magnitude))
            }
            if let since = request.since {
                members.key("since", &out)
                out.appendObject { members, out in
                    members.number("offset", since.offset, &out)
                    members.string("epoch", since.epoch, &out)
                }
            }
            members.flag("reverse", request.reverse, &out)
        }
    }
}
