// Bytes from a terminal in, keys out. The screen session feeds it whatever one read returned; a UTF-8 sequence, an
// escape sequence or a paste may be split over reads anywhere. No I/O and no clock: a lone ESC is told from the start
// of a sequence by the shell, which calls `flush` when nothing has followed for a moment.
//
// Sequences as xterm, the Linux console, tmux and screen send them (ECMA-48 CSI, SS3), bracketed paste (DEC 2004).
// Bounded by `sequenceLimit` and `pasteLimit`; what is longer is swallowed.

/// One key, as the editor and the screen understand it.
package enum Key: Equatable, Sendable {
    /// A printable scalar.
    case text(Unicode.Scalar)
    /// Ctrl with a letter, given in lower case.
    case control(Unicode.Scalar)
    /// Alt (or ESC before it) with a scalar.
    case alt(Unicode.Scalar)
    /// Text that was pasted, line breaks included.
    case paste(String)
    case enter, tab, backTab, backspace, delete, escape
    case up, down, left, right, home, end, pageUp, pageDown
    /// Ctrl or Alt with an arrow: by words.
    case wordLeft, wordRight
    /// Alt-Backspace.
    case deleteWord
    /// A function key: F1 is 1. Only the first five are told apart.
    case function(Int)
}

/// Turns a terminal's bytes into keys.
package struct KeyDecoder: Sendable {
    /// Longest escape sequence that is looked at; the rest up to its final byte is dropped.
    package static let sequenceLimit = 32
    /// Bytes kept of one paste; the rest is dropped.
    package static let pasteLimit = 65_536

    private enum State {
        case ground
        case utf8(needed: Int)
        case escape
        case csi
        /// The Linux console's function keys: one letter behind `ESC [ [`.
        case consoleFunction
        case ss3
        case paste
    }

    private var state = State.ground
    private var pending: [UInt8] = []
    private var endMatched = 0

    /// A decoder that has seen nothing.
    package init() {}

    /// Whether an ESC waits for what may follow it: `flush` after a moment makes it a key.
    package var isWaiting: Bool {
        if case .escape = state { return true }
        return false
    }

    /// Takes bytes and returns the keys that are complete.
    package mutating func feed(_ bytes: some Sequence<UInt8>) -> [Key] {
        var keys: [Key] = []
        for byte in bytes { step(byte, &keys) }
        return keys
    }

    /// Nothing followed: a lone ESC was the Escape key.
    package mutating func flush() -> [Key] {
        guard isWaiting else { return [] }
        state = .ground
        return [.escape]
    }

    private mutating func step(_ byte: UInt8, _ keys: inout [Key]) {
        switch state {
        case .ground: ground(byte, alt: false, &keys)
        case .utf8(let needed): continuation(byte, needed, &keys)
        case .escape: afterEscape(byte, &keys)
        case .csi: control(byte, &keys)
        case .consoleFunction:
            state = .ground
            if (0x41...0x45).contains(byte) { keys.append(.function(Int(byte) - 0x40)) }
        case .ss3:
            state = .ground
            if (0x50...0x53).contains(byte) { return keys.append(.function(Int(byte) - 0x4F)) }
            if let key = Self.final(byte, modified: false) { keys.append(key) }
        case .paste: paste(byte, &keys)
        }
    }

    private mutating func ground(_ byte: UInt8, alt: Bool, _ keys: inout [Key]) {
        state = .ground
        switch byte {
        case 0x1B: state = .escape
        case 0x0D, 0x0A: keys.append(.enter)
        case 0x09: keys.append(.tab)
        case 0x7F, 0x08: keys.append(alt ? .deleteWord : .backspace)
        case 0: break
        case 1..<0x1B: keys.append(.control(Unicode.Scalar(byte + 0x60)))
        case 0x1C..<0x20: keys.append(.control(Unicode.Scalar(byte + 0x40)))
        case 0x20..<0x7F: keys.append(alt ? .alt(Unicode.Scalar(byte)) : .text(Unicode.Scalar(byte)))
        case 0xC2..<0xE0: begin(byte, needed: 1)
        case 0xE0..<0xF0: begin(byte, needed: 2)
        case 0xF0..<0xF5: begin(byte, needed: 3)
        default: keys.append(.text("\u{FFFD}"))
        }
    }

    private mutating func begin(_ byte: UInt8, needed: Int) {
        pending = [byte]
        state = .utf8(needed: needed)
    }

    private mutating func continuation(_ byte: UInt8, _ needed: Int, _ keys: inout [Key]) {
        guard byte & 0xC0 == 0x80 else {
            keys.append(.text("\u{FFFD}"))
            return ground(byte, alt: false, &keys)
        }
        pending.append(byte)
        guard needed == 1 else { return state = .utf8(needed: needed - 1) }
        state = .ground
        // Repairing decoding: overlong forms and surrogates become U+FFFD, once for the whole sequence.
        let decoded = String(decoding: pending, as: UTF8.self).unicodeScalars
        let scalar = decoded.count == 1 ? decoded.first ?? "\u{FFFD}" : "\u{FFFD}"
        if ShownText.isAllowed(scalar) { keys.append(.text(scalar)) }
    }

    private mutating func afterEscape(_ byte: UInt8, _ keys: inout [Key]) {
        switch byte {
        case 0x5B:
            pending = []
            state = .csi
        case 0x4F: state = .ss3
        case 0x1B: keys.append(.escape)  // the second ESC may start a sequence
        case 0x62: finish(.wordLeft, &keys)
        case 0x66: finish(.wordRight, &keys)
        default: ground(byte, alt: true, &keys)
        }
    }

    private mutating func finish(_ key: Key, _ keys: inout [Key]) {
        state = .ground
        keys.append(key)
    }

    private mutating func control(_ byte: UInt8, _ keys: inout [Key]) {
        switch byte {
        case 0x20..<0x40:
            if pending.count <= Self.sequenceLimit { pending.append(byte) }
        case 0x5B where pending.isEmpty: state = .consoleFunction
        case 0x40..<0x7F:
            state = .ground
            if let key = complete(byte) { keys.append(key) }
        case 0x1B: state = .escape
        default: ground(byte, alt: false, &keys)  // a control inside a sequence ends it
        }
    }

    private mutating func complete(_ last: UInt8) -> Key? {
        guard pending.count <= Self.sequenceLimit else { return nil }
        let numbers = pending.split(separator: 0x3B, omittingEmptySubsequences: false)
            .map { Int(String(decoding: $0, as: UTF8.self)) }
        let modified = numbers.count > 1 && (numbers[1] ?? 1) > 1
        guard last == 0x7E else { return Self.final(last, modified: modified) }
        switch numbers.first ?? nil {
        case 1, 7: return .home
        case 4, 8: return .end
        case 3: return .delete
        case 5: return .pageUp
        case 6: return .pageDown
        case 11: return .function(1)
        case 12: return .function(2)
        case 13: return .function(3)
        case 14: return .function(4)
        case 15: return .function(5)
        case 200:
            pending = []
            endMatched = 0
            state = .paste
            return nil
        default: return nil
        }
    }

    private static func final(_ byte: UInt8, modified: Bool) -> Key? {
        switch byte {
        case 0x41: .up
        case 0x42: .down
        case 0x43: modified ? .wordRight : .right
        case 0x44: modified ? .wordLeft : .left
        case 0x48: .home
        case 0x46: .end
        case 0x5A: .backTab
        case 0x4D: .enter
        default: nil
        }
    }

    private static let pasteEnd: [UInt8] = [0x1B, 0x5B, 0x32, 0x30, 0x31, 0x7E]

    private mutating func paste(_ byte: UInt8, _ keys: inout [Key]) {
        if byte == Self.pasteEnd[endMatched] {
            endMatched += 1
            guard endMatched == Self.pasteEnd.count else { return }
            endMatched = 0
            state = .ground
            keys.append(.paste(String(decoding: pending, as: UTF8.self)))
            pending = []
            return
        }
        // Only the first byte of the end mark is an ESC, so a failed match can restart only at this very byte.
        keep(Self.pasteEnd[0..<endMatched])
        endMatched = byte == Self.pasteEnd[0] ? 1 : 0
        if endMatched == 0 { keep([byte]) }
    }

    private mutating func keep(_ bytes: some Collection<UInt8>) {
        if pending.count + bytes.count <= Self.pasteLimit { pending.append(contentsOf: bytes) }
    }
}
