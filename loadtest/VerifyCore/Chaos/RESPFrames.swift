// Finds where RESP2 values end in a stream, without building them: whole pub/sub messages can be taken out, connections
// classified, and the fake Redis reads its commands. Bounded: a value that is longer than `limit`, nested too deep or
// malformed ends the parsing, and the caller passes bytes on as they are.

import Bytes

/// Length of the first value in a run of bytes.
enum RESPExtent: Equatable {
    case needMore
    case length(Int)
    case broken
}

enum RESPFrames {
    static let limit = 16 << 20
    static let depthLimit = 8

    /// How long the first value of `bytes` is.
    static func extent(_ bytes: UnsafeRawBufferPointer) -> RESPExtent {
        var at = 0
        // Elements that are still to come, by depth.
        var open: [Int] = [1]
        while let left = open.last {
            if left == 0 {
                open.removeLast()
                continue
            }
            open[open.count - 1] = left - 1
            guard at < bytes.count else { return .needMore }
            guard let end = lineEnd(bytes, from: at) else {
                return bytes.count - at > 65_536 ? .broken : .needMore
            }
            let kind = bytes[at]
            switch kind {
            case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":"):
                at = end
            case UInt8(ascii: "$"):
                guard let length = number(bytes, at + 1, end - 2), length >= -1, length <= limit else { return .broken }
                at = end
                if length >= 0 {
                    guard bytes.count - at >= length + 2 else { return .needMore }
                    at += length + 2
                }
            case UInt8(ascii: "*"):
                guard let count = number(bytes, at + 1, end - 2), count >= -1, count <= 1 << 20 else { return .broken }
                at = end
                guard open.count < depthLimit else { return .broken }
                if count > 0 { open.append(count) }
            default:
                return .broken
            }
        }
        return .length(at)
    }

    /// The bulk strings of an array of such, as ranges; nil for anything else. `value` is one whole value.
    static func bulks(_ value: UnsafeRawBufferPointer) -> [Range<Int>]? {
        guard value.first == UInt8(ascii: "*"), let head = lineEnd(value, from: 0),
            let count = number(value, 1, head - 2), count >= 0
        else { return nil }
        var at = head
        var found: [Range<Int>] = []
        for _ in 0..<count {
            guard at < value.count, value[at] == UInt8(ascii: "$"), let end = lineEnd(value, from: at),
                let length = number(value, at + 1, end - 2), length >= 0, value.count - end >= length + 2
            else { return nil }
            found.append(end..<end + length)
            at = end + length + 2
        }
        return found
    }

    /// The index behind the CRLF of the line that begins at `start`.
    private static func lineEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index + 1 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10 { return index + 2 }
            index += 1
        }
        return nil
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, _ from: Int, _ to: Int) -> Int? {
        guard from < to, to - from <= 11, to <= bytes.count else { return nil }
        var value = 0
        var index = from
        let isNegative = bytes[from] == UInt8(ascii: "-")
        if isNegative { index += 1 }
        guard index < to else { return nil }
        while index < to {
            guard (48...57).contains(bytes[index]) else { return nil }
            value = value * 10 + Int(bytes[index] - 48)
            index += 1
        }
        return isNegative ? -value : value
    }

    static func equals(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        for (offset, index) in range.enumerated() {
            let letter = bytes[index] >= 97 && bytes[index] <= 122 ? bytes[index] - 32 : bytes[index]
            if letter != text.utf8Start[offset] { return false }
        }
        return true
    }
}
