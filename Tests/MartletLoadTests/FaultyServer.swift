// A server that speaks just enough of the client protocol and breaks its promises in one known way, so that the tests
// see the tool find it. Runs on a loop of its own; connections are kept by slot. For the tests only.

import Bytes
import HTTP
import Reactor
import Telemetry
import WebSocket

/// What a server does wrong.
enum Fault: Sendable, Equatable {
    case none
    /// Every n-th delivery to the last member does not happen, happens twice, or comes after the next.
    case drop(Int)
    case double(Int)
    case swap(Int)
    /// Every n-th delivery to the last member claims another room.
    case misroute(Int)
    /// Every n-th publication is answered with error 111.
    case refuse(Int)
    /// The upgrade is answered with 503, the subscription with error 103, or the connection is closed with 3501 then.
    case unavailable
    case denySubscribe
    case closeAfterJoin
    /// Every n-th echo has another last byte.
    case alter(Int)
    /// Pings every connection once it has joined, and closes the ones that do not answer both kinds within a second.
    case demandPongs
}

/// The server.
final class FaultyServer: ConnectionHandler, @unchecked Sendable {
    // Sendable is sound: everything mutable is touched on the loop only.
    private struct Peer: ~Copyable {
        var head = ByteBuffer()
        var parser = RequestHeadParser()
        var reader = FrameReader(role: .server)
        var isOpen = false
        var echoes = false
        var pongs = 0
    }

    private let fault: Fault
    private let registry = MetricRegistry(loops: 1, version: "test")
    private let loop: Loop
    private var thread: LoopThread?
    private var peers: [UInt32: Holder] = [:]
    private var members: [String: [ConnectionID]] = [:]
    private var deliveries = 0
    private var publications = 0
    private var held: String?
    /// Where it listens.
    private(set) var port: UInt16 = 0

    private final class Holder { var peer = Peer() }

    init(_ fault: Fault) throws {
        self.fault = fault
        loop = try Loop(metrics: registry.shard(0))
        let kind = loop.register(self)
        guard let address = SocketAddress(host: "127.0.0.1", port: 0) else { throw SystemError("address", code: 22) }
        let listener = try Listener.bind(address, shared: false, handler: kind)
        port = listener.address.port ?? 0
        try loop.add(listener)
        thread = try LoopThread(loop, name: "faulty")
    }

    func stop() {
        loop.stop()
        thread?.join()
        loop.dismantle()
    }

    func opened(_ id: ConnectionID) { peers[id.slot] = Holder() }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        peers[id.slot] = nil
        for room in members.keys { members[room]?.removeAll { $0 == id } }
    }

    func timerFired(_ id: ConnectionID) {
        guard let holder = peers[id.slot], holder.peer.pongs < 2 else { return }
        close(id, 3012)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let holder = peers[id.slot] else { return }
        guard holder.peer.isOpen else { return shakeHands(id, holder, bytes) }
        var input = FrameInput(bytes)
        let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20)
        while true {
            switch holder.peer.reader.next(&input, limits) {
            case .needMore: return
            case .message(_, _, let message): take(id, holder, String(decoding: message, as: UTF8.self))
            case .pong: holder.peer.pongs += 1
            case .ping: break
            case .close, .violation:
                loop.close(id)
                return
            }
        }
    }

    private func shakeHands(_ id: ConnectionID, _ holder: Holder, _ bytes: UnsafeMutableRawBufferPointer) {
        holder.peer.head.append(UnsafeRawBufferPointer(bytes))
        guard case .complete(let head, _) = holder.peer.parser.parse(holder.peer.head.bytes) else { return }
        var answer = ByteBuffer()
        switch ServerHandshake.evaluate(head, subprotocols: [], origins: .any, sha1: Digest.sha1) {
        case .accept(let acceptance) where fault != .unavailable:
            ServerHandshake.appendAcceptance(acceptance, subprotocols: [], to: &answer)
            holder.peer.isOpen = true
            holder.peer.echoes = head.matches("/echo")
            loop.write(id, answer.bytes)
        case .accept:
            ResponseWriter.refuse(503, reason: "closed today", to: &answer)
            loop.write(id, answer.bytes)
            loop.closeAfterFlush(id)
        case .refuse: loop.close(id)
        }
    }

    private func take(_ id: ConnectionID, _ holder: Holder, _ text: String) {
        if holder.peer.echoes {
            publications += 1
            if case .alter(let every) = fault, publications.isMultiple(of: every) {
                send(id, String(text.dropLast()) + "?")
            } else {
                send(id, text)
            }
            return
        }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: "\"").map(String.init)
            if line == "{}" {
                holder.peer.pongs += 1
            } else if words.contains("connect") {
                send(id, #"{"id":1,"connect":{"client":"x","ping":25,"pong":true}}"#)
            } else if words.contains("subscribe"), words.count > 7 {
                join(id, room: words[7])
            } else if words.contains("publish"), words.count > 11 {
                publish(id, command: words[2].filter(\.isNumber), room: words[7], data: words[11])
            }
        }
    }

    private func join(_ id: ConnectionID, room: String) {
        if fault == .denySubscribe {
            send(id, #"{"id":2,"error":{"code":103,"message":"permission denied"}}"#)
            return
        }
        members[room, default: []].append(id)
        send(id, #"{"id":2,"subscribe":{}}"#)
        if fault == .closeAfterJoin { close(id, 3501) }
        guard fault == .demandPongs else { return }
        send(id, "{}")
        send(id, "ping", .ping)
        loop.setTimer(id, after: .seconds(1))
    }

    private func publish(_ id: ConnectionID, command: String, room: String, data: String) {
        publications += 1
        if case .refuse(let every) = fault, publications.isMultiple(of: every) {
            send(id, #"{"id":\#(command),"error":{"code":111,"message":"too many requests","temporary":true}}"#)
            return
        }
        let push = #"{"push":{"channel":"\#(room)","pub":{"data":"\#(data)"}}}"#
        let all = members[room] ?? []
        for member in all.dropLast() { send(member, push) }
        if let victim = all.last { deliver(push, to: victim) }
        send(id, #"{"id":\#(command),"publish":{}}"#)
    }

    private func deliver(_ push: String, to victim: ConnectionID) {
        deliveries += 1
        switch fault {
        case .drop(let every) where deliveries.isMultiple(of: every): return
        case .double(let every) where deliveries.isMultiple(of: every): send(victim, push + "\n" + push)
        case .swap(let every) where deliveries.isMultiple(of: every) && held == nil:
            held = push
            return
        case .misroute(let every) where deliveries.isMultiple(of: every):
            // The room's number stands behind the mark's 16 digits of time.
            guard let start = push.range(of: "@m") else { return }
            let at = push.index(start, offsetBy: 18)
            send(victim, push[..<at] + "00ffff" + push[push.index(at, offsetBy: 6)...])
        default: send(victim, push)
        }
        if let late = held {
            send(victim, late)
            held = nil
        }
    }

    private func send(_ id: ConnectionID, _ text: some StringProtocol, _ opcode: Opcode = .text) {
        var buffer = ByteBuffer()
        Array(text.utf8).withUnsafeBytes { buffer.appendFrame(opcode, $0) }
        loop.write(id, buffer.bytes)
    }

    private func close(_ id: ConnectionID, _ code: UInt16) {
        var buffer = ByteBuffer()
        ClosePayload.appendFrame(CloseCode(rawValue: code), reason: "by design", to: &buffer)
        loop.write(id, buffer.bytes)
        loop.closeAfterFlush(id)
    }
}

extension String {
    /// Where `piece` begins.
    fileprivate func range(of piece: String) -> String.Index? {
        indices.first { self[$0...].hasPrefix(piece) }
    }
}
