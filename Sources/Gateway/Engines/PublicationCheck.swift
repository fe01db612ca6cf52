// Whether bytes out of Redis may be put into the members' frames. Everybody who may publish to Redis can put anything
// there, and what is not one well-formed line of JSON would spoil the frames of a whole room: other SDKs drop the
// connection for it (F39, RC-10). Called on the loops for every publication received; allocates nothing once warm.

import Bytes
import Glibc
import WebSocket
import Wire

/// Judges the members of publications. Loop-confined.
struct PublicationCheck: ~Copyable {
    private let limit: Int
    private var object = ByteBuffer()
    private var scratch = ByteBuffer()

    init(limit: Int) { self.limit = limit }

    /// Whether `fields` are the members of one JSON object, valid UTF-8, on one line, and not too long.
    mutating func isSound(_ fields: UnsafeRawBufferPointer) -> Bool {
        guard let base = fields.baseAddress, fields.count > 0, fields.count <= limit,
            memchr(base, 10, fields.count) == nil, memchr(base, 13, fields.count) == nil, UTF8Validator.isValid(fields)
        else { return false }
        object.removeAll(keepingAtMost: 64 * 1024)
        object.append(UInt8(ascii: "{"))
        object.append(fields)
        object.append(UInt8(ascii: "}"))
        scratch.removeAll(keepingAtMost: 64 * 1024)
        return JSONCodec.isValue(object.bytes, scratch: &scratch)
    }

    /// Whether `object` is one JSON object of that kind, braces included: a member as others see it.
    mutating func isSound(object: UnsafeRawBufferPointer) -> Bool {
        guard object.count > 2, object.first == UInt8(ascii: "{"), object.last == UInt8(ascii: "}") else {
            return false
        }
        return isSound(UnsafeRawBufferPointer(rebasing: object[1..<(object.count - 1)]))
    }
}
