// The client for pipes: lines of stdin become messages or commands, every event becomes one line of stdout, readable
// or JSON. Bytes and events in, actions and bytes out; the shell drains `takeOutput` after each call.
//
// Bounded: an input line longer than `lineLimit` is refused as a whole. It also keeps the account of what was sent
// and not answered yet, so that the shell knows when it may leave at the end of the input.

/// A chat by lines.
package struct LineSession: Sendable {
    /// Bytes in one line of input.
    package static let lineLimit = 65_536
    /// Bytes of JSON in one message: the gateway's default limit for a whole command, less its envelope. It would end
    /// the connection over a larger one.
    package static let messageLimit = 65_000

    /// How events are written.
    package enum Format: Sendable {
        /// For people.
        case plain
        /// One JSON object a line.
        case json
    }

    private let format: Format
    private var rooms: [String] = []
    private var line: [UInt8] = []
    private var isOverlong = false
    private var published = 0
    private var ownClient = ""
    private var unanswered: Set<Int> = []
    private var output: [UInt8] = []
    /// Messages and requests that were refused or got no answer.
    package private(set) var failures = 0

    /// A session in which what is said goes to the first of `rooms` until `/join` changes that.
    package init(format: Format, rooms: [String]) {
        self.format = format
        self.rooms = rooms
    }

    /// Whether everything that was sent has been answered.
    package var isSettled: Bool { unanswered.isEmpty }

    /// The bytes for stdout since the last call.
    package mutating func takeOutput() -> [UInt8] {
        defer { output.removeAll(keepingCapacity: true) }
        return output
    }

    /// Takes bytes of stdin.
    package mutating func feed(_ bytes: some Sequence<UInt8>) -> [ChatAction] {
        var actions: [ChatAction] = []
        for byte in bytes {
            if byte == 0x0A {
                endLine(&actions)
            } else if line.count < Self.lineLimit {
                line.append(byte)
            } else {
                isOverlong = true
            }
        }
        return actions
    }

    /// Stdin ended; a last line without a line break counts.
    package mutating func finish() -> [ChatAction] {
        var actions: [ChatAction] = []
        if !line.isEmpty { endLine(&actions) }
        return actions
    }

    /// Takes note of an event and writes its line.
    package mutating func receive(_ event: ChatEvent, at time: LocalTime) {
        switch event {
        case .connected(let client, _): ownClient = client
        case .memberJoined(_, let member) where format == .plain && member.client == ownClient: return
        case .published(_, let number, _), .dropped(_, let number): unanswered.remove(number)
        case .failed(_, _, let number, _, _):
            failures += 1
            if let number { unanswered.remove(number) }
        default: break
        }
        switch format {
        case .plain: PlainEvent.append(event, at: time, to: &output)
        case .json: JSONEvent.append(event, to: &output)
        }
    }

    private mutating func endLine(_ actions: inout [ChatAction]) {
        defer {
            line.removeAll(keepingCapacity: true)
            isOverlong = false
        }
        guard !isOverlong else { return refuse("a line has more than \(Self.lineLimit) bytes") }
        if line.last == 0x0D { line.removeLast() }
        let command = ChatCommand(line: String(decoding: line, as: UTF8.self))
        switch command {
        case .nothing: break
        case .help: for line in ChatCommand.helpLines { tell(.note(line)) }
        case .mistake(let why): refuse(why)
        case .ping: actions.append(.ping)
        case .reconnect: actions.append(.reconnect)
        case .quit: actions.append(.quit)
        case .join(let room):
            let isNew = !rooms.contains(room)
            rooms.removeAll { $0 == room }
            rooms.insert(room, at: 0)
            if isNew { actions.append(.join(room: room)) }
        case .message(let room, let text): publish(text, in: room, &actions)
        case .part(let room):
            guard let room = room ?? rooms.first, rooms.contains(room) else { return refuse("you are in no such room") }
            rooms.removeAll { $0 == room }
            actions.append(.part(room: room))
        case .who(let room?): actions.append(.who(room: room))
        case .say, .who(nil), .members, .history, .cancel:
            guard let here = rooms.first else { return refuse("join a room first: /join lobby") }
            switch command {
            case .say(let text): publish(text, in: here, &actions)
            case .history: actions.append(.history(room: here))
            case .cancel: actions.append(.cancel(room: here))
            default: actions.append(.who(room: here))
            }
        }
    }

    private mutating func publish(_ text: String, in room: String, _ actions: inout [ChatAction]) {
        guard MessageText.write(text).count <= Self.messageLimit else {
            return refuse("a message has more than \(Self.messageLimit) bytes")
        }
        published += 1
        unanswered.insert(published)
        actions.append(.publish(room: room, text: text, number: published))
    }

    private mutating func refuse(_ why: String) {
        tell(.failed(command: "input", room: "", number: nil, code: 0, reason: why))
    }

    private mutating func tell(_ event: ChatEvent) {
        receive(event, at: LocalTime(year: 0, month: 0, day: 0, hour: 0, minute: 0))
    }
}
