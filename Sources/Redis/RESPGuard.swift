// Checks a stream of RESP2 replies before hiredis' reader sees it: version 0.14 multiplies announced element counts
// without a check, adds announced lengths to pointers, and takes two arbitrary bytes for the end of a bulk string.
//
// Sans-IO and incremental: the verdict on a stream does not depend on how it is cut. Holds no bytes and no memory
// beyond a fixed stack; bounded by RESPLimits. Whatever passes is a prefix of well-formed RESP2 (redis.io, RESP2
// specification).

/// A pre-scanner of replies. Loop-confined.
package struct RESPGuard: Sendable {
    private enum Line: Sendable { case text, integer, bulkLength, arrayLength }

    private enum Expecting: Sendable {
        /// The type byte of a value.
        case type
        /// The rest of a line.
        case line(Line)
        /// The LF behind a line's CR.
        case lineFeed(Line)
        /// So many bytes of a bulk string.
        case bulk(Int)
        /// The CR behind a bulk string.
        case bulkReturn
        /// The LF behind that.
        case bulkFeed
    }

    private static let mostLevels = 8

    private let limits: RESPLimits
    private var expecting = Expecting.type
    // Elements that each open array still lacks, outermost first.
    private var missing = InlineArray<8, Int>(repeating: 0)
    private var level = 0
    private var lineBytes = 0
    private var replyBytes = 0
    private var elements = 0
    private var digits = 0
    private var isNegative = false
    private var magnitude: UInt64 = 0
    /// Replies that are complete so far.
    package private(set) var replies = 0

    /// A guard at the start of a stream.
    package init(limits: RESPLimits = RESPLimits()) {
        precondition(limits.depth <= RESPGuard.mostLevels)
        self.limits = limits
    }

    /// Checks the next bytes of the stream. `accepted` of them are in order; a fault stands at the byte behind those,
    /// and the stream is not to be looked at any further.
    package mutating func scan(_ bytes: UnsafeRawBufferPointer) -> (accepted: Int, fault: RESPFault?) {
        var index = 0
        while index < bytes.count {
            if case .bulk(let left) = expecting {
                let run = min(left, bytes.count - index)
                index += run
                expecting = left == run ? .bulkReturn : .bulk(left - run)
                continue
            }
            if let fault = take(bytes[index]) { return (index, fault) }
            index += 1
        }
        return (index, nil)
    }

    private mutating func take(_ byte: UInt8) -> RESPFault? {
        if replyBytes == limits.replyBytes { return .replyTooLong }
        replyBytes += 1
        switch expecting {
        case .type: return begin(byte)
        case .line(let line):
            if byte == UInt8(ascii: "\r") {
                expecting = .lineFeed(line)
                return nil
            }
            lineBytes += 1
            if lineBytes > limits.lineBytes { return .lineTooLong }
            if case .text = line { return byte == UInt8(ascii: "\n") ? .badLineEnd : nil }
            return digit(byte)
        case .lineFeed(let line):
            return byte == UInt8(ascii: "\n") ? endLine(line) : .badLineEnd
        case .bulkReturn:
            expecting = .bulkFeed
            return byte == UInt8(ascii: "\r") ? nil : .badLineEnd
        case .bulkFeed:
            guard byte == UInt8(ascii: "\n") else { return .badLineEnd }
            endValue()
            return nil
        case .bulk: return .reader
        }
    }

    private mutating func begin(_ byte: UInt8) -> RESPFault? {
        lineBytes = 0
        digits = 0
        isNegative = false
        magnitude = 0
        switch byte {
        case UInt8(ascii: "+"), UInt8(ascii: "-"): expecting = .line(.text)
        case UInt8(ascii: ":"): expecting = .line(.integer)
        case UInt8(ascii: "$"): expecting = .line(.bulkLength)
        case UInt8(ascii: "*"):
            if level == limits.depth { return .tooDeep }
            expecting = .line(.arrayLength)
        default: return .unknownType
        }
        return nil
    }

    private mutating func digit(_ byte: UInt8) -> RESPFault? {
        if byte == UInt8(ascii: "-"), digits == 0, !isNegative {
            isNegative = true
            return nil
        }
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return .badNumber }
        // As strict as the reader: no leading zeros, no -0.
        if digits == 1, magnitude == 0 { return .badNumber }
        if isNegative, digits == 0, byte == UInt8(ascii: "0") { return .badNumber }
        let (scaled, over) = magnitude.multipliedReportingOverflow(by: 10)
        let (sum, carry) = scaled.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
        let bound = UInt64(Int64.max) + (isNegative ? 1 : 0)
        guard !over, !carry, sum <= bound else { return .badNumber }
        magnitude = sum
        digits += 1
        return nil
    }

    private mutating func endLine(_ line: Line) -> RESPFault? {
        if case .text = line {
            endValue()
            return nil
        }
        guard digits > 0 else { return .badNumber }
        if case .integer = line {
            endValue()
            return nil
        }
        if isNegative {
            // Only -1, the null.
            guard magnitude == 1 else { return .badNumber }
            endValue()
            return nil
        }
        return line == .bulkLength ? beginBulk() : beginArray()
    }

    private mutating func beginBulk() -> RESPFault? {
        guard magnitude <= UInt64(limits.bulkBytes) else { return .bulkTooLong }
        let length = Int(magnitude)
        guard length <= limits.replyBytes - replyBytes else { return .replyTooLong }
        replyBytes += length
        expecting = length == 0 ? .bulkReturn : .bulk(length)
        return nil
    }

    private mutating func beginArray() -> RESPFault? {
        guard magnitude <= UInt64(limits.elements - elements) else { return .tooManyElements }
        let count = Int(magnitude)
        elements += count
        if count == 0 {
            endValue()
            return nil
        }
        missing[level] = count
        level += 1
        expecting = .type
        return nil
    }

    private mutating func endValue() {
        expecting = .type
        while level > 0 {
            missing[level - 1] -= 1
            if missing[level - 1] > 0 { return }
            level -= 1
        }
        replies += 1
        replyBytes = 0
        elements = 0
    }
}
