// What loops tell each other about history: subscribers who come to a room that keeps one, and readers. One object a
// command, never one a delivery. Immutable, so that it may cross threads.

import Bytes
import Wire

/// A subscriber of a room with history, on its way to the room's home and back.
struct Attendance: Sendable {
    /// The room's name.
    let name: Payload
    /// The subscriber's loop, and the room there.
    let loop: Int
    let local: UInt64
    let connection: ConnectionWord
    let command: UInt32
    /// Where it stands, if it asked to recover.
    let since: StreamPosition?
    /// What the reply promises: that it can recover, that its position is kept.
    let isRecoverable: Bool
    let isPositioned: Bool
    /// Who enters, in rooms with presence.
    let member: Entrant?

    /// Whose it is: loops name their connections independently of each other.
    struct Comer: Hashable, Sendable {
        let connection: ConnectionWord
        let loop: Int
    }

    var comer: Comer { Comer(connection: connection, loop: loop) }
}

/// A subscriber of a room with presence, as the others will see it.
struct Entrant: Sendable {
    let client: ClientID
    let user: Payload
    let info: Payload

    /// The text of the client's id.
    func clientText() -> [UInt8] {
        var text = ByteBuffer(capacity: ClientID.textLength)
        client.append(to: &text)
        return Array(text.bytes)
    }
}

/// A question about a room's members on its way to the room's home and back.
struct MemberOrder: Sendable {
    let name: Payload
    let ticket: Ticket
    let query: MemberQuery
}

/// What a subscriber is told: its position, and what it missed.
struct Welcome: Sendable {
    let position: StreamPosition
    /// Whether what it missed is all there.
    let isRecovered: Bool
    /// Publications as entries of a reply, ready for the wire.
    let publications: Payload?
}

/// A `history` command on its way to the room's home and back.
struct HistoryOrder: Sendable {
    let name: Payload
    let ticket: Ticket
    let query: HistoryQuery
    let options: HistoryOptions
}

/// A message with more to say than words.
package final class Errand: Sendable {
    enum Kind: Sendable {
        /// To the home: a subscriber.
        case attend(Attendance)
        /// From the home: it is in.
        case attended(Attendance, Welcome)
        /// From the home: it is not.
        case turnedAway(Attendance, EntryRefusal)
        /// To the home: read.
        case history(HistoryOrder)
        /// To the home: list or count members.
        case members(MemberOrder)
        /// From the home: a page of them.
        case membersRead(Ticket, MemberQuery, Result<MemberPage, EngineFailure>)
        /// From the home: the top, and entries of a reply, ready for the wire; or an error.
        case historyRead(Ticket, Result<Welcome, HistoryFailure>)
    }

    let kind: Kind

    init(_ kind: Kind) { self.kind = kind }
}

/// Why a history could not be read.
enum HistoryFailure: Error, Sendable {
    /// The epoch asked about is not the stream's.
    case unrecoverable
    case engine(EngineFailure)
}
