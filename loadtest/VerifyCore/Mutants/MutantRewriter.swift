// Makes a correct server look defective to its clients: sits in a chaos proxy on one connection, takes WebSocket frames
// apart, and drops, doubles, swaps or rewrites the lines in them. Only for connections of this tool: text frames that
// are whole lines of JSON below 1 MiB; anything else is passed on as it is.

import Bytes
import WebSocket

/// The defect on one connection.
final class MutantRewriter: LinkRewriter {
    private let mutant: Mutant
    private let rooms: Int
    private var random: SeededRandom
    private var isOpen = [false, false]
    private var input: [[UInt8]] = [[], []]
    /// A delivery that waits for the next one of its connection to pass it.
    private var held: [UInt8]?

    init(_ mutant: Mutant, rooms: Int, seed: UInt64) {
        self.mutant = mutant
        self.rooms = rooms
        random = SeededRandom(seed: seed)
    }

    func rewrite(_ bytes: UnsafeRawBufferPointer, _ flow: Flow, into out: inout [UInt8]) {
        let side = flow.rawValue
        input[side] += bytes
        if !isOpen[side] {
            guard let end = MutantRewriter.headEnd(input[side]) else { return }
            out += input[side][..<end]
            input[side].removeFirst(end)
            isOpen[side] = true
        }
        while let frame = takeFrame(side) { pass(frame, flow, into: &out) }
    }

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        for index in 0...(bytes.count - 4) where bytes[index..<index + 4].elementsEqual([13, 10, 13, 10]) {
            return index + 4
        }
        return nil
    }

    // MARK: Frames

    private struct RawFrame {
        let all: [UInt8]
        let isText: Bool
        let payload: [UInt8]
    }

    private func takeFrame(_ side: Int) -> RawFrame? {
        let bytes = input[side]
        guard bytes.count >= 2 else { return nil }
        var at = 2
        var length = Int(bytes[1] & 0x7F)
        if length == 126 {
            guard bytes.count >= 4 else { return nil }
            length = Int(bytes[2]) << 8 | Int(bytes[3])
            at = 4
        } else if length == 127 {
            guard bytes.count >= 10 else { return nil }
            length = bytes[2..<10].reduce(0) { ($0 & 0xFFFF_FFFF) << 8 | Int($1) }
            at = 10
        }
        let isMasked = bytes[1] & 0x80 != 0
        let key = isMasked && bytes.count >= at + 4 ? Array(bytes[at..<at + 4]) : []
        if isMasked { at += 4 }
        guard bytes.count >= at + length else { return nil }
        var payload = Array(bytes[at..<at + length])
        if isMasked { for index in payload.indices { payload[index] ^= key[index & 3] } }
        let frame = RawFrame(all: Array(bytes[..<(at + length)]), isText: bytes[0] == 0x81, payload: payload)
        input[side].removeFirst(at + length)
        return frame
    }

    private func appendText(_ lines: [[UInt8]], to out: inout [UInt8]) {
        guard !lines.isEmpty else { return }
        let text = Array(lines.joined(separator: [10]))
        var frame = ByteBuffer()
        text.withUnsafeBytes { frame.appendFrame(.text, $0) }
        out += frame.bytes
    }

    private func pass(_ frame: RawFrame, _ flow: Flow, into out: inout [UInt8]) {
        guard frame.isText, flow == .down else {
            out += frame.all
            return
        }
        let lines = frame.payload.split(separator: 10).map(Array.init)
        let changed = lines.flatMap(change)
        if changed == lines { out += frame.all } else { appendText(changed, to: &out) }
    }

    // MARK: Defects

    private func hits(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

    private func change(_ line: [UInt8]) -> [[UInt8]] {
        let isDelivery = JSONPiece.find("\"pub\":{", in: line) != nil
        switch mutant {
        case .dropsDeliveries: return isDelivery && hits(500) ? [] : [line]
        case .doublesDeliveries: return isDelivery && hits(500) ? [line, line] : [line]
        case .swapsDeliveries:
            guard isDelivery else { return [line] }
            if let before = held {
                // Only messages of one publisher have an order in every kind of room.
                guard JSONPiece.room(in: before) == JSONPiece.room(in: line),
                    JSONPiece.publisher(in: before) == JSONPiece.publisher(in: line)
                else { return [line] }
                held = nil
                return [line, before]
            }
            guard hits(500) else { return [line] }
            held = line
            return []
        case .crossesRooms:
            guard isDelivery, hits(500), let room = JSONPiece.room(in: line) else { return [line] }
            return [JSONPiece.replaceRoom(in: line, by: (room + 2) % rooms)]
        case .swallowsErrors: return JSONPiece.find("\"error\":{", in: line) == nil ? [line] : []
        default: return [line]
        }
    }
}

/// Finds and changes pieces of the JSON that this tool and its server write; no general parser.
enum JSONPiece {
    static func find(_ text: String, in line: [UInt8], from start: Int = 0) -> Int? {
        let pattern = Array(text.utf8)
        guard line.count >= pattern.count + start else { return nil }
        for index in start...(line.count - pattern.count) where line[index] == pattern[0] {
            if line[index..<index + pattern.count].elementsEqual(pattern) { return index }
        }
        return nil
    }

    static func room(in line: [UInt8]) -> Int? {
        guard let at = find("\"channel\":\"", in: line) else { return nil }
        let start = at + 11
        let end = start + RoomNames.prefixLength + RoomNames.digits
        guard end <= line.count else { return nil }
        return line[start..<end].withUnsafeBytes { RoomNames.number($0) }
    }

    /// The publisher's digits in the message's mark.
    static func publisher(in line: [UInt8]) -> ArraySlice<UInt8>? {
        guard let at = find("@m", in: line), at + 28 <= line.count else { return nil }
        return line[(at + 24)..<(at + 28)]
    }

    static func replaceRoom(in line: [UInt8], by room: Int) -> [UInt8] {
        guard let at = find("\"channel\":\"", in: line) else { return line }
        let name = Array(RoomNames.name(room).utf8)
        var changed = line
        changed.replaceSubrange(at + 11..<at + 11 + name.count, with: name)
        return changed
    }
}
