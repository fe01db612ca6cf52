// Replies in JSON, server side: the session calls these on its loop and owns the buffer. A message is appended without
// a line break; whoever puts several into one frame separates them by one. Absent, zero, false and empty are left out.

package import Bytes

extension JSONCodec {
    /// Appends the reply to the command `id`.
    package static func append(_ reply: Reply, id: UInt32, to out: inout ByteBuffer) {
        if case .publish(let result) = reply, result.offset == 0, result.epoch.count == 0 {
            // The acknowledgement in rooms without history: a constant but for the id.
            var cursor = JSONCursor(out.reserve(48))
            cursor.put("{\"id\":")
            cursor.put(decimal: UInt64(id))
            cursor.put(",\"publish\":{}}")
            return out.advance(by: cursor.count)
        }
        out.append("{\"id\":")
        out.append(decimal: UInt64(id))
        switch reply {
        case .publish(let result):
            out.append(",\"publish\":")
            out.appendObject { members, out in append(result, &members, &out) }
        case .error(let error):
            out.append(",\"error\":")
            append(error, to: &out)
        default:
            appendOther(reply, to: &out)
        }
        out.append(UInt8(ascii: "}"))
    }

    private static func appendOther(_ reply: Reply, to out: inout ByteBuffer) {
        switch reply {
        case .error, .publish: break
        case .connect(let result):
            out.append(",\"connect\":")
            append(result, to: &out)
        case .subscribe(let result):
            out.append(",\"subscribe\":")
            append(result, to: &out)
        case .unsubscribe: out.append(",\"unsubscribe\":{}")
        case .presence(let result):
            out.append(",\"presence\":")
            out.appendObject { members, out in
                members.map("presence", result.members, &out)
                members.string("cursor", result.cursor, &out)
            }
        case .presenceStats(let clients, let users):
            out.append(",\"presence_stats\":")
            out.appendObject { members, out in
                members.number("num_clients", clients, &out)
                members.number("num_users", users, &out)
            }
        case .history(let result):
            out.append(",\"history\":")
            out.appendObject { members, out in
                members.list("publications", result.publications, &out)
                members.string("epoch", result.epoch, &out)
                members.number("offset", result.offset, &out)
            }
        case .ping: out.append(",\"ping\":{}")
        case .rpc(let data):
            out.append(",\"rpc\":")
            out.appendObject { members, out in members.json("data", data, &out) }
        case .refresh(let result):
            out.append(",\"refresh\":")
            out.appendObject { members, out in
                members.string("client", result.client, &out)
                members.string("version", result.version, &out)
                members.flag("expires", result.expires, &out)
                members.number("ttl", result.ttl, &out)
            }
        case .subRefresh(let expires, let ttl):
            out.append(",\"sub_refresh\":")
            appendExpiry(expires: expires, ttl: ttl, to: &out)
        }
    }

    /// Appends the server's ping.
    package static func appendPing(to out: inout ByteBuffer) { out.append("{}") }

    /// Appends one entry to `entries`, which become `ConnectResult.subscriptions`. Rooms must differ.
    package static func appendEntry(room: WireBytes, _ result: SubscribeResult, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(jsonString: room)
        entries.append(UInt8(ascii: ":"))
        append(result, to: &entries)
    }

    /// Appends one entry to `entries`, which become the reply to `presence`. Clients must differ.
    package static func appendEntry(client: WireBytes, _ info: ClientInfo, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(jsonString: client)
        entries.append(UInt8(ascii: ":"))
        append(info, to: &entries)
    }

    /// The same with an info that was encoded before (`appendInfo`).
    package static func appendEntry(client: WireBytes, encodedInfo info: WireBytes, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(jsonString: client)
        entries.append(UInt8(ascii: ":"))
        entries.append(info)
    }

    // MARK: - Parts

    private static func append(_ result: PublishResult, _ members: inout JSONMembers, _ out: inout ByteBuffer) {
        members.number("offset", result.offset, &out)
        members.string("epoch", result.epoch, &out)
    }

    private static func append(_ error: ErrorReply, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.number("code", error.code, &out)
            members.string("message", error.message, &out)
            members.flag("temporary", error.isTemporary, &out)
            members.number("retry_after", error.retryAfter, &out)
        }
    }

    static func append(_ result: ConnectResult, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("client", result.client, &out)
            members.string("version", result.version, &out)
            members.flag("expires", result.expires, &out)
            members.number("ttl", result.ttl, &out)
            members.json("data", result.data, &out)
            members.map("subs", result.subscriptions, &out)
            members.number("ping", result.ping, &out)
            members.flag("pong", result.pong, &out)
            members.string("session", result.session, &out)
            members.string("node", result.node, &out)
            members.number("time", result.time, &out)
        }
    }

    private static func append(_ result: SubscribeResult, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.flag("expires", result.expires, &out)
            members.number("ttl", result.ttl, &out)
            members.flag("recoverable", result.recoverable, &out)
            members.string("epoch", result.epoch, &out)
            members.list("publications", result.publications, &out)
            members.flag("recovered", result.recovered, &out)
            members.number("offset", result.offset, &out)
            members.flag("positioned", result.positioned, &out)
            members.json("data", result.data, &out)
            members.flag("was_recovering", result.wasRecovering, &out)
            members.flag("delta", result.delta, &out)
        }
    }

    static func appendExpiry(expires: Bool, ttl: UInt32, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.flag("expires", expires, &out)
            members.number("ttl", ttl, &out)
        }
    }

    static func append(_ info: ClientInfo, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.string("user", info.user, &out)
            members.string("client", info.client, &out)
            members.json("conn_info", info.connectionInfo, &out)
            members.json("chan_info", info.roomInfo, &out)
        }
    }
}
