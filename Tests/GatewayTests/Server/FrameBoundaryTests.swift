// Where frames end in a block of output, for every size of header and every cut.

import TestSupport
import Testing

@testable import Gateway

@Suite struct FrameBoundaryTests {
    private func next(_ block: [UInt8], _ sent: Int) -> Int {
        block.withUnsafeBytes { FrameBoundary.next(in: $0, sent: sent) }
    }

    private func frame(_ opcode: UInt8, _ count: Int) -> [UInt8] {
        WebSocketPeer.frame(opcode, Array(repeating: 0x5A, count: count), masked: false)
    }

    @Test func `every cut leads to the end of the frame that it is in`() {
        for lengths in [[0], [0, 0, 0], [1, 125, 126, 127], [65_535, 0, 65_536, 3], [70_000]] {
            var block: [UInt8] = []
            var expected = [0]
            for length in lengths {
                let frame = frame(length % 2 == 0 ? 1 : 9, length)
                expected += Array(repeating: block.count + frame.count, count: frame.count)
                block += frame
            }
            for sent in 0...block.count where sent < 300 || block.count - sent < 300 || sent % 997 == 0 {
                #expect(next(block, sent) == expected[sent], "\(sent) bytes sent of frames with \(lengths)")
            }
        }
    }

    @Test func `nothing stands in front of the answer to the handshake, nor in it`() {
        let head = Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".utf8)
        let block = head + frame(1, 5) + frame(1, 6)
        for sent in 0...head.count { #expect(next(block, sent) == head.count) }
        #expect(next(block, head.count + 1) == head.count + 7)
        #expect(next(head, 3) == head.count)
        #expect(next(Array(head.dropLast()), 3) == head.count - 1, "a block's end is a boundary")
    }

    @Test func `bytes that are no frames are passed over to the end`() {
        let blocks: [[UInt8]] = [
            [], [0x81], [0x81, 126], [0x81, 126, 1], [0x81, 127, 0, 0, 0, 0, 0, 0, 1], [0x81, 5, 1],
        ]
        for block in blocks {
            for sent in 1..<max(2, block.count) { #expect(next(block, sent) == block.count, "\(block)") }
            #expect(next(block, 0) == 0)
        }
        let endless: [UInt8] = [0x81, 127] + Array(repeating: 255, count: 8) + [1, 2, 3]
        #expect(next(endless, 5) == endless.count)
    }
}
