// Where one reply lives: a flat list of values in the order in which they came, and the bytes of their strings.
// hiredis' reader fills it through its object functions, so a reply costs no allocation once the arena has grown, and
// is freed as a whole when the next one begins.
//
// Bounded by RESPLimits (elements, bytes) through the guard in front of the reader. Loop-confined; owned by
// ReplyReader.

import Bytes
import CHiredis

/// One value of a reply.
struct ReplyNode {
    var kind = RedisReply.Kind.null
    /// The integer, or the number of elements.
    var number: Int64 = 0
    /// Where the string's bytes lie in the arena.
    var start = 0
    var length = 0
    /// Index behind the value's last descendant.
    var end = 0
}

/// The values of one reply.
struct ReplyArena: ~Copyable {
    /// What an audit of as many rooms as one call takes needs.
    private static let keptNodes = 2048
    private static let keptBytes = 256 * 1024

    private(set) var nodes: UnsafeMutablePointer<ReplyNode>
    private(set) var count = 0
    private var capacity: Int
    private var strings = ByteBuffer()

    init() {
        capacity = 16
        nodes = .allocate(capacity: 16)
    }

    deinit { nodes.deallocate() }

    /// Forgets the reply; gives memory back that an unusually large one needed.
    mutating func reset() {
        count = 0
        strings.removeAll(keepingAtMost: ReplyArena.keptBytes)
        guard capacity > ReplyArena.keptNodes else { return }
        nodes.deallocate()
        capacity = 16
        nodes = .allocate(capacity: 16)
    }

    mutating func append(_ node: ReplyNode) {
        if count == capacity {
            let larger = UnsafeMutablePointer<ReplyNode>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: nodes, count: count)
            nodes.deallocate()
            nodes = larger
            capacity *= 2
        }
        nodes[count] = node
        count += 1
    }

    mutating func append(_ kind: RedisReply.Kind, string: UnsafeRawBufferPointer) {
        append(ReplyNode(kind: kind, start: strings.count, length: string.count))
        strings.append(string)
    }

    /// Sets where each value ends, from the last to the first; the reply is complete.
    mutating func seal() {
        for index in stride(from: count - 1, through: 0, by: -1) {
            var end = index + 1
            if nodes[index].kind == .array {
                for _ in 0..<nodes[index].number where end < count { end = nodes[end].end }
            }
            nodes[index].end = end
        }
    }

    func string(_ node: ReplyNode) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: strings.bytes[node.start..<node.start + node.length])
    }
}

extension ReplyArena {
    /// The reader's object functions. Each gets the arena as the task's private data and returns any non-null pointer:
    /// null would mean that there is no memory.
    static var functions: redisReplyObjectFunctions {
        redisReplyObjectFunctions(
            createString: { task, bytes, length in
                ReplyArena.add(task) { arena, type in
                    let kind: RedisReply.Kind =
                        switch type {
                        case REDIS_REPLY_STATUS: .status
                        case REDIS_REPLY_ERROR: .error
                        default: .bulk
                        }
                    arena.pointee.append(kind, string: UnsafeRawBufferPointer(start: bytes, count: length))
                }
            },
            createArray: { task, count in
                ReplyArena.add(task) { arena, _ in
                    arena.pointee.append(ReplyNode(kind: .array, number: Int64(count)))
                }
            },
            createInteger: { task, number in
                ReplyArena.add(task) { arena, _ in arena.pointee.append(ReplyNode(kind: .integer, number: number)) }
            },
            createNil: { task in
                ReplyArena.add(task) { arena, _ in arena.pointee.append(ReplyNode(kind: .null)) }
            },
            freeObject: { _ in })
    }

    private static func add(
        _ task: UnsafePointer<redisReadTask>?, _ body: (UnsafeMutablePointer<ReplyArena>, Int32) -> Void
    ) -> UnsafeMutableRawPointer? {
        guard let task, let raw = task.pointee.privdata else { return nil }
        body(raw.assumingMemoryBound(to: ReplyArena.self), task.pointee.type)
        return raw
    }
}
