// What travels in a room's channel: one header line with version, offset and epoch, then the members of the publication
// object as they go to the clients. Small, readable in redis-cli, and versioned, so that two releases can share a
// Redis.
//
//     1 <offset> <epoch>\n"data":{"text":"hi"},"info":{…}
//
// Anybody who may publish to Redis may put anything there: what does not parse is counted and skipped, never believed
// (F39). Whether the members are well-formed is judged by who passes them on. Called on the loops.

package import Bytes

/// A publication as it travels between nodes.
package struct PublicationEnvelope {
    /// The publication's number in its room; 0 in rooms without history.
    package let offset: UInt64
    /// The stream's life; 0 in rooms without history.
    package let epoch: UInt64
    /// The members; they lie in the payload that was parsed.
    package let fields: UnsafeRawBufferPointer

    /// Why a payload is skipped.
    package enum Fault: Error, Sendable {
        /// A version that this release does not know.
        case unknownVersion
        /// Not an envelope.
        case malformed
    }

    /// Longest header line: version, two 64-bit numbers, separators.
    package static let longestHeader = 1 + 1 + 20 + 1 + 20 + 1

    /// Reads a payload strictly.
    package init(parsing payload: UnsafeRawBufferPointer) throws(Fault) {
        let head = payload.prefix(PublicationEnvelope.longestHeader)
        var cursor = 0
        guard let version = PublicationEnvelope.number(head, &cursor, until: UInt8(ascii: " ")) else {
            throw .malformed
        }
        guard version == 1 else { throw .unknownVersion }
        guard let offset = PublicationEnvelope.number(head, &cursor, until: UInt8(ascii: " ")),
            let epoch = PublicationEnvelope.number(head, &cursor, until: UInt8(ascii: "\n")), cursor < payload.count
        else { throw .malformed }
        self.offset = offset
        self.epoch = epoch
        fields = UnsafeRawBufferPointer(rebasing: payload[cursor...])
    }

    /// Appends the header line.
    package static func appendHeader(offset: UInt64, epoch: UInt64, to output: inout ByteBuffer) {
        output.append("1 ")
        output.append(decimal: offset)
        output.append(" ")
        output.append(decimal: epoch)
        output.append("\n")
    }

    /// Bytes of the header line of rooms without history.
    package static let plainHeader: StaticString = "1 0 0\n"

    /// A decimal number without leading zeros, and its terminator.
    private static func number(
        _ bytes: Slice<UnsafeRawBufferPointer>, _ cursor: inout Int, until end: UInt8
    ) -> UInt64? {
        var value: UInt64 = 0
        let start = cursor
        while cursor < bytes.count {
            let byte = bytes[cursor]
            cursor += 1
            if byte == end { return cursor - 1 == start ? nil : value }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            if cursor - 1 > start, value == 0 { return nil }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !over, !carry else { return nil }
            value = sum
        }
        return nil
    }
}
