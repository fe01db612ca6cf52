// What well-behaved peers send, in every cut: messages, fragments, control frames between them.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Reading frames")
struct FrameReaderTests {
    @Test("the examples of RFC 6455 section 5.7 are read, for both roles")
    func examples() {
        #expect(read([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F], role: .client) == [textMessage("Hello")])
        let masked: [UInt8] = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(read(masked) == [textMessage("Hello")])
        let fragments: [UInt8] = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F]
        #expect(read(fragments, role: .client) == [textMessage("Hello")])
        #expect(read([0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F], role: .client) == [.ping(Array("Hello".utf8))])
        let pong: [UInt8] = [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(read(pong) == [.pong(Array("Hello".utf8))])
    }

    @Test(
        "WS-18 messages around every length form arrive as they were sent, for both roles",
        arguments: [0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 124, 125, 126, 127, 1000, 65535, 65536, 70000])
    func lengths(length: Int) {
        let payload = (0..<length).map { UInt8($0 % 251) }
        for key: UInt32? in [0xA1B2_C3D4, 0, nil] {
            let stream = frame(0x82, payload, key: key) + frame(0x81, "x", key: key)
            let events = read(stream, role: key == nil ? .client : .server)
            #expect(events == [binaryMessage(payload), textMessage("x")])
        }
    }

    @Test("empty messages are messages, whole and in fragments")
    func emptyMessages() {
        let stream = frame(0x81, "") + frame(0x82, "") + frame(0x01, "") + frame(0x00, "") + frame(0x80, "")
        #expect(read(stream) == [textMessage(""), binaryMessage([]), textMessage("")])
    }

    @Test("WS-10 control frames between fragments come first and leave the message alone")
    func interleaved() {
        let stream =
            frame(0x01, "Hel") + frame(0x89, "ping") + frame(0x00, "lo, ") + frame(0x8A, "") + frame(0x89, "")
            + frame(0x80, "Martlet") + frame(0x82, [1, 2])
        let expected: [RecordedEvent] = [
            .ping(Array("ping".utf8)), .pong([]), .ping([]), textMessage("Hello, Martlet"), binaryMessage([1, 2]),
        ]
        #expect(read(stream) == expected)
        #expect(read(frame(0x8A, [UInt8](repeating: 7, count: 125))) == [.pong([UInt8](repeating: 7, count: 125))])
    }

    @Test("many messages in one input are all read, with different keys")
    func batch() {
        let stream = (0..<200).flatMap { frame(0x81, "message \($0)", key: UInt32($0) &* 0x9E37_79B9) }
        #expect(read(stream) == (0..<200).map { textMessage("message \($0)") })
    }

    @Test("a whole message is a slice of the input: nothing is copied or owned")
    func noCopy() {
        var bytes = frame(0x81, "Hello") + frame(0x82, [1, 2, 3])
        bytes.withUnsafeMutableBytes { raw in
            var reader = FrameReader(role: .server)
            var input = FrameInput(raw)
            guard case .message(.text, compressed: false, let first) = reader.next(&input, roomy) else {
                Issue.record("no message")
                return
            }
            #expect(first.baseAddress == raw.baseAddress.map { $0 + 6 })
            #expect(reader.ownedBytes == 0)
            guard case .message(.binary, compressed: false, let second) = reader.next(&input, roomy) else {
                Issue.record("no second message")
                return
            }
            #expect(Array(second) == [1, 2, 3])
            guard case .needMore = reader.next(&input, roomy) else {
                Issue.record("more than there is")
                return
            }
        }
    }

    @Test("a compressed message is flagged, joined and not checked as text")
    func compressed() {
        let whole = frame(0xC1, [0xFF, 0xFE])
        let parts =
            frame(0x41, [0xFF]) + frame(0x89, "p") + frame(0x00, [0xFE]) + frame(0x80, [0xFD]) + frame(0x81, "é")
        let expected: [RecordedEvent] = [
            .message(.text, compressed: true, [0xFF, 0xFE]), .ping([0x70]),
            .message(.text, compressed: true, [0xFF, 0xFE, 0xFD]), textMessage("é"),
        ]
        #expect(read(whole + parts, compression: true) == expected)
        #expect(read(frame(0xC2, [0xFF]), compression: true) == [.message(.binary, compressed: true, [0xFF])])
    }

    @Test("WS-12 after a close nothing is reported any more, and its payload is optional")
    func close() {
        let more = frame(0x81, "late") + frame(0x88, [0x03, 0xE8]) + [0xFF, 0xFF]
        #expect(read(frame(0x88, [0x03, 0xE8]) + more) == [.close(.normal, [])])
        #expect(read(frame(0x88, []) + more) == [.close(nil, [])])
        #expect(
            read(frame(0x88, [0x0F, 0xA1] + Array("byé".utf8)) + more) == [
                .close(CloseCode(rawValue: 4001), Array("byé".utf8))
            ])
        #expect(read(frame(0x01, "half") + frame(0x88, [0x03, 0xE9]) + more) == [.close(.goingAway, [])])
    }

    @Test("an empty input is nothing")
    func emptyInput() {
        var reader = FrameReader(role: .server)
        var input = FrameInput(UnsafeMutableRawBufferPointer(start: nil, count: 0))
        guard case .needMore = reader.next(&input, roomy) else {
            Issue.record("an event out of nothing")
            return
        }
    }
}
