// The other end for the session's tests, without I/O: speaks the opening handshake and frames with our own server-side
// parsers, notes every command, and says what a test tells it to. Time is a number that the test moves.

import Bytes
import HTTP
import Reactor
import Testing
import WebSocket

@testable import Client

/// A session, the server that it talks to, and the clock between them.
struct Bench: ~Copyable {
    var session: ClientSession
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    /// Commands that the server has received, as JSON text.
    var commands: [String] = []
    /// Close codes that the server has received.
    var closes: [UInt16?] = []
    var pongs: [[UInt8]] = []
    var request = ""
    var events: [ClientEvent] = []
    var links: [ClientSession.LinkRequest] = []
    /// Feed the session byte by byte instead of whole.
    var isSplit = false
    private var reader = FrameReader(role: .server)
    private var head: [UInt8] = []
    private var isUpgraded = false
    private var acceptance: [UInt8] = []

    /// `hosts` are the gateways.
    init(
        _ seed: UInt64 = 1, hosts: [String] = ["server"], _ change: (inout ClientOptions) -> Void = { _ in }
    ) throws {
        var options = ClientOptions(urls: try hosts.map { try ClientURL("ws://\($0):8000/connection/websocket") })
        options.name = "test"
        change(&options)
        let random = RandomBox(seed)
        session = ClientSession(options: options, sha1: { Digest.sha1($0, $1) }, random: { random.next() })
    }

    /// Calls the session and takes everything that it wants.
    mutating func act<Result>(_ body: (inout ClientSession, MonotonicTime) -> Result) -> Result {
        let result = body(&session, now)
        collect()
        return result
    }

    mutating func collect() {
        var bytes: [UInt8] = []
        session.takeOutput { bytes = Array($0) }
        links += session.takeLinkRequests()
        events += session.takeEvents()
        take(bytes)
    }

    private mutating func take(_ bytes: [UInt8]) {
        var bytes = bytes
        if !isUpgraded {
            head += bytes
            var parser = RequestHeadParser()
            var response = ByteBuffer()
            var text = ""
            let consumed = head.withUnsafeBytes { raw -> Int? in
                guard case .complete(let request, let consumed) = parser.parse(raw) else { return nil }
                text = String(decoding: request.target, as: UTF8.self)
                let verdict = ServerHandshake.evaluate(
                    request, subprotocols: ["centrifuge-json"], origins: .any, sha1: { Digest.sha1($0, $1) })
                guard case .accept(let acceptance) = verdict else { return nil }
                ServerHandshake.appendAcceptance(acceptance, subprotocols: ["centrifuge-json"], to: &response)
                return consumed
            }
            guard let consumed else { return }
            request = text
            acceptance = Array(response.bytes)
            bytes = Array(head[consumed...])
            head = []
            isUpgraded = true
        }
        read(bytes)
    }

    private mutating func read(_ bytes: [UInt8]) {
        var bytes = bytes
        let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20)
        bytes.withUnsafeMutableBytes { raw in
            var input = FrameInput(raw)
            while true {
                switch reader.next(&input, limits) {
                case .needMore: return
                case .message(_, _, let text): commands.append(String(decoding: text, as: UTF8.self))
                case .close(let code, _): closes.append(code?.rawValue)
                case .pong(let payload): pongs.append(Array(payload))
                case .ping: break
                case .violation(let violation): Issue.record("the client broke the framing: \(violation)")
                }
            }
        }
    }

    // MARK: What the server does

    /// Gives the session bytes.
    mutating func feed(_ bytes: [UInt8]) {
        var pieces = isSplit ? bytes.map { [$0] } : [bytes]
        for index in pieces.indices {
            pieces[index].withUnsafeMutableBytes { session.received($0, now: now) }
            collect()
        }
    }

    /// Sends one text message.
    mutating func say(_ text: String) { frame(.text, Array(text.utf8)) }

    mutating func frame(_ opcode: Opcode, _ payload: [UInt8]) {
        var out = ByteBuffer()
        payload.withUnsafeBytes { out.appendFrame(opcode, $0) }
        feed(Array(out.bytes))
    }

    mutating func sayClose(_ code: UInt16, _ reason: String = "") {
        frame(.close, [UInt8(code >> 8), UInt8(code & 0xFF)] + Array(reason.utf8))
    }

    /// Lets the TCP connection and the opening handshake succeed.
    mutating func accept() {
        resetServer()
        act { $0.linkOpened(now: $1) }
        feed(acceptance)
    }

    /// Forgets the connection: the next bytes begin a new one.
    mutating func resetServer() {
        reader = FrameReader(role: .server)
        head = []
        isUpgraded = false
    }

    /// From idle to connected.
    mutating func connect(ping: Int = 0, pong: Bool = false, extra: String = "") {
        act { $0.connect(now: $1) }
        establish(ping: ping, pong: pong, extra: extra)
    }

    /// Accepts a connection that the session asks for, and answers `connect`.
    mutating func establish(ping: Int = 0, pong: Bool = false, extra: String = "") {
        accept()
        let heart = ping > 0 ? #","ping":\#(ping),"pong":\#(pong)"# : ""
        say(#"{"id":1,"connect":{"client":"me","version":"v"\#(heart)\#(extra)}}"#)
    }

    /// Loses the connection and makes a new one; forgets what led to it.
    mutating func again() {
        act { $0.reconnect(now: $1) }
        commands = []
        pass(.zero)
        establish()
        commands.removeAll { $0.contains(#""connect":"#) }
        events = []
    }

    /// Lets time pass in one go, then fires the deadline if it is due.
    mutating func pass(_ duration: Duration) {
        now = now + duration
        if let deadline = session.deadline, deadline <= now { act { $0.timerFired(now: $1) } }
    }

    /// Goes to the next deadline.
    mutating func passToDeadline() {
        guard let deadline = session.deadline else {
            Issue.record("the session waits for nothing")
            return
        }
        now = max(now, deadline)
        act { $0.timerFired(now: $1) }
    }

    /// Joins a room, with a given result.
    mutating func join(_ room: String, id: Int, _ result: String = "{}") {
        _ = act { $0.subscribe(room, now: $1) }
        say(#"{"id":\#(id),"subscribe":\#(result)}"#)
    }

    mutating func takeEvents() -> [ClientEvent] {
        defer { events = [] }
        return events
    }

    mutating func takeCommands() -> [String] {
        defer { commands = [] }
        return commands
    }
}

/// Shared by the closure that the session gets.
final class RandomBox {
    private var random: SeededRandom
    init(_ seed: UInt64) { random = SeededRandom(seed: seed) }
    func next() -> UInt64 { random.next() }
}

func data(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A test expected the connection to have ended.
struct StillConnected: Error {}

extension Bench {
    /// The last end of a connection, which a test expects.
    func end() throws -> Disconnection {
        guard let lastEnd else { throw StillConnected() }
        return lastEnd
    }

    /// The last end of a connection.
    var lastEnd: Disconnection? {
        for case .disconnected(let end) in events.reversed() { return end }
        return nil
    }

    var texts: [String] {
        events.compactMap {
            if case .publication(let it) = $0 { String(decoding: it.data, as: UTF8.self) } else { nil }
        }
    }

    var answers: [Result<ClientReply, ClientError>] {
        events.compactMap { if case .answered(_, let it) = $0 { it } else { nil } }
    }
}
