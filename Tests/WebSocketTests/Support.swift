// What these tests have in common: frames by hand, streams in every cut, and a SHA-1 that needs no library.

import Bytes
import Fuzz
import Testing
import WebSocket

let roomy = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20, fragments: 1024)

/// A frame as a client (`key` set) or server sends it. `first` is the whole first byte.
func frame(_ first: UInt8, _ payload: [UInt8], key: UInt32? = 0x0403_0201) -> [UInt8] {
    var length: [UInt8]
    switch payload.count {
    case ..<126: length = [UInt8(payload.count)]
    case ..<65536: length = [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    default: length = [127] + (0..<8).map { UInt8(payload.count >> (56 - 8 * $0) & 0xFF) }
    }
    guard let key else { return [first] + length + payload }
    length[0] |= 0x80
    let keyBytes = (0..<4).map { UInt8(key >> UInt32(8 * $0) & 0xFF) }
    return [first] + length + keyBytes + payload.enumerated().map { $1 ^ keyBytes[$0 & 3] }
}

func frame(_ first: UInt8, _ text: String, key: UInt32? = 0x0403_0201) -> [UInt8] {
    frame(first, Array(text.utf8), key: key)
}

/// The events of `stream` read whole; byte by byte and (when short) cut at every place they must be the same.
func read(
    _ stream: [UInt8], role: FrameRole = .server, compression: Bool = false, limits: FrameLimits = roomy,
    sourceLocation: SourceLocation = #_sourceLocation
) -> [RecordedEvent] {
    func run(_ feed: (inout FrameRecorder) -> Void) -> [RecordedEvent] {
        var recorder = FrameRecorder(role: role, allowsCompression: compression, limits: limits)
        feed(&recorder)
        return recorder.events
    }
    let whole = run { $0.feed(stream) }
    let single = run { recorder in for byte in stream { recorder.feed(CollectionOfOne(byte)) } }
    #expect(single == whole, "byte by byte", sourceLocation: sourceLocation)
    for cut in 0..<min(stream.count, 300) {
        let parts = run { recorder in
            recorder.feed(stream[..<cut])
            recorder.feed(stream[cut...])
        }
        if parts != whole { Issue.record("cut at \(cut) differs", sourceLocation: sourceLocation) }
    }
    return whole
}

func textMessage(_ text: String) -> RecordedEvent { .message(.text, compressed: false, Array(text.utf8)) }
func binaryMessage(_ bytes: [UInt8]) -> RecordedEvent { .message(.binary, compressed: false, bytes) }

/// SHA-1 (FIPS 180-4), plain and slow.
func sha1(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) {
    var message = Array(input) + [0x80]
    while message.count % 64 != 56 { message.append(0) }
    message += (0..<8).map { UInt8((input.count * 8) >> (56 - 8 * $0) & 0xFF) }
    func rotate(_ value: UInt32, _ bits: UInt32) -> UInt32 { value << bits | value >> (32 - bits) }
    var hash: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
    for start in stride(from: 0, to: message.count, by: 64) {
        var words = (0..<16).map { word in
            (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(message[start + 4 * word + $1]) }
        }
        for index in 16..<80 {
            words.append(rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1))
        }
        var (a, b, c, d, e) = (hash[0], hash[1], hash[2], hash[3], hash[4])
        for index in 0..<80 {
            let (mix, constant): (UInt32, UInt32) =
                switch index {
                case 0..<20: ((b & c) | (~b & d), 0x5A82_7999)
                case 20..<40: (b ^ c ^ d, 0x6ED9_EBA1)
                case 40..<60: ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            (a, b, c, d, e) = (rotate(a, 5) &+ mix &+ e &+ constant &+ words[index], a, rotate(b, 30), c, d)
        }
        hash = zip(hash, [a, b, c, d, e]).map { $0 &+ $1 }
    }
    output.copyBytes(from: hash.flatMap { word in (0..<4).map { UInt8(word >> (24 - 8 * UInt32($0)) & 0xFF) } })
}
