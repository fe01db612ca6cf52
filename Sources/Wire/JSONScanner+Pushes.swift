// The inside of each push, field by field, client side. Called by `JSONCodec.message` and the iterators. Bounded by the
// line.

extension JSONScanner {
    mutating func publication() throws(WireError) -> Publication {
        var result = Publication()
        try read(&result)
        return result
    }

    /// Reads the publication at the cursor into `result`, which is fresh: the most frequent message by far is not
    /// copied from hand to hand.
    mutating func read(_ result: inout Publication) throws(WireError) {
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "data":
                try seen.mark(1)
                result.data = try scanner.raw()
            case "info":
                try seen.mark(2)
                result.info = try scanner.optionalInfo()
            case "offset":
                try seen.mark(3)
                result.offset = try scanner.unsigned()
            case "tags":
                try seen.mark(4)
                result.tags = try scanner.inside(of: UInt8(ascii: "{"))
            case "delta":
                try seen.mark(5)
                result.isDelta = try scanner.flag()
            case "time":
                try seen.mark(6)
                result.time = try scanner.unsigned()
            case "channel":
                try seen.mark(7)
                result.room = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
    }

    mutating func clientInfo() throws(WireError) -> ClientInfo {
        var result = ClientInfo(user: .empty, client: .empty)
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "user":
                try seen.mark(1)
                result.user = try scanner.string()
            case "client":
                try seen.mark(2)
                result.client = try scanner.string()
            case "conn_info":
                try seen.mark(3)
                result.connectionInfo = try scanner.raw()
            case "chan_info":
                try seen.mark(4)
                result.roomInfo = try scanner.raw()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    private mutating func optionalInfo() throws(WireError) -> ClientInfo? {
        try takeNull() ? nil : try clientInfo()
    }

    /// The member that a join or leave is about.
    mutating func memberInfo() throws(WireError) -> ClientInfo {
        var result: ClientInfo?
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "info":
                try seen.mark(1)
                result = try scanner.optionalInfo()
            default:
                try scanner.skipValue()
            }
        }
        return result ?? ClientInfo(user: .empty, client: .empty)
    }

    /// The end of a subscription or of the connection.
    mutating func farewell() throws(WireError) -> (code: UInt32, reason: WireBytes, reconnect: Bool) {
        var result: (code: UInt32, reason: WireBytes, reconnect: Bool) = (0, .empty, false)
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "code":
                try seen.mark(1)
                result.code = try scanner.unsigned32()
            case "reason":
                try seen.mark(2)
                result.reason = try scanner.string()
            case "reconnect":
                try seen.mark(3)
                result.reconnect = try scanner.flag()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }

    mutating func subscribePush() throws(WireError) -> SubscribePush {
        var result = SubscribePush()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "recoverable":
                try seen.mark(1)
                result.recoverable = try scanner.flag()
            case "epoch":
                try seen.mark(2)
                result.epoch = try scanner.string()
            case "offset":
                try seen.mark(3)
                result.offset = try scanner.unsigned()
            case "positioned":
                try seen.mark(4)
                result.positioned = try scanner.flag()
            case "data":
                try seen.mark(5)
                result.data = try scanner.raw()
            default:
                try scanner.skipValue()
            }
        }
        return result
    }
}
