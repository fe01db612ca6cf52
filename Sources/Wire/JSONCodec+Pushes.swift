// Pushes in JSON, server side. A publication's fields are encoded once, by the loop that accepts it, and travel through
// the engine as bytes; the room's home loop puts room and offset around them and every member gets the same frame.
// A message is appended without a line break. Bounded by what is handed in.

package import Bytes

extension JSONCodec {
    /// Appends the members of a publication without braces and without offset, for example
    /// `"data":{"text":"hi"},"info":{…}`; the line breaks between the tokens of `data` are left out.
    package static func appendFields(of publication: Publication, to out: inout ByteBuffer) {
        var members = JSONMembers()
        members.json("data", publication.data, &out)
        if let info = publication.info {
            members.key("info", &out)
            append(info, to: &out)
        }
        members.map("tags", publication.tags, &out)
        members.flag("delta", publication.isDelta, &out)
        members.number("time", publication.time, &out)
        members.string("channel", publication.room, &out)
    }

    /// Appends the push of a publication: `{"push":{"channel":"…","pub":{…}}}`. `fields` comes from `appendFields`;
    /// an `offset` of 0 is left out.
    package static func appendPublicationPush(
        room: WireBytes, fields: WireBytes, offset: UInt64, to out: inout ByteBuffer
    ) {
        guard isPlain(room) else {
            beginPush(room: room, to: &out)
            out.append("\"pub\":{")
            appendPositioned(fields, offset, to: &out)
            return out.append("}}}")
        }
        // The constant parts have 60 bytes together, a number has at most 20.
        var cursor = JSONCursor(out.reserve(room.count + fields.count + 96))
        cursor.put("{\"push\":{\"channel\":\"")
        cursor.put(room)
        cursor.put("\",\"pub\":{")
        cursor.put(fields)
        if offset > 0 {
            if fields.count > 0 { cursor.put(",") }
            cursor.put("\"offset\":")
            cursor.put(decimal: offset)
        }
        cursor.put("}}}")
        out.advance(by: cursor.count)
    }

    /// Appends a member as it stands in pushes, lists and publications.
    package static func appendInfo(_ info: ClientInfo, to out: inout ByteBuffer) { append(info, to: &out) }

    /// Appends the push of a join, or of a leave, of the member with this encoded info.
    package static func appendMemberPush(room: WireBytes, joins: Bool, info: WireBytes, to out: inout ByteBuffer) {
        beginPush(room: room, to: &out)
        out.append(joins ? "\"join\":{\"info\":" : "\"leave\":{\"info\":")
        out.append(info)
        out.append("}}}")
    }

    /// Whether `room` is a name that needs no escapes; the empty one is left out altogether.
    @inline(__always)
    private static func isPlain(_ room: WireBytes) -> Bool {
        guard let base = room.baseAddress, room.count > 0 else { return false }
        return ByteScan.stringBreak(base, 0, room.count) == room.count
    }

    /// Appends one entry to `entries`, which become the publications of a reply.
    package static func appendEntry(fields: WireBytes, offset: UInt64, to entries: inout ByteBuffer) {
        entries.separateEntries()
        entries.append(UInt8(ascii: "{"))
        appendPositioned(fields, offset, to: &entries)
        entries.append(UInt8(ascii: "}"))
    }

    /// Appends a push about `room`, which is empty where the push is not about a room.
    package static func append(_ push: Push, room: WireBytes, to out: inout ByteBuffer) {
        beginPush(room: room, to: &out)
        switch push {
        case .publication(let publication):
            out.append("\"pub\":{")
            let start = out.count
            appendFields(of: publication, to: &out)
            if publication.offset > 0 {
                if out.count > start { out.append(UInt8(ascii: ",")) }
                out.append("\"offset\":")
                out.append(decimal: publication.offset)
            }
            out.append(UInt8(ascii: "}"))
        case .join(let info):
            out.append("\"join\":")
            out.appendObject { members, out in append(info, "info", &members, &out) }
        case .leave(let info):
            out.append("\"leave\":")
            out.appendObject { members, out in append(info, "info", &members, &out) }
        case .unsubscribe(let code, let reason):
            out.append("\"unsubscribe\":")
            out.appendObject { members, out in
                members.number("code", code, &out)
                members.string("reason", reason, &out)
            }
        case .message(let data):
            out.append("\"message\":")
            out.appendObject { members, out in members.json("data", data, &out) }
        case .subscribe(let subscription):
            out.append("\"subscribe\":")
            append(subscription, to: &out)
        case .connect(let result):
            out.append("\"connect\":")
            append(result, to: &out)
        case .disconnect(let code, let reason, let reconnect):
            out.append("\"disconnect\":")
            out.appendObject { members, out in
                members.number("code", code, &out)
                members.string("reason", reason, &out)
                members.flag("reconnect", reconnect, &out)
            }
        case .refresh(let expires, let ttl):
            out.append("\"refresh\":")
            appendExpiry(expires: expires, ttl: ttl, to: &out)
        }
        out.append("}}")
    }

    /// Appends the unsubscribe push for one of our codes.
    package static func appendUnsubscribePush(
        room: WireBytes, _ code: UnsubscribeCode, to out: inout ByteBuffer
    ) {
        let reason = WireBytes(start: code.reason.utf8Start, count: code.reason.utf8CodeUnitCount)
        append(.unsubscribe(code: code.rawValue, reason: reason), room: room, to: &out)
    }

    // MARK: - Parts

    @inline(__always)
    private static func beginPush(room: WireBytes, to out: inout ByteBuffer) {
        out.append("{\"push\":{")
        guard room.count > 0 else { return }
        out.append("\"channel\":")
        out.append(jsonString: room)
        out.append(UInt8(ascii: ","))
    }

    @inline(__always)
    private static func appendPositioned(_ fields: WireBytes, _ offset: UInt64, to out: inout ByteBuffer) {
        out.append(fields)
        guard offset > 0 else { return }
        if fields.count > 0 { out.append(UInt8(ascii: ",")) }
        out.append("\"offset\":")
        out.append(decimal: offset)
    }

    private static func append(
        _ info: ClientInfo, _ name: StaticString, _ members: inout JSONMembers, _ out: inout ByteBuffer
    ) {
        members.key(name, &out)
        append(info, to: &out)
    }

    private static func append(_ subscription: SubscribePush, to out: inout ByteBuffer) {
        out.appendObject { members, out in
            members.flag("recoverable", subscription.recoverable, &out)
            members.string("epoch", subscription.epoch, &out)
            members.number("offset", subscription.offset, &out)
            members.flag("positioned", subscription.positioned, &out)
            members.json("data", subscription.data, &out)
        }
    }
}
