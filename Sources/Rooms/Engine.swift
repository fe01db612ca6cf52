// The engine port: what rooms need from a cluster, and nothing else. MemoryEngine (one process) and RedisEngine (many)
// stand behind it and pass the same conformance tests.
//
// One instance per loop, confined to that loop; it serves the rooms whose home the loop is. Commands carry a ticket, a
// few plain numbers, instead of a closure, so that a publish allocates nothing here. Results come to the delegate on
// the same loop, possibly before the command returns. An engine bounds what it has in flight; above that it answers
// `unavailable` at once. It never holds a command back until later.

/// Says where the answer to an engine command belongs. Made and read by rooms; opaque to engines.
package struct Ticket: Equatable, Sendable {
    /// The connection that asked, as one word (slot and generation); 0 for commands of the gateway itself.
    package var connection: UInt64
    /// The client's command id.
    package var command: UInt32
    /// The loop of that connection.
    package var loop: UInt16

    package init(connection: UInt64, command: UInt32, loop: UInt16) {
        self.connection = connection
        self.command = command
        self.loop = loop
    }
}

/// Why an engine command failed.
package enum EngineFailure: UInt8, Error, Sendable {
    /// Never written, or refused as a whole: nothing happened. Wire error 120.
    case unavailable
    /// Written and not answered: it may have happened. Wire error 100.
    case outcomeUnknown
}

/// Where a publication stands in its room's stream.
package struct StreamPosition: Equatable, Sendable {
    /// The publication's number, from 1; 0 in rooms without history.
    package var offset: UInt64
    /// The stream's life, 0 in rooms without history. Offsets of different epochs have nothing to do with each other.
    package var epoch: UInt64

    package init(offset: UInt64, epoch: UInt64) {
        self.offset = offset
        self.epoch = epoch
    }

    /// The position in a room that keeps no history.
    package static let none = StreamPosition(offset: 0, epoch: 0)
}

/// A cluster as the rooms of one loop see it.
package protocol Engine: AnyObject {
    /// Who hears the results. Set once, before the first command.
    var delegate: (any EngineDelegate)? { get set }

    /// Whether commands are accepted now. While false, each is answered `unavailable` at once.
    var isAvailable: Bool { get }

    /// Publishes to `room` what `fields` holds: the members of the publication object without braces, offset and
    /// channel, for example `"data":{"text":"hi"},"info":{…}`. Both are copied before the call returns. Answered by
    /// `published(ticket, …)`; every subscriber in the cluster, this node included, then hears `received`.
    func publish(room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, ticket: Ticket)

    /// Starts the flow of `room`'s publications. Answered by `subscribed(room, …)`. Idempotent. After a success the
    /// engine keeps the subscription through every reconnection until `unsubscribe`.
    func subscribe(room: UnsafeRawBufferPointer)

    /// Ends the flow. Not answered. What is on its way may still be received.
    func unsubscribe(room: UnsafeRawBufferPointer)

    /// Lets go of everything; nothing is answered any more.
    func shutdown()
}

/// What an engine tells the rooms of its loop. `room` and `fields` are valid during the call only.
package protocol EngineDelegate: AnyObject {
    /// The answer to `publish`.
    func published(_ ticket: Ticket, _ result: Result<StreamPosition, EngineFailure>)
    /// The answer to `subscribe`.
    func subscribed(room: UnsafeRawBufferPointer, _ result: Result<Void, EngineFailure>)
    /// A publication of a subscribed room, in the room's order.
    func received(room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer)
    /// The engine went away or came back (with its subscriptions); for readiness and metrics.
    func availabilityChanged(_ isAvailable: Bool)
}
