// A relay between an engine and its Redis, on the test's own loop, that can go deaf, hold the server's bytes back or
// break connections: half-open TCP and slow networks without a firewall.

import Bytes
import Reactor
import Redis
import Testing

/// Forwards between clients and one server.
final class FaultyRelay {
    /// One client's connection and its counterpart.
    private struct Pair {
        var client: ConnectionID
        var server: ConnectionID
        var isSubscriber = false
        var toClient: [UInt8] = []
        var toServer: [UInt8] = []
        var isServerOpen = false
    }

    private let loop: Loop
    private let target: SocketAddress
    private var pairs: [Pair] = []
    private var serverKind: UInt8 = 0
    /// Where clients connect.
    private(set) var endpoint = RedisEndpoint.unix(path: "/")
    /// While set, what the server says to subscribed connections is thrown away.
    var subscribersAreDeaf = false
    /// While set, what the server says to the other connections is held back.
    var repliesAreHeld = false {
        didSet { if !repliesAreHeld { forwardAll() } }
    }
    /// Changes what the server says next on a connection that is not subscribed; taken back when it was used.
    var garbling: (([UInt8]) -> [UInt8])?
    /// Pieces in which clients' bytes arrived.
    private(set) var piecesFromClients = 0

    init(loop: Loop, to endpoint: RedisEndpoint) throws {
        self.loop = loop
        target = try #require(endpoint.address)
        let clients = Side(self, isClient: true)
        serverKind = loop.register(Side(self, isClient: false))
        let any = try #require(SocketAddress(host: "127.0.0.1", port: 0))
        let listener = try Listener.bind(any, shared: false, handler: loop.register(clients))
        self.endpoint = .tcp(host: "127.0.0.1", port: try #require(listener.address.port))
        try loop.add(listener)
    }

    /// Breaks every connection.
    func breakAll() {
        for pair in pairs {
            loop.close(pair.client)
            loop.close(pair.server)
        }
    }

    private func forwardAll() {
        for index in pairs.indices { forward(index) }
    }

    private func forward(_ index: Int) {
        let pair = pairs[index]
        if pair.isServerOpen {
            pair.toServer.withUnsafeBytes { loop.write(pair.server, $0) }
            pairs[index].toServer = []
        }
        if pair.isSubscriber, subscribersAreDeaf {
            pairs[index].toClient = []
        } else if pair.isSubscriber || !repliesAreHeld {
            pair.toClient.withUnsafeBytes { loop.write(pair.client, $0) }
            pairs[index].toClient = []
        }
    }

    fileprivate func opened(_ id: ConnectionID, isClient: Bool) {
        if isClient {
            guard let server = try? loop.connect(to: target, handler: serverKind) else { return loop.close(id) }
            pairs.append(Pair(client: id, server: server))
        } else if let index = pairs.firstIndex(where: { $0.server == id }) {
            pairs[index].isServerOpen = true
            forward(index)
        }
    }

    fileprivate func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer, isClient: Bool) {
        guard let index = pairs.firstIndex(where: { isClient ? $0.client == id : $0.server == id }) else { return }
        if isClient {
            piecesFromClients += 1
            pairs[index].toServer += bytes
            let isSubscribe = String(decoding: bytes, as: UTF8.self).contains("SUBSCRIBE")
            if isSubscribe { pairs[index].isSubscriber = true }
        } else if let garbling, !pairs[index].isSubscriber, !repliesAreHeld {
            self.garbling = nil
            pairs[index].toClient += garbling(Array(bytes))
        } else {
            pairs[index].toClient += bytes
        }
        forward(index)
    }

    fileprivate func closed(_ id: ConnectionID) {
        guard let index = pairs.firstIndex(where: { $0.client == id || $0.server == id }) else { return }
        let pair = pairs.remove(at: index)
        loop.close(pair.client == id ? pair.server : pair.client)
    }
}

private final class Side: ConnectionHandler {
    unowned let relay: FaultyRelay
    let isClient: Bool

    init(_ relay: FaultyRelay, isClient: Bool) {
        self.relay = relay
        self.isClient = isClient
    }

    func opened(_ id: ConnectionID) { relay.opened(id, isClient: isClient) }
    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        relay.received(id, bytes, isClient: isClient)
    }
    func closed(_ id: ConnectionID, _ reason: CloseReason) { relay.closed(id) }
}
