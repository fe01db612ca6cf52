// Why bytes of a peer were not understood. Thrown by the parsers on the connection's loop; the session closes that
// connection with 3501 (bad request), a client closes its own. Plain values: throwing one allocates nothing.

/// What is wrong with a line. Everything here is the peer's fault and final for the connection.
package enum WireError: UInt8, Error, Equatable, Sendable, CaseIterable {
    /// The line ends in the middle of a value.
    case unexpectedEnd
    /// A byte that JSON does not allow there, or bytes after the command.
    case syntax
    /// A blank line, or a frame without any.
    case blankLine
    /// Arrays and objects are nested deeper than `JSONCodec.depthLimit`.
    case tooDeep
    /// A raw control character inside a string.
    case controlCharacter
    /// An escape that JSON does not have.
    case escape
    /// Half of a surrogate pair: no text.
    case loneSurrogate
    /// Not a number by JSON's grammar, or one that no double holds.
    case number
    /// An integer that its field cannot hold.
    case outOfRange
    /// A value of another type than its field has.
    case wrongType
    /// A field that is given twice: readers that take the first and readers that take the last would disagree.
    case duplicateField
    /// No field says what the command or message is.
    case unknownKind
    /// A command that is answered came without an id.
    case missingID
    /// A map or list has more entries than the caller allows.
    case tooManyEntries

    /// A few words for logs; fixed texts, nothing of the peer's bytes.
    package var reason: StaticString {
        switch self {
        case .unexpectedEnd: "unexpected end"
        case .syntax: "syntax error"
        case .blankLine: "blank line"
        case .tooDeep: "nested too deep"
        case .controlCharacter: "control character in a string"
        case .escape: "invalid escape"
        case .loneSurrogate: "lone surrogate"
        case .number: "invalid number"
        case .outOfRange: "integer out of range"
        case .wrongType: "value of a wrong type"
        case .duplicateField: "duplicate field"
        case .unknownKind: "unknown kind of message"
        case .missingID: "command without id"
        case .tooManyEntries: "too many entries"
        }
    }
}
