// One line per event: for people and as JSON. Used by `LineSession`; the fields of the JSON form are listed in the
// help text of martlet-chat and are part of what it promises to scripts.

/// Events for people.
enum PlainEvent {
    static func append(_ event: ChatEvent, at time: LocalTime, to out: inout [UInt8]) {
        guard let line = line(event, time) else { return }
        out += ShownText(line).string.utf8
        out.append(0x0A)
    }

    /// Names in the answer to /who; scripts take the JSON.
    private static let namesLimit = 200

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
        case .memberJoined(let room, let member): return "* \(member.name) joined \(room)"
        case .memberLeft(let room, let member): return "* \(member.name) left \(room)"
        case .members(let room, let members): return "* " + members.sentence(in: room, limit: namesLimit)
        case .published: return nil  // the message itself comes back in the room
        case .limited(let room, let number, let wait, let waits):
            let what = waits ? "message \(number) is sent" : "it takes messages"
            return "* \(room) is in slow mode: \(what) in \((max(wait, 0) / 100 + 9) / 10) s"
        case .dropped(let room, let number): return "* message \(number) was not sent to \(room)"
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
        case .memberJoined(let room, let member):
            object.begin("member_joined", ("room", room))
            object.member(member)
        case .memberLeft(let room, let member):
            object.begin("member_left", ("room", room))
            object.member(member)
        case .members(let room, let members):
            object.begin("members", ("room", room))
            object.members(members)
        case .limited(let room, let number, let wait, let waits):
            object.begin("limited", ("room", room))
            object.number("number", UInt64(clamping: number))
            object.number("retry_after_ms", UInt64(clamping: wait))
            object.flag("waits", waits)
        case .dropped(let room, let number):
            object.begin("dropped", ("room", room))
            object.number("number", UInt64(clamping: number))
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

    /// Writes one object.
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

        mutating func flag(_ name: String, _ value: Bool) { raw(name, Array((value ? "true" : "false").utf8)) }

        mutating func member(_ member: ChatMember) {
            string("user", member.user)
            string("client", member.client)
            if !member.info.isEmpty { raw("info", member.info) }
        }

        mutating func members(_ list: ChatMembers) {
            if let counts = list.counts {
                number("clients", counts.clients)
                number("users", counts.users)
            }
            flag("cut", list.isCut)
            key("members")
            out.append(0x5B)
            for (index, entry) in list.members.enumerated() {
                out += index == 0 ? [0x7B] : [0x2C, 0x7B]
                member(entry)
                out.append(0x7D)
            }
            out.append(0x5D)
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
            out += out.last == 0x7B ? [0x22] : [0x2C, 0x22]
            out += name.utf8
            out += [0x22, 0x3A]
        }
    }
}
