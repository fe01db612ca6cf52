// What requests and responses have in common: cutting a head into lines and judging field lines. Called by the two
// head parsers on the connection's loop. Every byte is looked at once when it arrives and once when its line is
// complete, also if bytes come one at a time; the caller keeps the bytes, at most `HeadLimits.headBytes` of them.
// RFC 9112 sections 2.2 and 5, with every leniency that the RFC permits turned off: each has been a way to smuggle.

/// Cuts a head into lines and remembers how far it has looked.
struct HeadScanner {
    /// Bytes looked at so far. The end of the head once the empty line was returned.
    private(set) var scanned = 0
    private var lineStart = 0
    private var sawCarriageReturn = false

    enum Step {
        case needMore
        /// A complete line, its CRLF excluded.
        case line(start: Int, end: Int)
        case failed(HTTPFailure)
    }

    /// The next line of `bytes`, the head from its first byte on.
    mutating func nextLine(_ bytes: UnsafeRawBufferPointer, _ limits: HeadLimits, tooLong: HTTPFailure) -> Step {
        while scanned < bytes.count {
            if scanned >= limits.headBytes { return .failed(.headTooLong) }
            let byte = bytes[scanned]
            if sawCarriageReturn {
                guard byte == ASCII.lineFeed else { return .failed(.bareCarriageReturn) }
                let start = lineStart
                let end = scanned - 1
                scanned += 1
                lineStart = scanned
                sawCarriageReturn = false
                return .line(start: start, end: end)
            }
            if byte == ASCII.carriageReturn {
                sawCarriageReturn = true
            } else if ASCII.isForbiddenInValue(byte) {
                return .failed(byte == ASCII.lineFeed ? .bareLineFeed : .controlByte)
            } else if scanned - lineStart >= limits.lineBytes {
                return .failed(tooLong)
            }
            scanned += 1
        }
        // A head that already fills its limit without an end cannot become acceptable: say so now, not a byte later.
        return scanned >= limits.headBytes ? .failed(.headTooLong) : .needMore
    }
}

/// Judges field lines one by one and remembers what decides how the message is framed.
struct FieldRules {
    private var fieldCount = 0
    private(set) var contentLength: Int?
    private(set) var hostCount = 0
    private(set) var hasTransferEncoding = false

    /// Checks one field line; nil when there is nothing wrong with it.
    mutating func check(_ line: UnsafeRawBufferPointer, _ limits: HeadLimits) -> HTTPFailure? {
        fieldCount += 1
        if fieldCount > limits.fields { return .tooManyFields }
        if let first = line.first, first == ASCII.space || first == ASCII.tab { return .foldedField }
        var colon = 0
        while colon < line.count, line[colon] != ASCII.colon {
            if !ASCII.isTokenByte(line[colon]) { return .fieldName }
            colon += 1
        }
        if colon == 0 || colon == line.count { return .fieldName }
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        let value = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]))
        switch name.count {
        case 4 where ASCII.equalsIgnoringCase(name, "host"):
            hostCount += 1
            if hostCount > 1 { return .severalHosts }
            if !FieldRules.isHost(value) { return .host }
        case 14 where ASCII.equalsIgnoringCase(name, "content-length"):
            // A second one is refused even if it says the same: intermediaries disagree about which one counts.
            guard contentLength == nil, let length = ASCII.decimal(value) else { return .contentLength }
            contentLength = length
        case 17 where ASCII.equalsIgnoringCase(name, "transfer-encoding"):
            hasTransferEncoding = true
        default:
            break
        }
        return nil
    }

    /// Whether `value` looks like `uri-host [":" port]`: no user info, no path, no list.
    private static func isHost(_ value: UnsafeRawBufferPointer) -> Bool {
        guard !value.isEmpty else { return false }
        for byte in value where !ASCII.isAlphanumeric(byte) {
            switch byte {
            // - . _ ~ % : [ ]
            case 0x2D, 0x2E, 0x5F, 0x7E, 0x25, 0x3A, 0x5B, 0x5D: continue
            default: return false
            }
        }
        return true
    }
}
