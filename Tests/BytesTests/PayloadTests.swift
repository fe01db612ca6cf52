// Payloads: a copy that does not follow its source.

import Bytes
import Testing

@Suite struct PayloadTests {
    @Test func aPayloadKeepsItsOwnCopy() {
        var source: [UInt8] = [1, 2, 3]
        let payload = source.withUnsafeBytes { Payload(copying: $0) }
        source[0] = 9
        #expect(payload.count == 3)
        #expect(Array(payload.bytes) == [1, 2, 3])
        #expect(source[0] == 9)
    }

    @Test func anEmptyPayloadIsAllowed() {
        let payload = Payload(copying: UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(payload.count == 0)
        #expect(payload.bytes.isEmpty)
    }
}
