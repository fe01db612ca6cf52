// The rig's own line to Redis: one connection, commands in order, the answer as text. For steering (CONFIG, CLIENT
// KILL, SHUTDOWN) and for tampering (mutants). Reconnects on the next command; a command without an answer in
// `patience` fails. On the driver's loop.

import Bytes
package import Reactor

/// Sends commands to one Redis.
package final class RedisControl: ConnectionHandler {
    private struct Waiting {
        let number: Int
        let done: ([UInt8]?) -> Void
    }

    private let loop: Loop
    private let address: SocketAddress
    private let patience: Duration
    private var kind: UInt8 = 0
    private var id: ConnectionID?
    private var input: [UInt8] = []
    private var waiting: [Waiting] = []
    private var number = 0

    /// A line to `address`, which is not opened yet.
    package init(_ loop: Loop, _ address: SocketAddress, patience: Duration = .seconds(2)) {
        self.loop = loop
        self.address = address
        self.patience = patience
        kind = loop.register(self)
    }

    /// Sends a command; `done` gets the raw reply, or nil when there was none.
    package func send(_ words: [String], _ done: @escaping ([UInt8]?) -> Void = { _ in }) {
        if id == nil { id = try? loop.connect(to: address, handler: kind) }
        guard let id else { return done(nil) }
        number += 1
        let own = number
        waiting.append(Waiting(number: own, done: done))
        FakeRedis.array(words.map { Array($0.utf8) }).withUnsafeBytes { loop.write(id, $0) }
        loop.schedule(after: patience) { [weak self] in
            guard let self, waiting.contains(where: { $0.number == own }) else { return }
            // Its replies would shift from now on.
            drop()
        }
    }

    /// Ends the line.
    package func drop() {
        if let id { loop.close(id) }
        fail()
    }

    private func fail() {
        id = nil
        input = []
        let lost = waiting
        waiting = []
        for one in lost { one.done(nil) }
    }

    package func opened(_ id: ConnectionID) {}

    package func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard id == self.id else { return }
        input += UnsafeRawBufferPointer(bytes)
        while !input.isEmpty {
            guard case .length(let length) = input.withUnsafeBytes({ RESPFrames.extent($0) }) else { return }
            let reply = Array(input[..<length])
            input.removeFirst(length)
            guard !waiting.isEmpty else { continue }
            waiting.removeFirst().done(reply)
        }
    }

    package func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard id == self.id else { return }
        fail()
    }
}
