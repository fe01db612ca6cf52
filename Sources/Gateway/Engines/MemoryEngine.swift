// The engine of a single process: what is published is received, nothing else exists. The default, and the reference
// that RedisEngine is compared with in the conformance suite. One instance per loop; since a room's home is one loop,
// instances need not know each other. Never unavailable; keeps one entry per subscribed room.

package import Rooms

/// An engine for one process.
package final class MemoryEngine: Engine {
    // Strong: a weak load per message would cost more than the engine. `shutdown` breaks the cycle.
    package var delegate: (any EngineDelegate)?
    private var names = NameTable()

    package init() {}

    package var isAvailable: Bool { true }

    package func publish(room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, ticket: Ticket) {
        if names.count > 0, names.find(room, hash: NameTable.hash(room)) != nil {
            delegate?.received(room: room, position: .none, fields: fields)
        }
        delegate?.published(ticket, .success(.none))
    }

    package func subscribe(room: UnsafeRawBufferPointer) {
        let hash = NameTable.hash(room)
        if names.find(room, hash: hash) == nil { _ = names.insert(room, hash: hash) }
        delegate?.subscribed(room: room, .success(()))
    }

    package func unsubscribe(room: UnsafeRawBufferPointer) {
        if let number = names.find(room, hash: NameTable.hash(room)) { names.remove(number) }
    }

    package func shutdown() {
        names = NameTable()
        delegate = nil
    }
}
