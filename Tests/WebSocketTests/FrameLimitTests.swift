// Limits and memory: what a peer can make a connection hold, and when it is given back.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("Limits and memory of the frame reader")
struct FrameLimitTests {
    @Test("a reader is at most 64 bytes and an event fits four registers")
    func size() {
        #expect(MemoryLayout<FrameReader>.stride <= 64)
        #expect(MemoryLayout<FrameEvent>.size <= 32)
    }

    @Test("WS-04 frames and messages of exactly the limit pass, one byte more is a 1009 before any payload")
    func exactLimits() {
        let limits = FrameLimits(frameBytes: 100, messageBytes: 150, fragments: 10)
        let hundred = [UInt8](repeating: 1, count: 100)
        let fifty = [UInt8](repeating: 2, count: 50)
        #expect(read(frame(0x82, hundred), limits: limits) == [binaryMessage(hundred)])
        #expect(read(Array(frame(0x82, hundred + [1]).prefix(2)), limits: limits) == [.violation(.frameTooBig)])
        #expect(read(frame(0x02, hundred) + frame(0x80, fifty), limits: limits) == [binaryMessage(hundred + fifty)])
        let header = frame(0x80, fifty + [3]).prefix(2)
        #expect(read(frame(0x02, hundred) + header, limits: limits) == [.violation(.messageTooBig)])
        #expect(
            FrameViolation.frameTooBig.code == .messageTooBig && FrameViolation.messageTooBig.code == .messageTooBig)
        // Control frames do not count towards a message.
        let between = frame(0x02, hundred) + frame(0x89, hundred) + frame(0x80, fifty)
        #expect(read(between, limits: limits) == [.ping(hundred), binaryMessage(hundred + fifty)])
    }

    @Test("limits may change between messages")
    func changingLimits() {
        var bytes = frame(0x82, [1, 2, 3, 4]) + frame(0x82, [1, 2, 3, 4])
        bytes.withUnsafeMutableBytes { raw in
            var reader = FrameReader(role: .server)
            var input = FrameInput(raw)
            guard case .message = reader.next(&input, roomy),
                case .violation(.frameTooBig) = reader.next(&input, FrameLimits(frameBytes: 3, messageBytes: 3))
            else {
                Issue.record("the limits of the call were not used")
                return
            }
        }
    }

    @Test("WS-05 endless continuation frames end at the message limit with a 1009")
    func endlessContinuation() {
        let limits = FrameLimits(frameBytes: 1024, messageBytes: 65536, fragments: 1 << 20)
        var recorder = FrameRecorder(role: .server, limits: limits)
        recorder.feed(frame(0x02, [UInt8](repeating: 0, count: 1024)))
        for _ in 0..<200 { recorder.feed(frame(0x00, [UInt8](repeating: 0, count: 1024))) }
        #expect(recorder.events == [.violation(.messageTooBig)])
        #expect(recorder.mostOwnedBytes <= 2 * 65536)
        #expect(recorder.ownedBytes == 0)
    }

    @Test(
        "WS-06 empty and tiny fragments are counted: exactly the limit passes, one more is a 1008", arguments: [0, 1])
    func fragments(size: Int) {
        let limits = FrameLimits(frameBytes: 1 << 20, messageBytes: 1 << 20, fragments: 1024)
        let piece = [UInt8](repeating: 0x61, count: size)
        let middle = (0..<1022).flatMap { _ in frame(0x00, piece) }
        let full = frame(0x01, piece) + middle + frame(0x80, piece)
        var recorder = FrameRecorder(role: .server, limits: limits)
        recorder.feed(full + full)
        let message = RecordedEvent.message(.text, compressed: false, [UInt8](repeating: 0x61, count: 1024 * size))
        #expect(recorder.events == [message, message])
        recorder.feed(frame(0x01, piece) + middle + frame(0x00, piece) + frame(0x80, piece))
        #expect(recorder.events.last == .violation(.tooManyFragments))
        #expect(recorder.mostOwnedBytes <= 4096)
        #expect(FrameViolation.tooManyFragments.code == .policyViolation)
    }

    @Test("WS-06 a message in segments of one byte costs no more than twice its size")
    func tinySegments() {
        let payload = [UInt8](repeating: 0x62, count: 10_000)
        var recorder = FrameRecorder(role: .server, limits: roomy)
        for byte in frame(0x82, payload) { recorder.feed(CollectionOfOne(byte)) }
        #expect(recorder.events == [binaryMessage(payload)])
        #expect(recorder.mostOwnedBytes <= 20_000)
        #expect(recorder.ownedBytes == 0)
    }

    @Test("memory follows what arrived, not what was declared, and goes when the message was taken")
    func ownership() {
        let payload = [UInt8](repeating: 0x61, count: 1 << 20)
        let bytes = frame(0x82, payload)
        var recorder = FrameRecorder(role: .server, limits: roomy)
        recorder.feed(bytes[..<9])
        #expect(recorder.ownedBytes == 0)
        recorder.feed(bytes[9..<100])
        #expect(recorder.ownedBytes <= 256)
        recorder.feed(bytes[100...])
        #expect(recorder.events == [binaryMessage(payload)])
        #expect(recorder.ownedBytes == 0)
        // A control frame that was cut owns memory only until it is complete.
        let ping = frame(0x89, "ping")
        recorder.feed(ping[..<8])
        #expect(recorder.ownedBytes > 0)
        recorder.feed(ping[8...])
        #expect(recorder.events.last == .ping(Array("ping".utf8)))
        #expect(recorder.ownedBytes == 0)
        let close = frame(0x88, [0x03, 0xE8, 0x61])
        recorder.feed(close[..<7])
        recorder.feed(close[7...])
        #expect(recorder.events.last == .close(.normal, [0x61]))
        #expect(recorder.ownedBytes == 0)
    }
}
