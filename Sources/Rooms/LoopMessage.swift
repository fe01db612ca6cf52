// What the rooms of one loop tell those of another, through the loops' mailboxes. Plain numbers and at most one shared
// payload: no closure per message.

package import Bytes

/// A message between the room tables of two loops.
package struct LoopMessage: Sendable {
    /// What it says; the words' meaning is given beside each.
    package enum Kind: UInt32, Sendable {
        /// To a room's home: this loop has a first member. payload: name; words: sender's loop, sender's room.
        case join = 1
        /// From the home: the flow has begun. words: receiver's room.
        case joined
        /// From the home: the flow could not begin. words: receiver's room, failure.
        case refused
        /// To the home: the last member has left this loop. payload: name; words: sender's loop, sender's room.
        case leave
        /// To the home: publish. payload: name then fields; words: length of the name, ticket's connection, command,
        /// loop.
        case publish
        /// From the home: the answer. words: ticket's connection, command, outcome, offset (epoch in the payload
        /// later).
        case published
        /// From the home: a publication, encoded for the wire. payload: the frame; words: receiver's room.
        case deliver
        /// From the home: a delivery was refused by the full mailbox, so the room has a gap. Nothing of the room
        /// follows until the receiver has joined again. words: receiver's room.
        case behind
    }

    package var kind: Kind
    package var words: (UInt64, UInt64, UInt64, UInt64)
    package var payload: Payload?

    package init(_ kind: Kind, _ words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0), payload: Payload? = nil) {
        self.kind = kind
        self.words = words
        self.payload = payload
    }
}
