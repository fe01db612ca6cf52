// One reply of the server as its readers see it. Whatever the server sent, no accessor traps: a value of another kind
// has no number, no bytes, no elements. Errors are classified once, here: the single authority on Redis' error names.

/// A view of a reply or of one of its elements; valid until its reader is fed or asked again. Loop-confined.
package struct RedisReply {
    /// What RESP2 can send.
    package enum Kind: UInt8, Sendable {
        case null, status, error, integer, bulk, array
    }

    private let arena: UnsafePointer<ReplyArena>
    private let index: Int

    init(arena: UnsafePointer<ReplyArena>, index: Int) {
        self.arena = arena
        self.index = index
    }

    private var node: ReplyNode { index < arena.pointee.count ? arena.pointee.nodes[index] : ReplyNode() }

    /// The value's kind.
    package var kind: Kind { node.kind }

    /// The number of an integer reply, else nil.
    package var integer: Int64? {
        let node = node
        return node.kind == .integer ? node.number : nil
    }

    /// The bytes of a status, error or bulk string; empty for everything else.
    package var bytes: UnsafeRawBufferPointer {
        let node = node
        switch node.kind {
        case .status, .error, .bulk: return arena.pointee.string(node)
        case .null, .integer, .array: return UnsafeRawBufferPointer(start: nil, count: 0)
        }
    }

    /// Number of an array's elements; 0 for everything else.
    package var count: Int {
        let node = node
        return node.kind == .array ? Int(node.number) : 0
    }

    /// An element of an array, or nil when there is none. Costs a step for each element before it: whoever wants all
    /// of them walks with `forEach`.
    package subscript(_ position: Int) -> RedisReply? {
        guard position >= 0, position < count else { return nil }
        var child = index + 1
        for _ in 0..<position {
            guard child < arena.pointee.count else { return nil }
            child = arena.pointee.nodes[child].end
        }
        return child < arena.pointee.count ? RedisReply(arena: arena, index: child) : nil
    }

    /// Hands an array's elements from position `first` on to `body`, in order; nothing for every other value.
    package func forEach(from first: Int = 0, _ body: (RedisReply) -> Void) {
        var child = index + 1
        for position in 0..<count {
            guard child < arena.pointee.count else { return }
            if position >= first { body(RedisReply(arena: arena, index: child)) }
            child = arena.pointee.nodes[child].end
        }
    }

    /// Which error this is; nil when it is none.
    package var error: RedisErrorKind? { kind == .error ? RedisErrorKind(message: bytes) : nil }

    /// Whether this is a string of any kind that holds exactly `text`.
    package func isString(_ text: StaticString) -> Bool { bytes.equals(text) }
}

/// Why the server refused a command, by the first word of its error.
package enum RedisErrorKind: UInt8, Sendable, CaseIterable {
    /// The script is not in the server's cache.
    case noScript
    /// The server reads its data set.
    case loading
    /// The server is a replica.
    case readOnly
    /// The server cannot persist and therefore takes no writes.
    case misconfigured
    /// The server is at its memory limit.
    case outOfMemory
    /// A script runs too long.
    case busy
    /// Authentication is required.
    case noAuthentication
    /// User or password are wrong.
    case wrongPassword
    /// The user's ACL forbids the command, key or channel.
    case noPermission
    /// A replica whose master is gone and that may not answer from old data.
    case masterDown
    /// The server is at its connection limit.
    case tooManyClients
    /// Anything else.
    case other

    /// The kind of the error `message` (without the leading `-`).
    package init(message: UnsafeRawBufferPointer) {
        let end = message.firstIndex(of: UInt8(ascii: " ")) ?? message.endIndex
        let word = UnsafeRawBufferPointer(rebasing: message[..<end])
        for kind in RedisErrorKind.allCases where !word.isEmpty && word.equals(kind.word) {
            self = kind
            return
        }
        self = message.starts(with: "ERR max number of clients".utf8) ? .tooManyClients : .other
    }

    /// The error's first word as Redis sends it; empty for those that have no word of their own.
    package var word: StaticString {
        switch self {
        case .noScript: "NOSCRIPT"
        case .loading: "LOADING"
        case .readOnly: "READONLY"
        case .misconfigured: "MISCONF"
        case .outOfMemory: "OOM"
        case .busy: "BUSY"
        case .noAuthentication: "NOAUTH"
        case .wrongPassword: "WRONGPASS"
        case .noPermission: "NOPERM"
        case .masterDown: "MASTERDOWN"
        case .tooManyClients, .other: ""
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether these are exactly the bytes of `text`.
    func equals(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { elementsEqual($0) }
    }
}
