// The vector code against the definition: every length, every alignment, every phase.

import Bytes
import Glibc
import Testing
import WebSocket

@Suite("Masking")
struct MaskingTests {
    @Test("WS-18 in place and copied, all alignments and lengths from 0 to 4100 equal the definition")
    func againstDefinition() {
        let key: UInt32 = 0xD4C3_B2A1
        let keyBytes: [UInt8] = [0xA1, 0xB2, 0xC3, 0xD4]
        let size = 4100
        let source = (0..<size).map { UInt8(($0 &* 31 + 7) & 0xFF) }
        let expected = (0..<size).map { source[$0] ^ keyBytes[$0 & 3] }
        let place = UnsafeMutableRawBufferPointer.allocate(byteCount: size + 64, alignment: 64)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: size + 64, alignment: 64)
        defer {
            place.deallocate()
            target.deallocate()
        }
        guard let base = place.baseAddress, let copyBase = target.baseAddress else { return }
        for alignment in 0..<16 {
            for length in 0...size {
                let bytes = base + alignment
                let copied = copyBase + (15 - alignment)
                source.withUnsafeBytes { raw in
                    if let start = raw.baseAddress { memcpy(bytes, start, length) }
                }
                bytes.storeBytes(of: 0xEE, toByteOffset: length, as: UInt8.self)
                copied.storeBytes(of: 0xEE, toByteOffset: length, as: UInt8.self)
                Masking.copy(key, from: bytes, to: copied, count: length)
                Masking.apply(key, to: bytes, count: length)
                let equal = expected.withUnsafeBytes { raw in
                    raw.baseAddress.map { memcmp(bytes, $0, length) == 0 && memcmp(copied, $0, length) == 0 } ?? false
                }
                let untouched =
                    bytes.load(fromByteOffset: length, as: UInt8.self) == 0xEE
                    && copied.load(fromByteOffset: length, as: UInt8.self) == 0xEE
                if !equal || !untouched { Issue.record("alignment \(alignment), length \(length)") }
            }
        }
    }

    @Test("WS-18 masking in two pieces equals masking in one, whatever the cut")
    func phases() {
        let key: UInt32 = 0x0102_0304
        let source = (0..<97).map { UInt8($0) }
        var whole = source
        whole.withUnsafeMutableBytes { raw in
            if let base = raw.baseAddress { Masking.apply(key, to: base, count: raw.count) }
        }
        for cut in 0...source.count {
            var parts = source
            parts.withUnsafeMutableBytes { raw in
                guard let base = raw.baseAddress else { return }
                Masking.apply(key, to: base, count: cut)
                Masking.apply(Masking.advance(key, by: cut), to: base + cut, count: raw.count - cut)
            }
            #expect(parts == whole, "cut \(cut)")
        }
    }

    @Test("the key's first byte on the wire belongs to the first payload byte")
    func order() {
        let bytes: [UInt8] = [0xFF, 0x11, 0x22, 0x33, 0x44]
        let key = bytes.withUnsafeBytes { raw in raw.baseAddress.map { Masking.loadKey($0 + 1) } }
        #expect(key == 0x4433_2211)
    }
}
