// One line per event: for people and as JSON. Used by `LineSession`; the fields of the JSON form are listed in the
// help text of martlet-chat and are part of what it promises to scripts.

/// Events for people.
enum PlainEvent {
    static func append(_ event: ChatEvent, at time: LocalTime, to out: inout [UInt8]) {
        guard let line = line(event, time) else { return }
        out += ShownText(line).string.utf8
        out.append(0x0A)
    }

    private static func line(_ event: ChatEvent, _ time: LocalTime) -> String? {
        switch event {
        case .connecting(let url): return "* connecting to \(url)"
        case .connected(_, let server): return "* connected" + (server.isEmpty ? "" : " to \(server)")
        case .joined(let room, let continuity, _):
            return continuity.remark.map { "* back in \(room); \($0)" } ?? "* you are in \(room)"
        case .left(let room, 0, _): return "* you left \(room)"
        case .left(let room, let code, let reason): return "* removed from \(room): \(reason) (\(code))"
        case .message(let message):
            return "\(time.clock) [\(message.room)] \(message.author): \(message.text)"
        case .published: return nil  // the message itself comes back in the room
        case .failed(let command, let room, _, let code, let reason):
            return "! \(command)\(room.isEmpty ? "" : " " + room): \(reason)" + (code == 0 ? "" : " (\(code))")
        case .latency(let milliseconds): return "* the server answers in \(Milliseconds.text(milliseconds))"
        case .disconnected(let code, let reason, let retry):
            let next = retry.map { "; next attempt in \($0) ms" } ?? ""
            return "* disconnected: \(reason) (\(code))\(next)"
        case .note(let text): return "* \(text)"
        }
    }
}

/// Events for programs.
enum JSONEvent {
    static func append(_ event: ChatEvent, to out: inout [UInt8]) {
        var object = Object()
        switch event {
        case .connecting(let url): object.begin("connecting", ("url", url))
        case .connected(let client, let server): object.begin("connected", ("client", client), ("server", server))
        case .joined(let room, let continuity, let position):
            object.begin("joined", ("room", room), ("continuity", continuity.name))
            if case .recovered(let count) = continuity { object.number("recovered", UInt64(clamping: count)) }
            if let position { object.position(position) }
        case .left(let room, let code, let reason):
            object.begin("left", ("room", room), ("reason", reason))
            object.number("code", UInt64(code))
        case .message(let message):
            object.begin("message", ("room", message.room), ("user", message.user), ("client", message.client))
            if let text = MessageText.read(message.data) { object.string("text", text) }
            object.raw("data", message.data)
            if let offset = message.offset { object.number("offset", offset) }
        case .published(let room, let number, let position):
            object.begin("published", ("room", room))
            object.number("number", UInt64(clamping: number))
            if let position { object.position(position) }
        case .failed(let command, let room, let number, let code, let reason):
            object.begin("error", ("command", command), ("reason", reason))
            object.number("code", UInt64(code))
            if !room.isEmpty { object.string("room", room) }
            if let number { object.number("number", UInt64(clamping: number)) }
        case .latency(let milliseconds):
            object.begin("latency")
            object.raw("milliseconds", Array((milliseconds.isFinite ? "\(milliseconds)" : "null").utf8))
        case .disconnected(let code, let reason, let retry):
            object.begin("disconnected", ("reason", reason))
            object.number("code", UInt64(code))
            if let retry { object.number("retry_ms", UInt64(clamping: retry)) }
        case .note(let text): object.begin("note", ("text", text))
        }
        out += object.finish()
    }

    /// Writes one flat object.
    private struct Object {
        private var out: [UInt8] = []

        mutating func begin(_ event: String, _ strings: (String, String)...) {
            out += #"{"event":""#.utf8
            out += event.utf8
            out.append(0x22)
            for (name, value) in strings { string(name, value) }
        }

        mutating func string(_ name: String, _ value: String) {
            key(name)
            JSONText.append(string: value, to: &out)
        }

        mutating func number(_ name: String, _ value: UInt64) {
            key(name)
            out += String(value).utf8
        }

        mutating func position(_ position: ChatPosition) {
            number("offset", position.offset)
            string("epoch", position.epoch)
        }

        mutating func raw(_ name: String, _ value: [UInt8]) {
            key(name)
            JSONText.append(raw: value, to: &out)
        }

        mutating func finish() -> [UInt8] {
            out += [0x7D, 0x0A]
            return out
        }

        private mutating func key(_ name: String) {
            out += [0x2C, 0x22]
            out += name.utf8
            out += [0x22, 0x3A]
        }
    }
}
