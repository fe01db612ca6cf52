// Shared by the suites of this module: text in, text out, so that tables of exact bytes read like the wire.

import Bytes
import Synchronization
import Testing
import Wire

/// What `lasting` handed out; named here, so that a leak checker finds it.
private let kept = Mutex<[UInt]>([])

/// Memory that lives as long as the test process: views may point into it without ceremony.
func lasting(_ text: String) -> WireBytes { lasting(Array(text.utf8)) }

func lasting(_ bytes: [UInt8]) -> WireBytes {
    guard !bytes.isEmpty else { return .empty }
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    copy.copyBytes(from: bytes)
    kept.withLock { $0.append(UInt(bitPattern: copy.baseAddress)) }
    return WireBytes(copy)
}

func text(_ bytes: WireBytes) -> String { String(decoding: bytes, as: UTF8.self) }

/// What `body` appends.
func encoded(_ body: (inout ByteBuffer) -> Void) -> String {
    var out = ByteBuffer()
    body(&out)
    return text(out.bytes)
}

/// The command in `line`, encoded again: two commands are the same when this is; or the reason why there is none.
func reencoded(_ line: String) -> String { reencoded(Array(line.utf8)) }

func reencoded(_ line: [UInt8]) -> String {
    withExactCopy(line) { line in
        var scratch = ByteBuffer()
        do throws(WireError) {
            let command = try JSONCodec.command(line, scratch: &scratch)
            return encoded { JSONCodec.append(command, to: &$0) }
        } catch {
            return "\(error)"
        }
    }
}

/// The server's message in `line`, encoded again, or the reason why there is none.
func remessaged(_ line: String) -> String {
    withExactCopy(Array(line.utf8)) { line in
        var scratch = ByteBuffer()
        do throws(WireError) {
            switch try JSONCodec.message(line, scratch: &scratch) {
            case .ping: return "{}"
            case .reply(let id, let reply): return encoded { JSONCodec.append(reply, id: id, to: &$0) }
            case .push(let room, let push): return encoded { JSONCodec.append(push, room: room, to: &$0) }
            case .unknownPush: return "unknownPush"
            }
        } catch {
            return "\(error)"
        }
    }
}

/// Calls `body` with a copy that ends where its allocation ends and does not begin at an aligned address.
func withExactCopy<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 1)
    defer { copy.deallocate() }
    let inner = UnsafeMutableRawBufferPointer(rebasing: copy[1...])
    inner.copyBytes(from: bytes)
    return body(UnsafeRawBufferPointer(inner))
}
