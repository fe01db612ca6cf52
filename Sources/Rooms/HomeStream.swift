// What the home loop keeps of one room with history beside its members: the order in which publications are let
// through, the newest ones, and the subscribers that wait. Owned by the room's home loop; gone when its last member
// has left.
//
// Bounded: the tail by the room's options and `tailBytes`, the cursor by its limits, waiting subscribers by the rules.

import Bytes

/// The order of one room with history, at home.
final class HomeStream {
    /// Bytes of newest publications that are kept at home.
    static let tailBytes = 1 << 20

    let options: HistoryOptions
    let recoveryLimit: Int
    var cursor = StreamCursor()
    /// The newest publications; nil until the flow has begun.
    var tail: RoomStream?
    /// Subscribers that wait for the flow to begin, or for an answer of the engine.
    var waiting: [Waiting] = []
    /// A question to the engine failed and will be asked again.
    var isRetrying = false

    /// A subscriber that waits.
    struct Waiting {
        let attendance: Attendance
        /// Questions asked for it; a subscriber whose answer never fits is told that it was not recovered.
        var questions = 0
    }

    init(options: HistoryOptions, recoveryLimit: Int) {
        self.options = options
        self.recoveryLimit = recoveryLimit
    }

    /// The flow has begun, or begun anew, at `position`.
    func adopt(_ position: StreamPosition) {
        cursor.adopt(position)
        if tail?.epoch != position.epoch || tail?.top != position.offset {
            let limits = RoomStream.Limits(entries: options.size, bytes: HomeStream.tailBytes, age: options.age)
            tail = RoomStream(epoch: position.epoch, top: position.offset, limits: limits)
        }
    }

    /// Takes the subscriber of `ticket` off the waiting list.
    func takeWaiting(_ ticket: Ticket) -> Waiting? {
        guard
            let index = waiting.firstIndex(where: {
                $0.attendance.connection == ticket.connection && $0.attendance.command == ticket.command
                    && $0.attendance.loop == Int(ticket.loop)
            })
        else { return nil }
        return waiting.remove(at: index)
    }
}
