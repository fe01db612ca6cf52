// The Redis engine's calls in flight: what each of them was for. A command link gives back two words with a result;
// for everything but a plain publish they name an entry here. Bounded by the link's commands in flight. Loop-confined.

import Bytes
import Redis
import Rooms
import Wire

/// What a command was for, and what is needed when it is answered.
enum EngineCall {
    /// A publish into the room with this number.
    case publish(Ticket, UInt32)
    /// A publish with a key into a room without history.
    case publishOnce(Ticket)
    /// A publish into a room with limits and without history.
    case passLimited(Ticket)
    /// A read; `isForeign`: its reader stands in an epoch that no stream has.
    case read(ReadTag, UInt32, HistoryMode, isForeign: Bool)
    /// Where the room stands, for its first members.
    case position(UInt32)
    case fence
    case announce
    case beat(sequence: UInt64)
    case audit
    case loadScript
    case leave
    /// A member enters the room with this number of `NodePresence`.
    case enter(Ticket, UInt32, ClientID, serial: UInt32)
    /// A member leaves.
    case exit(UInt32, ClientID, serial: UInt32)
    /// Members are said again.
    case say(UInt32, [ClientID], [UInt32])
    /// What an incarnation of this node left in the room is taken out.
    case sweep(UInt32, UInt32)
    /// A word about a room's members whose answer matters little: who lingers, that the keys are to be kept.
    case memberWord(UInt32)
    /// The room was put on the list of an incarnation's rooms.
    case listed(UInt32, UInt32)
    /// A page of a room's members.
    case members(MemberListing)
    /// A page of a dead node's rooms; its members in a room are taken out.
    case reapRooms([UInt8])
    case reap(Payload, [UInt8])
    /// A command that is no script and whose answer is a number that nobody needs.
    case plain
}

/// Calls in flight by slot.
struct EngineCalls {
    private var calls: [EngineCall?] = []
    private var free: [UInt32] = []

    /// Keeps `call` and returns its slot.
    mutating func add(_ call: EngineCall) -> UInt32 {
        guard let slot = free.popLast() else {
            calls.append(call)
            return UInt32(calls.count - 1)
        }
        calls[Int(slot)] = call
        return slot
    }

    /// Takes the call of `slot` out; nil when there is none.
    mutating func take(_ slot: UInt64) -> EngineCall? {
        guard slot < UInt64(calls.count), let call = calls[Int(slot)] else { return nil }
        calls[Int(slot)] = nil
        free.append(UInt32(slot))
        return call
    }
}

extension CommandTag {
    private static let callMark: UInt64 = 1 << 63

    /// The words that stand for a plain publish.
    init(_ ticket: Ticket) {
        self.init(ticket.connection, UInt64(ticket.command) << 16 | UInt64(ticket.loop))
    }

    /// The words that stand for the call in `slot`.
    init(call slot: UInt32) { self.init(UInt64(slot), CommandTag.callMark) }

    /// The slot of the call; nil: it is a plain publish.
    var slot: UInt64? { second & CommandTag.callMark == 0 ? nil : first }
}

extension Ticket {
    /// The ticket of a plain publish.
    init(_ tag: CommandTag) {
        self.init(
            connection: tag.first, command: UInt32(clamping: tag.second >> 16), loop: UInt16(tag.second & 0xFFFF))
    }
}
