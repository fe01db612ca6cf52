// What a Redis server may send, and what is wrong with what it sent: the single authority on the bounds of a reply.
//
// Used by RESPGuard and ReplyReader on the loop of their link. A server that breaks a bound is not misunderstood and
// not half believed: its connection is closed (RC-01).

/// Bounds of one reply. None of them sizes an allocation; memory grows with the bytes that are really there.
package struct RESPLimits: Sendable {
    /// Bytes of a status, error, integer or length line, without its end. Redis' own errors stay below 512.
    package var lineBytes = 16 * 1024
    /// Bytes of one bulk string.
    package var bulkBytes = 32 * 1024 * 1024
    /// Elements of one reply, over all levels.
    package var elements = 262_144
    /// Arrays inside arrays. hiredis' reader has room for 8.
    package var depth = 7
    /// Bytes of one reply in all.
    package var replyBytes = 64 * 1024 * 1024

    package init() {}
}

/// Why a reply was refused.
package enum RESPFault: UInt8, Error, Sendable {
    /// The first byte of a value names no RESP2 type.
    case unknownType
    /// A length or integer is not a plain decimal number of its range, or negative but not -1.
    case badNumber
    /// A line or a bulk string does not end in CRLF.
    case badLineEnd
    /// A line is longer than `lineBytes`.
    case lineTooLong
    /// A bulk string is longer than `bulkBytes`.
    case bulkTooLong
    /// A reply has more than `elements`.
    case tooManyElements
    /// Arrays are nested deeper than `depth`.
    case tooDeep
    /// A reply is longer than `replyBytes`.
    case replyTooLong
    /// The reader refused what the guard had let pass, or memory was refused.
    case reader
}
