// What a client hears from a server, and its parser for JSON. Used by the Swift client and the load tester on their
// loops: slices into the frame and the scratch buffer, no copies. Kinds of pushes and fields that this version does not
// know are passed over, so that a newer server can be talked to; what is no valid message is an error.

package import Bytes

/// One message of a server.
package enum ServerMessage {
    /// To be answered by the empty command, if the reply to `connect` said so.
    case ping
    case reply(id: UInt32, Reply)
    case push(room: WireBytes, Push)
    /// A push of a kind that this version does not know.
    case unknownPush
}

extension JSONCodec {
    /// Parses one line of a server's frame. Slices of the message lie in `line` or in `scratch`, which is emptied first
    /// and never holds more bytes than the line.
    package static func message(_ line: WireBytes, scratch: inout ByteBuffer) throws(WireError) -> ServerMessage {
        try scan(line, scratch: &scratch) { scanner throws(WireError) in
            var id: UInt32 = 0
            var message = ServerMessage.ping
            var reply: Reply?
            var hasPush = false
            var isEmpty = true
            var seen = SeenFields()
            try scanner.object { scanner, key throws(WireError) in
                isEmpty = false
                switch key {
                case "id":
                    try seen.mark(0)
                    id = try scanner.unsigned32()
                case "push":
                    try seen.mark(1)
                    if try !scanner.takeNull() {
                        try scanner.push(into: &message)
                        hasPush = true
                    }
                default:
                    if let found = try scanner.reply(key) {
                        // One command, one answer.
                        guard reply == nil else { throw .duplicateField }
                        reply = found
                    }
                }
            }
            if hasPush, reply == nil { return message }
            if let reply, !hasPush {
                guard id > 0 else { throw .missingID }
                return .reply(id: id, reply)
            }
            guard isEmpty else { throw .unknownKind }
            return .ping
        }
    }
}

extension JSONScanner {
    /// Reads the push at the cursor into `message`.
    fileprivate mutating func push(into message: inout ServerMessage) throws(WireError) {
        var room = WireBytes.empty
        var publication = Publication()
        var isPublication = false
        var other: Push?
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            if case "channel" = key {
                try seen.mark(0)
                return room = try scanner.string()
            }
            if case "pub" = key, scanner.byte == UInt8(ascii: "{") {
                guard !isPublication, other == nil else { throw .duplicateField }
                isPublication = true
                return try scanner.read(&publication)
            }
            if let found = try scanner.otherPush(key) {
                guard !isPublication, other == nil else { throw .duplicateField }
                other = found
            }
        }
        if isPublication {
            message = .push(room: room, .publication(publication))
        } else if let other {
            message = .push(room: room, other)
        } else {
            message = .unknownPush
        }
    }

    private mutating func otherPush(_ key: JSONKey) throws(WireError) -> Push? {
        if try takeNull() { return nil }
        switch key {
        case "pub": return .publication(try publication())
        case "join": return .join(try memberInfo())
        case "leave": return .leave(try memberInfo())
        case "unsubscribe":
            let (code, reason, _) = try farewell()
            return .unsubscribe(code: code, reason: reason)
        case "message": return .message(data: try onlyData())
        case "subscribe": return .subscribe(try subscribePush())
        case "connect": return .connect(try connectResult())
        case "disconnect":
            let (code, reason, reconnect) = try farewell()
            return .disconnect(code: code, reason: reason, reconnect: reconnect)
        case "refresh":
            let result = try refreshResult()
            return .refresh(expires: result.expires, ttl: result.ttl)
        default:
            try skipValue()
            return nil
        }
    }

    /// The member of a reply that is its answer; nil for null and for what is not known.
    mutating func reply(_ key: JSONKey) throws(WireError) -> Reply? {
        if try takeNull() { return nil }
        switch key {
        case "publish": return .publish(try publishResult())
        case "error": return .error(try errorReply())
        case "connect": return .connect(try connectResult())
        case "subscribe": return .subscribe(try subscribeResult())
        case "unsubscribe":
            try emptyObject()
            return .unsubscribe
        case "presence": return .presence(try presenceResult())
        case "presence_stats":
            let (clients, users) = try presenceCounts()
            return .presenceStats(clients: clients, users: users)
        case "history": return .history(try historyResult())
        case "ping":
            try emptyObject()
            return .ping
        case "rpc": return .rpc(data: try onlyData())
        case "refresh": return .refresh(try refreshResult())
        case "sub_refresh":
            let result = try refreshResult()
            return .subRefresh(expires: result.expires, ttl: result.ttl)
        default:
            try skipValue()
            return nil
        }
    }
}
