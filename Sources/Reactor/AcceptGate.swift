// Who may come in: asked by a listener right after accept, before the connection has a slab entry, a handler or a byte
// of TLS or HTTP. The product implements it; the reactor only closes whom it refuses and says when somebody has gone.
// One gate per kind of connection and loop; every call comes on the loop.

package import Bytes

/// Decides on newcomers and keeps account of those who are there.
package protocol AcceptGate: AnyObject {
    /// Whom a connection that was just accepted from `address` (nil: a Unix socket) is charged to; nil when it may not
    /// stay. A refused one is reset at once, and nobody hears of it again; for an admitted one `left` follows.
    func admit(_ address: InternetAddress?) -> PeerAddress?
    /// An admitted connection is gone, or could not be served after all. `peer` is whom it was charged to at last.
    func left(_ peer: PeerAddress)
}

extension Loop {
    /// Lets `gate` decide on the connections of one kind that listeners accept. Before the loop runs. Kinds without a
    /// gate admit everybody.
    package func setGate(_ gate: any AcceptGate, for handler: UInt8) {
        state.pointee.gates[Int(handler)] = gate
    }

    /// Charges an admitted connection to another peer from now on, who was admitted in place of the first; `left` will
    /// name the new one. For whom a proxy's header names. Returns the peer that it was charged to, or nil when `id` is
    /// stale or no gate knows it.
    package func recharge(_ id: ConnectionID, to peer: PeerAddress) -> PeerAddress? {
        guard let connection = find(id), connection.pointee.flags.contains(.gated) else { return nil }
        defer { connection.pointee.peer = peer }
        return connection.pointee.peer
    }

    /// Whom an open connection is charged to; `uncounted` also when no gate knows it. Still known in `closed`.
    package func peer(_ id: ConnectionID) -> PeerAddress {
        guard Int(id.slot) < state.pointee.connections.capacity else { return .uncounted }
        let connection = state.pointee.connections[id.slot]
        return connection.pointee.generation == id.generation ? connection.pointee.peer : .uncounted
    }

    /// Tells the gate that an admitted connection is gone.
    func checkOut(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.flags.contains(.gated) else { return }
        connection.pointee.flags.remove(.gated)
        state.pointee.gates[Int(connection.pointee.handler)]?.left(connection.pointee.peer)
    }
}
