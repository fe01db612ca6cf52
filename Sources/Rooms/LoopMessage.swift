// What the rooms of one loop tell those of another, through the loops' mailboxes. Plain numbers and at most one shared
// payload: no closure per message.

/// A message between the room tables of two loops.
package struct LoopMessage: @unchecked Sendable {
    // Sendable is sound: `object` is immutable, a payload or an errand.
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
        /// To the home: publish. payload: name, sender, key, talker, fields; words: lengths of the first four (16 bits
        /// each), ticket's connection, command, loop.
        case publish
        /// From the home: the answer. words: ticket's connection, command and outcome, offset and epoch, or how long
        /// the limits of room and user hold.
        case published
        /// From the home: a publication, encoded for the wire. payload: the frame; words: receiver's room.
        case deliver
        /// From the home: a delivery was refused by the full mailbox, so the room has a gap. Nothing of the room
        /// follows until the receiver has joined again. words: receiver's room.
        case behind
        /// To the home: a member has left, or its connection broke. payload: name; words: connection, the client's two
        /// words, sender's loop.
        case depart
        case breakOff
        /// From the home: joins and leaves, encoded for the wire. payload: the frame; words: receiver's room.
        case announce
        /// What is rare and has more to say. errand.
        case errand
    }

    package var kind: Kind
    package var words: (UInt64, UInt64, UInt64, UInt64)
    /// A `Payload`, an `Errand`, or nothing.
    package var object: AnyObject?

    package init(
        _ kind: Kind, _ words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0),
        object: AnyObject? = nil
    ) {
        self.kind = kind
        self.words = words
        self.object = object
    }
}
