// What peers must not send, in every cut, with the close code that answers it. Rows of the table of hostile inputs
// carry their id.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Broken framing")
struct FrameViolationTests {
    @Test("WS-01 the fifteen bytes that crashed a server are a 1002")
    func topBit() {
        let bytes: [UInt8] = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0xDE, 0xAD, 0xBE, 0xEF, 0x41]
        #expect(read(bytes) == [.violation(.lengthOverflow)])
        #expect(FrameViolation.lengthOverflow.code == .protocolError)
    }

    @Test(
        "WS-02 huge declared lengths are refused by the header alone and cost no memory",
        arguments: [
            (0x7FFF_FFFF_FFFF_FFFF, .frameTooBig), (0x8000_0000_0000_0000, .lengthOverflow),
            (0xFFFF_FFFF_FFFF_FFFF, .lengthOverflow), (0x1_0000_0000, .frameTooBig), (0xFFFF_FFFF, .frameTooBig),
            (0x1_0000_0001, .frameTooBig), (0x8000_0000, .frameTooBig), (0x7FFF_FFFF, .frameTooBig),
            (0x4000_0000, .frameTooBig),
        ] as [(UInt64, FrameViolation)])
    func hugeLengths(length: UInt64, violation: FrameViolation) {
        let header: [UInt8] = [0x82, 0xFF] + withUnsafeBytes(of: length.bigEndian) { Array($0) }
        #expect(read(header) == [.violation(violation)])
        // The same as the second fragment of a message, where the sum could overflow; with limits that admit the frame.
        let unlimited = FrameLimits(frameBytes: .max, messageBytes: .max, fragments: 9)
        let second = frame(0x02, "x") + [0x80] + header.dropFirst()
        let expected: FrameViolation = length > UInt64(Int64.max) ? .lengthOverflow : .messageTooBig
        let events = read(second, limits: unlimited)
        #expect(events == (length >= UInt64(Int64.max) ? [.violation(expected)] : []))
        var recorder = FrameRecorder(role: .server, limits: unlimited)
        recorder.feed(second + [1, 2, 3, 4])
        #expect(recorder.mostOwnedBytes <= 64)
    }

    @Test("WS-03 lengths that are not minimal are a 1002")
    func notMinimal() {
        let short: [UInt8] = [0x82, 0xFE, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]
        #expect(read(short) == [.violation(.lengthNotMinimal)])
        #expect(read([0x82, 0xFE, 0, 125]) == [.violation(.lengthNotMinimal)])
        #expect(read([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0]) == [.violation(.lengthNotMinimal)])
        #expect(read([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) == [.violation(.lengthNotMinimal)])
    }

    @Test("WS-08 a server refuses unmasked frames, a client masked ones, at the second byte")
    func masking() {
        #expect(read([0x81, 0x05]) == [.violation(.unmasked)])
        #expect(read([0x81, 0x85], role: .client) == [.violation(.masked)])
        #expect(read(frame(0x81, "zero key", key: 0)) == [textMessage("zero key")])
    }

    @Test(
        "WS-09 WS-10 WS-11 every first byte is judged at once, inside and outside a message", arguments: [false, true])
    func firstBytes(compression: Bool) {
        for first in UInt8.min...UInt8.max {
            for inMessage in [false, true] {
                let opcode = first & 0x0F
                let isFinal = first & 0x80 != 0
                let rsv1 = first & 0x40 != 0
                let expected: FrameViolation? =
                    if first & 0x30 != 0 || (rsv1 && (!compression || (opcode != 1 && opcode != 2))) {
                        .reservedBits
                    } else if (3...7).contains(opcode) || opcode > 10 {
                        .reservedOpcode
                    } else if opcode >= 8 {
                        isFinal ? nil : .controlFragmented
                    } else if opcode == 0 {
                        inMessage ? nil : .unexpectedContinuation
                    } else {
                        inMessage ? .missingContinuation : nil
                    }
                let stream = (inMessage ? frame(0x02, "a") : []) + [first]
                let events = read(stream, compression: compression)
                #expect(events == (expected.map { [.violation($0)] } ?? []), "first byte \(first)")
            }
        }
    }

    @Test(
        "WS-10 control frames above 125 bytes are a 1002 at the second byte", arguments: [0x88, 0x89, 0x8A] as [UInt8])
    func longControl(first: UInt8) {
        #expect(read([first, 0xFE]) == [.violation(.controlTooLong)])
        #expect(read([first, 0xFF]) == [.violation(.controlTooLong)])
    }

    @Test("WS-12 every close code is admitted or refused as the registry says")
    func closeCodes() {
        for code in UInt16.min...UInt16.max {
            let allowed =
                (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code)
            #expect(CloseCode(rawValue: code).isAllowedOnWire == allowed, "code \(code)")
        }
        for code: UInt16 in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            let payload = [UInt8(code >> 8), UInt8(code & 0xFF)]
            #expect(read(frame(0x88, payload)) == [.violation(.closeCode)], "code \(code)")
        }
        #expect(FrameViolation.closeCode.code == .protocolError)
    }

    @Test("WS-12 a close payload of one byte is a 1002, a reason that is not UTF-8 a 1007")
    func closePayload() {
        #expect(read(frame(0x88, [3])) == [.violation(.closePayload)])
        #expect(FrameViolation.closePayload.code == .protocolError)
        for reason: [UInt8] in [[0xFF], [0xE2, 0x82], [0xED, 0xA0, 0x80]] {
            #expect(read(frame(0x88, [0x03, 0xE8] + reason)) == [.violation(.closeReason)])
        }
        #expect(FrameViolation.closeReason.code == .invalidPayload)
    }

    @Test("after a violation everything is swallowed, and no memory is kept")
    func afterwards() {
        var recorder = FrameRecorder(role: .server, limits: roomy)
        recorder.feed(frame(0x01, String(repeating: "a", count: 5000)).dropLast())
        #expect(recorder.ownedBytes > 0)
        recorder.feed([0] + [0xFF])
        recorder.feed(frame(0x81, "late") + frame(0x88, [0x03, 0xE8]))
        #expect(recorder.events == [.violation(.reservedBits)])
        let hasEnded = recorder.hasEnded
        #expect(hasEnded)
        #expect(recorder.ownedBytes == 0)
    }

    @Test("each violation has a code that may be sent and a reason that fits a Close frame")
    func vocabulary() {
        for violation in FrameViolation.allCases {
            #expect([1002, 1007, 1008, 1009].contains(violation.code.rawValue))
            #expect((1...ClosePayload.reasonLimit).contains(violation.reason.utf8CodeUnitCount))
        }
    }
}
