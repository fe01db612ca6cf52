// A redis-server of a test's own: on a Unix socket, or on a port where it has to come back after it was killed. Its
// files are in a directory of its own; it is ended by its process id.

import Foundation
import Synchronization
import TestSupport

/// A Redis server.
package final class RedisProcess: Sendable {
    /// Where it listens.
    package let address: LocalAddress
    private let directory: TemporaryDirectory
    private let process: Mutex<LineProcess?>
    private let isDurable: Bool
    private let reservation: PortReservation?

    /// Starts a server, on a Unix socket unless `usesPort`; with `isAway` it is only known where it will listen. With
    /// `isDurable` it writes down everything before it acknowledges it, and knows it again after `kill` and `start`.
    package init(usesPort: Bool = false, isAway: Bool = false, isDurable: Bool = false) async throws {
        self.isDurable = isDurable
        directory = try TemporaryDirectory()
        process = Mutex(nil)
        reservation = usesPort ? try PortReservation() : nil
        address = reservation.map { .port($0.number) } ?? .path("\(directory.path)/redis")
        if !isAway { try await start() }
    }

    /// What `--redis` takes.
    package var url: String {
        switch address {
        case .port(let port): "redis://127.0.0.1:\(port)"
        case .path(let path): "unix://\(path)"
        }
    }

    /// Starts it, also again after `kill`; returns when it accepts connections.
    package func start() async throws {
        var arguments = ["--dir", directory.path, "--save", "", "--daemonize", "no"]
        // Without "always" a kill loses what was acknowledged while the disk was slow: writing waits for an fsync.
        arguments += isDurable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"]
        switch address {
        case .port(let port): arguments += ["--port", "\(port)", "--bind", "127.0.0.1"]
        case .path(let path): arguments += ["--port", "0", "--unixsocket", path]
        }
        let started = try LineProcess(try Programs.redis(), arguments)
        process.withLock { $0 = started }
        try await started.output.first("readiness") { $0.contains("eady to accept connections") }
    }

    /// `kill -9`, and waits until it is gone.
    package func kill() async throws {
        guard let process = process.withLock({ $0 }) else { return }
        process.signal(SIGKILL)
        try await process.exit()
        if case .path(let path) = address { unlink(path) }
    }

    /// Stops it as Ctrl-Z does: it keeps its connections and says nothing.
    package func suspend() { process.withLock { $0 }?.signal(SIGSTOP) }

    /// Lets it go on.
    package func resume() { process.withLock { $0 }?.signal(SIGCONT) }

    /// Whether it answers PING.
    package func answersPing() async throws -> Bool {
        let answer = try await LocalSocket.ask(address, "PING\r\n") { $0.hasSuffix("\r\n") }
        return answer == "+PONG\r\n"
    }

    /// Deletes everything.
    package func flush() async throws {
        let answer = try await LocalSocket.ask(address, "FLUSHALL\r\n") { $0.hasSuffix("\r\n") }
        guard answer == "+OK\r\n" else { throw TestFailure("FLUSHALL: \(answer ?? "no answer")") }
    }

    /// Ends the connections that are subscribed to something, and no others; how many there were.
    package func endSubscribers() async throws -> Int {
        let answer = try await LocalSocket.ask(address, "CLIENT KILL TYPE pubsub\r\n") { $0.hasSuffix("\r\n") } ?? ""
        return Int(answer.dropFirst().prefix(while: \.isNumber)) ?? 0
    }

    /// How many rooms any gateway is subscribed to; each is subscribed to a channel of its own besides.
    package func subscribedRooms() async throws -> Int {
        let answer = try await LocalSocket.ask(address, "PUBSUB CHANNELS martlet:{*\r\n") { $0.contains("\r\n") }
        guard let answer, answer.hasPrefix("*"), let count = Int(answer.dropFirst().prefix(while: \.isNumber)) else {
            throw TestFailure("Redis does not list its channels: \(answer ?? "no answer")")
        }
        return count
    }
}
