// The scripts as the tests call them: a room with its options, a term, and fresh epochs that count up, so that every
// one of them is used once.

import Bytes
import Redis
import Testing

let first = RedisTerm(number: 1, life: 0xA1)
let second = RedisTerm(number: 2, life: 0xB2)
let third = RedisTerm(number: 3, life: 0xC3)

/// What a history call gave, copied.
struct Read: Equatable {
    var state: HistoryState
    var record: RoomRecord
    var oldest: UInt64
    var offsets: [UInt64] = []
    var fields: [[UInt8]] = []

    var texts: [String] { fields.map { String(decoding: $0, as: UTF8.self) } }
}

final class ScriptRoom {
    let client: ScriptClient
    let name: [UInt8]
    var term = first
    var size = 100
    var ttl = Duration.seconds(300)
    private var epochs: UInt64 = 0xF000_0000_0000_0000

    init(_ client: ScriptClient, _ name: String = "room") {
        self.client = client
        self.name = Array(name.utf8)
    }

    func fresh() -> UInt64 {
        epochs += 1
        return epochs
    }

    func publishResult(
        _ fields: [UInt8], key: (String, String)? = nil, seen: RoomPosition? = nil
    ) throws -> PublishResult {
        let epoch = fresh()
        return try client.call(
            .publish,
            { output in
                name.withRaw { room in
                    fields.withRaw { fields in
                        bytes(key?.0 ?? "").withRaw { sender in
                            bytes(key?.1 ?? "").withRaw { name in
                                PublishCall(
                                    room: room, fields: fields, term: term, freshEpoch: epoch, historySize: size,
                                    historyTTL: ttl, seen: seen, idempotency: key == nil ? nil : (sender, name)
                                ).append(to: &output, names: client.names)
                            }
                        }
                    }
                }
            }, { try #require(PublishResult($0), "the answer is one: \(Answer($0))") })
    }

    @discardableResult
    func publish(_ text: String, seen: RoomPosition? = nil) throws -> RoomPosition {
        let result = try publishResult(Array(text.utf8), seen: seen)
        guard case .published(let position) = result else {
            Issue.record("\(text) is published, not \(result)")
            throw CancellationError()
        }
        return position
    }

    func publish(_ range: ClosedRange<Int>) throws {
        for number in range { try publish("m\(number)") }
    }

    func reading(
        _ mode: HistoryMode, since: RoomPosition?, limit: Int = 300, bytes: Int = 1 << 20
    ) throws -> Read? {
        let epoch = fresh()
        return try client.call(
            .history,
            { output in
                name.withUnsafeBytes { room in
                    HistoryCall(
                        room: room, term: term, freshEpoch: epoch, historySize: size, historyTTL: ttl, mode: mode,
                        since: since, limit: limit, maxBytes: bytes
                    ).append(to: &output, names: client.names)
                }
            },
            { reply -> Read? in
                switch try #require(HistoryResult.read(reply, mode: mode), "the answer is one: \(Answer(reply))") {
                case .staleTerm: return nil
                case .result(let result):
                    var read = Read(state: result.state, record: result.record, oldest: result.oldest)
                    result.forEachEntry { offset, fields in
                        read.offsets.append(offset)
                        read.fields.append(Array(fields))
                    }
                    #expect(read.fields.count == result.count)
                    return read
                }
            })
    }

    func read(_ mode: HistoryMode, since: RoomPosition?, limit: Int = 300, bytes: Int = 1 << 20) throws -> Read {
        try #require(try reading(mode, since: since, limit: limit, bytes: bytes), "the term is not stale")
    }

    func positionResult() throws -> PositionResult {
        let epoch = fresh()
        return try client.call(
            .position,
            { output in
                name.withUnsafeBytes { room in
                    PositionCall(room: room, term: term, freshEpoch: epoch, historyTTL: ttl)
                        .append(to: &output, names: client.names)
                }
            }, { try #require(PositionResult($0)) })
    }

    func position() throws -> RoomRecord {
        guard case .at(let record) = try positionResult() else {
            Issue.record("the term is not stale")
            throw CancellationError()
        }
        return record
    }

    func fence(_ seen: RoomPosition, in seenTerm: RedisTerm, late: Bool = false) throws -> FenceResult {
        let epoch = fresh()
        return try client.call(
            .fence,
            { output in
                name.withUnsafeBytes { room in
                    FenceCall(
                        room: room, term: term, freshEpoch: epoch, historyTTL: ttl, seen: seen, seenTerm: seenTerm,
                        mayVouch: !late
                    ).append(to: &output, names: client.names)
                }
            }, { try #require(FenceResult($0), "the answer is one: \(Answer($0))") })
    }

    /// Publishes as a room without history does.
    func publishOnce(_ text: String, _ sender: String, _ key: String) throws -> PublishOnceResult? {
        try client.call(.publishOnce, { writePublishOnce(text, sender, key, to: &$0) }, { PublishOnceResult($0) })
    }

    func writePublishOnce(_ text: String, _ sender: String, _ key: String, to output: inout ByteBuffer) {
        name.withRaw { room in
            bytes(text).withRaw { fields in
                bytes(sender).withRaw { sender in
                    bytes(key).withRaw {
                        PublishOnceCall(room: room, fields: fields, sender: sender, key: $0)
                            .append(to: &output, names: client.names)
                    }
                }
            }
        }
    }

    /// What the store holds of the room, to be put back later: an older snapshot.
    func snapshot() throws -> [([UInt8], [UInt8]?)] {
        var kept: [([UInt8], [UInt8]?)] = []
        for key in [client.key(.stream, name), client.key(.position, name)] {
            kept.append((key, try client.command([Array("DUMP".utf8), key]).bytes))
        }
        return kept
    }

    func restore(_ snapshot: [([UInt8], [UInt8]?)]) throws {
        for (key, value) in snapshot {
            try client.command([Array("DEL".utf8), key])
            guard let value else { continue }
            let answer = try client.command([
                Array("RESTORE".utf8), key, Array("600000".utf8), value, Array("REPLACE".utf8),
            ])
            #expect(answer.string == "OK")
        }
    }
}

func at(_ offset: UInt64, _ epoch: UInt64) -> RoomPosition { RoomPosition(offset: offset, epoch: epoch) }
