// The state of one client connection, as small as it can be: there are very many. What it may do next is decided in
// LoopRooms+Commands.swift; this is the data.
//
//     new ──connect──▶ connected ──close──▶ closing
//      └──connect refused──▶ refused ──any command──▶ closing (3501)

import Bytes
import Wire

/// Who a client is. Made only for clients that are somebody: the anonymous user has none.
final class Identity {
    /// The user's id, not empty.
    let user: Payload
    init(user: Payload) { self.user = user }
}

/// A client's place in a room.
struct Subscription {
    static let pending = UInt32.max

    /// The room's number on this loop.
    var room: UInt32
    /// Index in the room's member list, or `pending` while the flow has not begun.
    var position: UInt32
    /// Joins and leaves of the room are told to it.
    var hearsJoins = false
}

/// A client connection. Lives in a slab of `LoopRooms` under the connection's slot; loop-confined.
struct Session: ~Copyable {
    enum Phase: UInt8 {
        /// The slot is free.
        case vacant
        /// Open; the `connect` command is awaited.
        case new
        /// Connected: commands are served.
        case connected
        /// `connect` was answered with an error; the next command closes.
        case refused
        /// The close has begun; whatever still comes is ignored.
        case closing
    }

    var phase = Phase.vacant
    /// A ping went out and its pong has not come.
    var awaitsPong = false
    /// Pings are frames of the WebSocket protocol, not messages.
    var usesPingFrames = false
    /// The client asked to be told when to come back, in the reason of a Close.
    var wantsCloseHints = false
    /// Commands that wait for the engine.
    var pendingCommands: UInt16 = 0
    /// Bytes received before `connect` was accepted.
    var bytesBeforeConnect: UInt32 = 0
    var connection: ConnectionWord = 0
    // Until when its commands, its messages' bytes, and its comings and goings are paid for (see Pace); nanoseconds.
    var commandsDue: UInt64 = 0
    var bytesDue: UInt64 = 0
    var churnDue: UInt64 = 0
    /// Whether it heeds refusals; nil: it was never refused.
    var misconduct: Misconduct?
    /// When the last ping went out.
    var lastPing = MonotonicTime(nanoseconds: 0)
    /// The id that others see of this client: a random UUID.
    var client = ClientID(random: (0, 0))
    var identity: Identity?

    // Most clients are in one room: that one needs no allocation.
    private var first: Subscription?
    private var others: [Subscription] = []

    var subscriptionCount: Int { first == nil ? 0 : 1 + others.count }

    func subscription(_ index: Int) -> Subscription? { index == 0 ? first : others[index - 1] }

    /// The index of the subscription to `room`, or nil.
    func find(_ room: UInt32) -> Int? {
        if first?.room == room { return 0 }
        return others.firstIndex { $0.room == room }.map { $0 + 1 }
    }

    mutating func add(_ subscription: Subscription) {
        if first == nil { first = subscription } else { others.append(subscription) }
    }

    mutating func setPosition(_ index: Int, _ position: UInt32) {
        if index == 0 { first?.position = position } else { others[index - 1].position = position }
    }

    mutating func removeSubscription(_ index: Int) -> Subscription? {
        let removed = subscription(index)
        if index == 0 {
            first = others.popLast()
        } else {
            others.swapAt(index - 1, others.count - 1)
            others.removeLast()
        }
        if others.isEmpty { others = [] }
        return removed
    }

    /// Frees what the session held; the slot is vacant afterwards.
    mutating func reset() {
        self = Session()
    }
}
