// The inside of each reply, field by field, client side. Called by `JSONCodec.message` and the iterators. Bounded by
// the line.

extension JSONScanner {
    mutating func errorReply() throws(WireError) -> ErrorReply {
        var result = ErrorReply(code: 0, message: .empty, isTemporary: false)
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "code":
                try seen.mark(1)
                result.code = try scanner.unsigned32()
            case "message":
                try seen.mark(2)
                result.message = try scanner.string()
            case "temporary":
                try seen.mark(3)
                result.isTemporary = try scanner.flag()
            case "retry_after":
                try seen.mark(4)
                result.retryAfter = try scanner.unsigned()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func connectResult() throws(WireError) -> ConnectResult {
        var result = ConnectResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "client":
                try seen.mark(1)
                result.client = try scanner.string()
            case "version":
                try seen.mark(2)
                result.version = try scanner.string()
            case "expires":
                try seen.mark(3)
                result.expires = try scanner.flag()
            case "ttl":
                try seen.mark(4)
                result.ttl = try scanner.unsigned32()
            case "data":
                try seen.mark(5)
                result.data = try scanner.raw()
            case "subs":
                try seen.mark(6)
                result.subscriptions = try scanner.inside(of: UInt8(ascii: "{"))
            case "ping":
                try seen.mark(7)
                result.ping = try scanner.unsigned32()
            case "pong":
                try seen.mark(8)
                result.pong = try scanner.flag()
            case "session":
                try seen.mark(9)
                result.session = try scanner.string()
            case "node":
                try seen.mark(10)
                result.node = try scanner.string()
            case "time":
                try seen.mark(11)
                result.time = try scanner.unsigned()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func subscribeResult() throws(WireError) -> SubscribeResult {
        var result = SubscribeResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "expires":
                try seen.mark(1)
                result.expires = try scanner.flag()
            case "ttl":
                try seen.mark(2)
                result.ttl = try scanner.unsigned32()
            case "recoverable":
                try seen.mark(3)
                result.recoverable = try scanner.flag()
            case "epoch":
                try seen.mark(4)
                result.epoch = try scanner.string()
            case "publications":
                try seen.mark(5)
                result.publications = try scanner.inside(of: UInt8(ascii: "["))
            case "recovered":
                try seen.mark(6)
                result.recovered = try scanner.flag()
            case "offset":
                try seen.mark(7)
                result.offset = try scanner.unsigned()
            case "positioned":
                try seen.mark(8)
                result.positioned = try scanner.flag()
            case "data":
                try seen.mark(9)
                result.data = try scanner.raw()
            case "was_recovering":
                try seen.mark(10)
                result.wasRecovering = try scanner.flag()
            case "delta":
                try seen.mark(11)
                result.delta = try scanner.flag()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func publishResult() throws(WireError) -> PublishResult {
        var result = PublishResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "offset":
                try seen.mark(1)
                result.offset = try scanner.unsigned()
            case "epoch":
                try seen.mark(2)
                result.epoch = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func historyResult() throws(WireError) -> HistoryResult {
        var result = HistoryResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "publications":
                try seen.mark(1)
                result.publications = try scanner.inside(of: UInt8(ascii: "["))
            case "epoch":
                try seen.mark(2)
                result.epoch = try scanner.string()
            case "offset":
                try seen.mark(3)
                result.offset = try scanner.unsigned()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    /// The result of both refreshes and the push of that name: they share their fields.
    mutating func refreshResult() throws(WireError) -> RefreshResult {
        var result = RefreshResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "client":
                try seen.mark(1)
                result.client = try scanner.string()
            case "version":
                try seen.mark(2)
                result.version = try scanner.string()
            case "expires":
                try seen.mark(3)
                result.expires = try scanner.flag()
            case "ttl":
                try seen.mark(4)
                result.ttl = try scanner.unsigned32()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func presenceResult() throws(WireError) -> PresenceResult {
        var result = PresenceResult()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "presence":
                try seen.mark(1)
                result.members = try scanner.inside(of: UInt8(ascii: "{"))
            case "cursor":
                try seen.mark(2)
                result.cursor = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func presenceCounts() throws(WireError) -> (clients: UInt32, users: UInt32) {
        var result: (clients: UInt32, users: UInt32) = (0, 0)
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "num_clients":
                try seen.mark(1)
                result.clients = try scanner.unsigned32()
            case "num_users":
                try seen.mark(2)
                result.users = try scanner.unsigned32()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    /// An object whose only field is `data`.
    mutating func onlyData() throws(WireError) -> WireBytes {
        var result = WireBytes.empty
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "data":
                try seen.mark(1)
                result = try scanner.raw()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func emptyObject() throws(WireError) {
        try object { scanner, _ throws(WireError) in try scanner.skipValue() }
    }
}
