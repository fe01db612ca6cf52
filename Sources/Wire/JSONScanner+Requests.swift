// The inside of each command, read field by field as the object goes by. Called by `JSONCodec.command` and by the
// iterator over the subscriptions of `connect`. Bounded by the line.

extension JSONScanner {
    /// The request of `kind` at the cursor; nil for null, which counts as absent.
    @inline(__always)
    mutating func request(_ kind: CommandKind) throws(WireError) -> Request? {
        if kind == .publish, byte == UInt8(ascii: "{") { return .publish(try publishRequest()) }
        return try otherRequest(kind)
    }

    private mutating func otherRequest(_ kind: CommandKind) throws(WireError) -> Request? {
        if try takeNull() { return nil }
        switch kind {
        case .connect: return .connect(try connectRequest())
        case .subscribe: return .subscribe(try subscribeRequest())
        case .unsubscribe: return .unsubscribe(room: try roomAndToken().room)
        case .publish: return .publish(try publishRequest())
        case .presence: return .presence(try presenceRequest())
        case .presenceStats: return .presenceStats(room: try roomAndToken().room)
        case .history: return .history(try historyRequest())
        case .send: return .send(data: try methodAndData().data)
        case .rpc:
            let (method, data) = try methodAndData()
            return .rpc(method: method, data: data)
        case .refresh: return .refresh(token: try roomAndToken().token)
        case .subRefresh:
            let (room, token) = try roomAndToken()
            return .subRefresh(room: room, token: token)
        case .ping, .none:
            try object { scanner, _ throws(WireError) in try scanner.skipValue() }
            return .ping
        }
    }

    private mutating func connectRequest() throws(WireError) -> ConnectRequest {
        var request = ConnectRequest()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "token":
                try seen.mark(1)
                request.token = try scanner.string()
            case "data":
                try seen.mark(2)
                request.data = try scanner.raw()
            case "subs":
                try seen.mark(3)
                request.subscriptions = try scanner.inside(of: UInt8(ascii: "{"))
            case "name":
                try seen.mark(4)
                request.name = try scanner.string()
            case "version":
                try seen.mark(5)
                request.version = try scanner.string()
            case "headers":
                try seen.mark(6)
                request.headers = try scanner.inside(of: UInt8(ascii: "{"))
            default:
                try scanner.skipValue()
            }
        }
        return request
    }

    mutating func subscribeRequest() throws(WireError) -> SubscribeRequest {
        var request = SubscribeRequest()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "channel":
                try seen.mark(1)
                request.room = try scanner.string()
            case "token":
                try seen.mark(2)
                request.token = try scanner.string()
            case "recover":
                try seen.mark(3)
                request.recover = try scanner.flag()
            case "epoch":
                try seen.mark(6)
                request.epoch = try scanner.string()
            case "offset":
                try seen.mark(7)
                request.offset = try scanner.unsigned()
            case "data":
                try seen.mark(8)
                request.data = try scanner.raw()
            case "positioned":
                try seen.mark(9)
                request.positioned = try scanner.flag()
            case "recoverable":
                try seen.mark(10)
                request.recoverable = try scanner.flag()
            case "join_leave":
                try seen.mark(11)
                request.joinLeave = try scanner.flag()
            case "delta":
                try seen.mark(12)
                request.delta = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return request
    }

    @inline(__always)
    private mutating func publishRequest() throws(WireError) -> PublishRequest {
        var request = PublishRequest()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "channel":
                try seen.mark(1)
                request.room = try scanner.string()
            case "data":
                try seen.mark(2)
                request.data = try scanner.raw()
            case "idempotency_key":
                try seen.mark(3)
                request.idempotencyKey = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return request
    }

    private mutating func historyRequest() throws(WireError) -> HistoryRequest {
        var request = HistoryRequest()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "channel":
                try seen.mark(1)
                request.room = try scanner.string()
            case "limit":
                try seen.mark(7)
                request.limit = try scanner.signed32()
            case "since":
                try seen.mark(8)
                if try !scanner.takeNull() { request.since = try scanner.sincePosition() }
            case "reverse":
                try seen.mark(9)
                request.reverse = try scanner.flag()
            default:
                try scanner.skipValue()
            }
        }
        return request
    }

    private mutating func presenceRequest() throws(WireError) -> PresenceRequest {
        var request = PresenceRequest()
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "channel":
                try seen.mark(1)
                request.room = try scanner.string()
            case "limit":
                try seen.mark(2)
                request.limit = try scanner.unsigned32()
            case "cursor":
                try seen.mark(3)
                request.cursor = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return request
    }

    private mutating func sincePosition() throws(WireError) -> SincePosition {
        var position = SincePosition(offset: 0, epoch: .empty)
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "offset":
                try seen.mark(1)
                position.offset = try scanner.unsigned()
            case "epoch":
                try seen.mark(2)
                position.epoch = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return position
    }

    /// The fields of the requests that have at most a room and a token.
    private mutating func roomAndToken() throws(WireError) -> (room: WireBytes, token: WireBytes) {
        var room = WireBytes.empty
        var token = WireBytes.empty
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "channel":
                try seen.mark(1)
                room = try scanner.string()
            case "token":
                try seen.mark(2)
                token = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return (room, token)
    }

    private mutating func methodAndData() throws(WireError) -> (method: WireBytes, data: WireBytes) {
        var method = WireBytes.empty
        var data = WireBytes.empty
        var seen = SeenFields()
        try object { scanner, key throws(WireError) in
            switch key {
            case "data":
                try seen.mark(1)
                data = try scanner.raw()
            case "method":
                try seen.mark(2)
                method = try scanner.string()
            default:
                try scanner.skipValue()
            }
        }
        return (method, data)
    }
}
