// ByteBuffer against a plain array: whatever is appended, removed and truncated, both hold the same bytes.

import Bytes
import Testing

@Suite struct ByteBufferTests {
    @Test func anEmptyBufferOwnsNothing() {
        let buffer = ByteBuffer()
        #expect(buffer.count == 0)
        #expect(buffer.count == 0)
        #expect(buffer.capacity == 0)
        #expect(buffer.bytes.count == 0)
    }

    @Test(arguments: [0, 1, 9, 10, 99, 100, 12_345, UInt64(Int64.max), UInt64.max - 1, UInt64.max])
    func decimalsAreWrittenAsTheStandardLibraryWritesThem(value: UInt64) {
        var buffer = ByteBuffer()
        buffer.append(text: "n=")
        buffer.append(decimal: value)
        buffer.append(UInt8(ascii: ";"))
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "n=\(value);")
    }

    @Test func everyPowerOfTenIsWrittenWithItsOwnLength() {
        var power: UInt64 = 1
        for _ in 0..<20 {
            for value in [power, power - 1, power + 1] {
                var buffer = ByteBuffer()
                buffer.append(decimal: value)
                #expect(String(decoding: buffer.bytes, as: UTF8.self) == String(value))
            }
            let (next, over) = power.multipliedReportingOverflow(by: 10)
            if over { break }
            power = next
        }
    }

    @Test func literalsAndTextsAppendTheirUTF8() {
        var buffer = ByteBuffer()
        buffer.append("grüße ")
        buffer.append("a")
        buffer.append(text: " 🐦")
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "grüße a 🐦")
    }

    @Test func reservedBytesCountOnlyWhenTheyAreAdvancedOver() {
        var buffer = ByteBuffer(capacity: 4)
        let place = buffer.reserve(100)
        #expect(buffer.count == 0)
        #expect(buffer.capacity >= 100)
        for index in 0..<100 { place.storeBytes(of: UInt8(index), toByteOffset: index, as: UInt8.self) }
        buffer.advance(by: 60)
        #expect(Array(buffer.bytes) == (0..<60).map { UInt8($0) })
    }

    @Test func growthKeepsWhatWasThereAndIsAmortised() {
        var buffer = ByteBuffer()
        var growths = 0
        var capacity = 0
        for index in 0..<100_000 {
            buffer.append(UInt8(truncatingIfNeeded: index))
            if buffer.capacity != capacity {
                growths += 1
                capacity = buffer.capacity
            }
        }
        #expect(growths <= 12)
        #expect(buffer.bytes.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0) })
    }

    @Test func emptyingKeepsMemoryUpToTheLimitAndGivesMoreBack() {
        var buffer = ByteBuffer(capacity: 1000)
        buffer.append("abc")
        buffer.removeAll(keepingAtMost: 1000)
        #expect(buffer.count == 0)
        #expect(buffer.capacity == 1000)
        buffer.append("abc")
        buffer.removeAll(keepingAtMost: 999)
        #expect(buffer.count == 0)
        #expect(buffer.capacity == 0)
        buffer.append("still usable")
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "still usable")
    }

    @Test func writingInPlaceIsSeenByReaders() {
        var buffer = ByteBuffer()
        buffer.append("abc")
        buffer.mutableBytes[1] = UInt8(ascii: "X")
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "aXc")
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func randomOperationsGiveTheSameBytesAsAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var buffer = ByteBuffer()
        var model: [UInt8] = []
        for step in 0..<3000 {
            switch Int.random(in: 0..<8, using: &random) {
            case 0...3:
                let chunk = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                chunk.withUnsafeBytes { buffer.append($0) }
                model += chunk
            case 4:
                let amount = Int.random(in: 0...model.count, using: &random)
                buffer.removeFirst(amount)
                model.removeFirst(amount)
            case 5:
                let length = Int.random(in: model.count / 2...model.count, using: &random)
                buffer.truncate(to: length)
                model.removeLast(model.count - length)
            case 6:
                let value = random.next() >> UInt64.random(in: 0..<64, using: &random)
                buffer.append(decimal: value)
                model += Array(String(value).utf8)
            default:
                if model.count > 4000 {
                    buffer.removeAll(keepingAtMost: 2048)
                    model = []
                }
            }
            #expect(buffer.count == model.count, "seed \(seed), step \(step)")
            guard buffer.bytes.elementsEqual(model) else {
                Issue.record("the bytes differ with seed \(seed) at step \(step)")
                return
            }
        }
    }
}
