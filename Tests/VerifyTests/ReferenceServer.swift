// A small server that keeps the delivery contract: rooms with history, recovery, idempotent publishes, shared by
// several listeners as gateways share a Redis. With one defect at a time it shows whether clients and checker together
// notice. Plain and slow; on the test's loop.

import Bytes
import HTTP
import Reactor
import WebSocket
import Wire

@testable import VerifyCore

/// What is wrong with the server.
enum Defect: CaseIterable {
    case none
    /// Every 40th live delivery is left out.
    case dropsDeliveries
    case doublesDeliveries
    /// `recovered: true` without publications.
    case emptyBacklog
    /// `recovered: true` for whatever epoch and offset.
    case believesAnything
    /// A repeated key is published again.
    case ignoresKeys
    /// Every 40th publish is acknowledged and forgotten.
    case acksOnly
    /// Error 120 for what was published.
    case lying120
    /// No answer to every 60th publish.
    case silent
}

/// Rooms that several listeners serve.
final class ReferenceStore {
    struct Room {
        var entries: [(offset: UInt64, data: [UInt8])] = []
        var top: UInt64 = 0
        var results: [String: UInt64] = [:]
        var members: [ConnectionID] = []
    }
    var rooms: [String: Room] = [:]
    let epoch = "reference"
    let historySize: Int
    let defect: Defect
    var published = 0
    var delivered = 0

    init(historySize: Int, defect: Defect) {
        self.historySize = historySize
        self.defect = defect
    }

    /// Appends; a known key gives its old offset.
    func append(_ room: String, _ data: [UInt8], key: String) -> (offset: UInt64, isNew: Bool) {
        var entry = rooms[room, default: Room()]
        defer { rooms[room] = entry }
        if defect != .ignoresKeys, let known = entry.results[key], !key.isEmpty { return (known, false) }
        entry.top += 1
        entry.entries.append((entry.top, data))
        if entry.entries.count > historySize { entry.entries.removeFirst() }
        entry.results[key] = entry.top
        return (entry.top, true)
    }
}

/// Listeners on one loop that share a store.
final class ReferenceServer: ConnectionHandler, GatewayDirectory {
    private final class Peer {
        var reader = FrameReader(role: .server)
        var head = ByteBuffer()
        var isUpgraded = false
        var parser = RequestHeadParser()
    }

    private let loop: Loop
    private let store: ReferenceStore
    private var kind: UInt8 = 0
    private var addresses: [SocketAddress] = []
    private var peers: [ConnectionID: Peer] = [:]
    private var scratch = ByteBuffer()
    /// Ends the connection of every publish of this count instead of answering; what it published stays.
    var breaksEvery = 0

    init(_ loop: Loop, gateways: Int, store: ReferenceStore) throws {
        self.loop = loop
        self.store = store
        kind = loop.register(self)
        for _ in 0..<gateways {
            guard let any = SocketAddress(host: "127.0.0.1", port: 0) else { continue }
            let listener = try Listener.bind(any, shared: false, handler: kind)
            addresses.append(listener.address)
            try loop.add(listener)
        }
    }

    /// What stands before each listener, where a test wants it.
    var proxies: [ChaosProxy] = []

    /// Puts a proxy with `mutant` before each listener.
    func mutate(_ mutant: Mutant, rooms: Int) throws {
        var seed: UInt64 = 0
        proxies = try addresses.map { address in
            let proxy = try ChaosProxy(loop, target: address, speaksRESP: false, seed: 1)
            proxy.makeRewriter = {
                seed += 1
                return MutantRewriter(mutant, rooms: rooms, seed: seed)
            }
            return proxy
        }
    }

    var gatewayCount: Int { addresses.count }
    func address(_ gateway: Int, proxied: Bool) -> SocketAddress? {
        gateway < proxies.count ? proxies[gateway].address : addresses[gateway]
    }
    func mustAnswer(_ gateway: Int, since time: MonotonicTime) -> Bool { true }

    func opened(_ id: ConnectionID) { peers[id] = Peer() }
    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        peers[id] = nil
        for name in store.rooms.keys { store.rooms[name]?.members.removeAll { $0 == id } }
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let peer = peers[id] else { return }
        var rest = bytes
        if !peer.isUpgraded {
            let before = peer.head.count
            peer.head.append(UnsafeRawBufferPointer(bytes))
            guard case .complete(let request, let consumed) = peer.parser.parse(peer.head.bytes) else { return }
            let verdict = ServerHandshake.evaluate(
                request, subprotocols: [], origins: .any, sha1: { Digest.sha1($0, $1) })
            guard case .accept(let acceptance) = verdict else { return loop.close(id) }
            var response = ByteBuffer()
            ServerHandshake.appendAcceptance(acceptance, subprotocols: [], to: &response)
            loop.write(id, response.bytes)
            peer.isUpgraded = true
            rest = UnsafeMutableRawBufferPointer(rebasing: bytes[(consumed - before)...])
        }
        var input = FrameInput(rest)
        let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20)
        while loop.isOpen(id) {
            guard case .message(_, _, let text) = peer.reader.next(&input, limits) else { return }
            var lines = LineSplitter(UnsafeRawBufferPointer(text))
            while let line = lines.next() {
                do throws(WireError) {
                    answer(id, try JSONCodec.command(line, scratch: &scratch))
                } catch {
                    return loop.close(id)
                }
            }
        }
    }

    private func say(_ id: ConnectionID, _ text: String) {
        var frame = ByteBuffer()
        Array(text.utf8).withUnsafeBytes { frame.appendFrame(.text, $0) }
        loop.write(id, frame.bytes)
    }

    private func answer(_ id: ConnectionID, _ command: Command) {
        switch command.request {
        case .connect:
            say(id, "{\"id\":\(command.id),\"connect\":{\"client\":\"c\",\"version\":\"1\",\"ping\":25,\"pong\":true}}")
        case .subscribe(let request): subscribe(id, command.id, request)
        case .publish(let request): publish(id, command.id, request)
        case .history(let request):
            let room = String(decoding: request.room, as: UTF8.self)
            let entry = store.rooms[room, default: ReferenceStore.Room()]
            let list = "[\(publications(entry.entries))]"
            say(
                id,
                "{\"id\":\(command.id),\"history\":{\"publications\":\(list),"
                    + "\"epoch\":\"\(store.epoch)\",\"offset\":\(entry.top)}}"
            )
        default: break
        }
    }

    private func publications(_ entries: [(offset: UInt64, data: [UInt8])]) -> String {
        entries.map { "{\"data\":\(String(decoding: $0.data, as: UTF8.self)),\"offset\":\($0.offset)}" }.joined(
            separator: ",")
    }

    private func subscribe(_ id: ConnectionID, _ command: UInt32, _ request: SubscribeRequest) {
        let room = String(decoding: request.room, as: UTF8.self)
        var entry = store.rooms[room, default: ReferenceStore.Room()]
        entry.members.append(id)
        store.rooms[room] = entry
        var fields = "\"recoverable\":true,\"epoch\":\"\(store.epoch)\",\"offset\":\(entry.top),\"positioned\":true"
        if request.recover {
            let isKnown = String(decoding: request.epoch, as: UTF8.self) == store.epoch && request.offset <= entry.top
            let missed = isKnown ? entry.top - request.offset : 0
            let isThere = isKnown && missed <= UInt64(entry.entries.count)
            fields += ",\"was_recovering\":true"
            if isThere || store.defect == .believesAnything {
                let list = entry.entries.filter { $0.offset > request.offset && store.defect != .emptyBacklog }
                fields += ",\"recovered\":true,\"publications\":[\(publications(list))]"
            }
        }
        say(id, "{\"id\":\(command),\"subscribe\":{\(fields)}}")
    }

    private func publish(_ id: ConnectionID, _ command: UInt32, _ request: PublishRequest) {
        store.published += 1
        let room = String(decoding: request.room, as: UTF8.self)
        let data = Array(request.data)
        let ordinal = store.published
        if store.defect == .silent, ordinal % 60 == 0 { return }
        if store.defect == .acksOnly, ordinal % 40 == 0 {
            let top = store.rooms[room]?.top ?? 0
            return say(id, "{\"id\":\(command),\"publish\":{\"offset\":\(top + 1),\"epoch\":\"\(store.epoch)\"}}")
        }
        let (offset, isNew) = store.append(room, data, key: String(decoding: request.idempotencyKey, as: UTF8.self))
        if isNew { fanOut(room, offset, data) }
        if store.defect == .lying120, ordinal % 40 == 0 {
            return say(
                id, "{\"id\":\(command),\"error\":{\"code\":120,\"message\":\"engine unavailable\",\"temporary\":true}}"
            )
        }
        if breaksEvery > 0, ordinal % breaksEvery == 0 { return loop.close(id) }
        say(id, "{\"id\":\(command),\"publish\":{\"offset\":\(offset),\"epoch\":\"\(store.epoch)\"}}")
    }

    private func fanOut(_ room: String, _ offset: UInt64, _ data: [UInt8]) {
        let push =
            "{\"push\":{\"channel\":\"\(room)\",\"pub\":{\"data\":"
            + "\(String(decoding: data, as: UTF8.self)),\"offset\":\(offset)}}}"
        for member in store.rooms[room]?.members ?? [] {
            store.delivered += 1
            let isHit = store.delivered % 40 == 0
            if isHit, store.defect == .dropsDeliveries { continue }
            say(member, push)
            if isHit, store.defect == .doublesDeliveries { say(member, push) }
        }
    }
}
