// What happens to a chat, in the words of its user interface. The shell makes these from the client library's
// callbacks; the screen and both line modes show them. Strings are still untrusted here: each view makes them
// `ShownText` (or escapes them for JSON) itself.

/// One message in a room.
package struct ChatMessage: Equatable, Sendable {
    /// The room it was said in.
    package var room: String
    /// The author's user id; empty for anonymous people and for the server.
    package var user: String
    /// The author's connection; empty for what the server said.
    package var client: String
    /// The published JSON, as it came.
    package var data: [UInt8]
    /// Position in the room's stream, where the room has a history.
    package var offset: UInt64?

    /// Collects the parts.
    package init(room: String, user: String, client: String, data: [UInt8], offset: UInt64? = nil) {
        self.room = room
        self.user = user
        self.client = client
        self.data = data
        self.offset = offset
    }

    /// What to call the author: the user id, else a short form of the connection, else "server".
    package var author: String {
        if !user.isEmpty { return user }
        return client.isEmpty ? "server" : "guest-" + client.prefix(8)
    }

    /// What a person reads: the text inside the data, else the data itself.
    package var text: String { MessageText.read(data) ?? String(decoding: data, as: UTF8.self) }
}

/// Whether a room's messages continue where they were left.
package enum Continuity: Equatable, Sendable {
    /// Joined for the first time, or the room keeps no history.
    case fresh
    /// Everything that was missed in between follows: so many messages.
    case recovered(Int)
    /// Something in between may be lost.
    case lost

    /// The word for programs.
    package var name: String {
        switch self {
        case .fresh: "fresh"
        case .recovered: "recovered"
        case .lost: "lost"
        }
    }

    /// What a person wants to know after coming back to a room; nil for `fresh`.
    package var remark: String? {
        switch self {
        case .fresh: nil
        case .recovered(0): "nothing was missed"
        case .recovered(1): "recovered 1 message"
        case .recovered(let count): "recovered \(count) messages"
        case .lost: "some messages may be missing"
        }
    }
}

/// A place in a room's stream.
package struct ChatPosition: Equatable, Sendable {
    /// Number of the message in the room.
    package var offset: UInt64
    /// Names the stream's life.
    package var epoch: String

    /// Collects the parts.
    package init(offset: UInt64, epoch: String) {
        self.offset = offset
        self.epoch = epoch
    }
}

/// Something that happened.
package enum ChatEvent: Equatable, Sendable {
    case connecting(url: String)
    case connected(client: String, server: String)
    /// `position` is nil where the room keeps no history.
    case joined(room: String, continuity: Continuity, position: ChatPosition? = nil)
    /// Not in the room any more; code 0 when it was our wish.
    case left(room: String, code: UInt32, reason: String)
    case message(ChatMessage)
    /// Somebody came; our own coming is told, too.
    case memberJoined(room: String, ChatMember)
    case memberLeft(room: String, ChatMember)
    /// Who is in a room: the answer to `/who`.
    case members(room: String, ChatMembers)
    /// The server keeps message `number` (counted from 1 in the order of sending).
    case published(room: String, number: Int, position: ChatPosition?)
    /// The room takes no more for so long. With `waits` message `number` is sent then; otherwise it has failed.
    case limited(room: String, number: Int, milliseconds: Int64, waits: Bool)
    /// Message `number` was taken back before it was sent.
    case dropped(room: String, number: Int)
    /// A request was refused or not answered. `number` tells which message, where one was.
    case failed(command: String, room: String, number: Int?, code: UInt32, reason: String)
    /// The way to the server and back.
    case latency(milliseconds: Double)
    /// The connection ended; `retryMilliseconds` is nil when that is final.
    case disconnected(code: UInt32, reason: String, retryMilliseconds: Int64?)
    /// Something that the program itself says.
    case note(String)
}

/// What the user wants from the shell.
package enum ChatAction: Equatable, Sendable {
    case join(room: String)
    case part(room: String)
    /// Publish `text`; `number` comes back in the answer.
    case publish(room: String, text: String, number: Int)
    /// Take back the messages that wait in a room.
    case cancel(room: String)
    case who(room: String)
    /// Fetch the list that stands beside a room's messages.
    case roster(room: String)
    case history(room: String)
    case ping
    case reconnect
    /// Stop in the shell's job control (Ctrl-Z).
    case suspend
    case quit
    /// Sound the bell: the key could not be obeyed.
    case beep
}

/// A moment on the user's wall clock; the shell reads it, so that nothing here needs a time zone.
package struct LocalTime: Equatable, Sendable {
    /// 2026.
    package var year: Int
    /// 1 to 12.
    package var month: Int
    /// 1 to 31.
    package var day: Int
    /// 0 to 23.
    package var hour: Int
    /// 0 to 59.
    package var minute: Int

    /// Collects the parts.
    package init(year: Int, month: Int, day: Int, hour: Int, minute: Int) {
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
    }

    /// `09:05`.
    package var clock: String { Self.two(hour) + ":" + Self.two(minute) }

    /// `Saturday 21 November 2026`.
    package var date: String { "\(weekday) \(day) \(Self.name(month - 1, in: Self.months)) \(year)" }

    func isSameDay(as other: LocalTime) -> Bool { (year, month, day) == (other.year, other.month, other.day) }

    private var weekday: String {
        // Sakamoto's method; the table carries the lengths of the months before.
        let table = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4]
        guard (1...12).contains(month), (1...9999).contains(year) else { return "" }
        let shifted = month < 3 ? year - 1 : year
        let index = (shifted + shifted / 4 - shifted / 100 + shifted / 400 + table[month - 1] + day) % 7
        return Self.name(index, in: ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"])
    }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]

    private static func name(_ index: Int, in names: [String]) -> String {
        names.indices.contains(index) ? names[index] : ""
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
