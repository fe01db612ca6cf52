// A Lua script as the program knows it: a constant with its SHA-1. Calls go out as EVALSHA; whoever is answered
// NOSCRIPT was not executed at all, so it loads the script and says the same again: nothing is lost and nothing done
// twice.
//
// Written by the engine on its loop into a command link's output. Names, bytes and numbers only ever travel as KEYS and
// ARGV (RC-06). Every script but `audit` touches the keys of one slot only. Load all of them first on each new
// connection (`appendLoad`): then NOSCRIPT needs a SCRIPT FLUSH under the feet of a living connection. EVAL would do,
// too, but since 7.4 the server may forget what only EVAL brought.

package import Bytes
import Reactor

/// One constant script.
package final class RedisScript: Sendable {
    /// What it is called in metrics and logs.
    package let name: StaticString
    /// The whole source.
    package let source: String
    /// The source's SHA-1, 40 lower-case hexadecimal digits.
    package let sha: [UInt8]
    /// `EVALSHA` and the SHA-1 as two arguments, ready to be sent.
    private let call: [UInt8]

    /// A script whose source is `parts`, one behind the other.
    init(_ name: StaticString, _ parts: String...) {
        self.name = name
        #if MARTLET_MUTANTS
        source = PlantedDefect.spoil("\(name)", parts.joined())
        #else
        source = parts.joined()
        #endif
        var digest = [UInt8](repeating: 0, count: 20)
        var text = source
        text.withUTF8 { bytes in
            digest.withUnsafeMutableBytes { Digest.sha1(UnsafeRawBufferPointer(bytes), $0) }
        }
        var hex: [UInt8] = []
        for byte in digest {
            hex.append(RedisScript.digit(byte >> 4))
            hex.append(RedisScript.digit(byte & 15))
        }
        sha = hex
        call = Array("$7\r\nEVALSHA\r\n$40\r\n".utf8) + hex + Array("\r\n".utf8)
    }

    /// Every script, in the order in which a new connection loads them.
    package static let all: [RedisScript] = [
        publish, publishLimited, publishOnce, passLimited, history, position, audit, fence, announceTerm, leaveTerm,
        beat,
        enter, exit, linger, reap, touchPresence, listMembers,
    ]

    /// Begins a call with `keys` keys and `arguments` others, which the caller appends in this order.
    package func begin(keys: Int, arguments: Int, in output: inout ByteBuffer) {
        output.beginCommand(3 + keys + arguments)
        call.withUnsafeBytes { output.append($0) }
        output.appendArgument(decimal: UInt64(keys))
    }

    /// Appends `SCRIPT LOAD`, answered by a bulk string: the SHA-1.
    package func appendLoad(to output: inout ByteBuffer) {
        output.beginCommand(3)
        output.appendArgument("SCRIPT")
        output.appendArgument("LOAD")
        output.appendArgument(text: source)
    }

    /// Whether `reply` is the answer to `appendLoad`.
    package func isLoaded(by reply: RedisReply) -> Bool { reply.kind == .bulk && reply.bytes.elementsEqual(sha) }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
