// UTF-8: the validator against the standard library, and the reader's promise to fail at the first impossible byte.

import Bytes
import Fuzz
import Testing
import WebSocket

@Suite("UTF-8")
struct TextValidationTests {
    static let invalid: [[UInt8]] = [
        [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x41], [0xC2, 0xC2], [0xE0, 0x80, 0x80],
        [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28], [0xED, 0xA0, 0x80],
        [0xED, 0xBF, 0xBF], [0xED, 0xAD, 0xBF, 0xED, 0xB0, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF],
        [0xF0, 0x9F, 0x98], [0xF0, 0x28, 0x8C, 0xBC], [0xF0, 0x90, 0x28, 0xBC], [0xF0, 0x90, 0x8C, 0x28],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80],
        [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80], [0xFE], [0xFF], [0xCE, 0xBA, 0xE1, 0xBD, 0xB9, 0xED, 0xA0, 0x80, 0x65],
    ]
    static let valid = [
        "", "ascii only, and a little longer than thirty-two bytes of it", "κόσμε", "é", "\u{80}\u{7FF}\u{800}\u{FFFF}",
        "\u{10000}\u{10FFFF}", "\u{D7FF}\u{E000}\u{FFFD}\u{FFFE}", "日本語 and English and 日本語", "👩‍👩‍👧‍👦😀",
        "\u{0}\u{7F}", "Grüße aus Köln, und noch etwas Text dahinter é",
    ]

    private func feedEveryWay(_ bytes: [UInt8]) -> [Bool] {
        func run(_ pieces: [ArraySlice<UInt8>]) -> Bool {
            var validator = UTF8Validator()
            for piece in pieces where !piece.withUnsafeBytes({ validator.feed($0) }) { return false }
            return validator.isComplete
        }
        var verdicts = [bytes.withUnsafeBytes(UTF8Validator.isValid), run([bytes[...]])]
        verdicts.append(run(bytes.indices.map { bytes[$0...$0] }))
        for cut in bytes.indices { verdicts.append(run([bytes[..<cut], bytes[cut...]])) }
        return verdicts
    }

    @Test("WS-13 valid text is valid in every cut and at every offset of the vector steps", arguments: valid)
    func validTexts(text: String) {
        for padding in 0..<40 {
            let bytes = [UInt8](repeating: 0x61, count: padding) + Array(text.utf8) + Array("end".utf8)
            #expect(feedEveryWay(bytes).allSatisfy { $0 }, "padding \(padding)")
        }
    }

    @Test("WS-13 overlong forms, surrogates, stray and missing bytes are invalid in every cut", arguments: invalid)
    func invalidTexts(bytes: [UInt8]) {
        for padding in 0..<40 {
            let prefix = [UInt8](repeating: 0x61, count: padding)
            #expect(feedEveryWay(prefix + bytes).allSatisfy { !$0 }, "padding \(padding)")
            #expect(feedEveryWay(prefix + bytes + Array("a".utf8)).allSatisfy { !$0 }, "followed, padding \(padding)")
        }
    }

    @Test(
        "WS-13 every scalar value is valid, and every pair and triple of interesting bytes is judged as by the library")
    func againstLibrary() {
        for value in stride(from: UInt32(0), through: 0x10FFFF, by: 7) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let isValid = Array(String(scalar).utf8).withUnsafeBytes(UTF8Validator.isValid)
            if !isValid { Issue.record("U+\(String(value, radix: 16)) was refused") }
        }
        let seed = UInt64.random(in: .min ... .max)
        print("UTF-8 seed \(seed)")
        var random = SeededRandom(seed: seed)
        let interesting: [UInt8] = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
            0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ]
        for _ in 0..<20_000 {
            let length = Int.random(in: 0...9, using: &random)
            let bytes = (0..<length).map { _ in interesting[Int.random(in: 0..<interesting.count, using: &random)] }
            let expected = String(validating: bytes, as: UTF8.self) != nil
            var validator = UTF8Validator()
            let fed = bytes.allSatisfy { byte in withUnsafeBytes(of: byte) { validator.feed($0) } }
            let whole = bytes.withUnsafeBytes(UTF8Validator.isValid)
            if whole != expected || (fed && validator.isComplete) != expected {
                Issue.record("seed \(seed): \(bytes) should be \(expected)")
            }
        }
    }

    @Test("WS-13 text messages are judged in every cut, over fragments, with control frames inside a code point")
    func messages() {
        for text in Self.valid {
            let bytes = Array(text.utf8)
            for cut in 0...bytes.count {
                let stream =
                    frame(0x01, Array(bytes[..<cut])) + frame(0x89, [0xFF]) + frame(0x80, Array(bytes[cut...]))
                #expect(read(stream).last == textMessage(text))
            }
        }
        for bytes in Self.invalid {
            #expect(read(frame(0x81, bytes)) == [.violation(.invalidUTF8)])
            for cut in 0...bytes.count {
                let stream = frame(0x01, Array(bytes[..<cut])) + frame(0x80, Array(bytes[cut...]))
                #expect(read(stream) == [.violation(.invalidUTF8)])
            }
        }
        #expect(FrameViolation.invalidUTF8.code == .invalidPayload)
    }

    @Test("WS-13 a bad byte fails at once, however much of the frame or message is still to come")
    func failFast() {
        let header = frame(0x01, [UInt8](repeating: 0x61, count: 1000), key: 0).prefix(8)
        for (bytes, length) in [
            ([0xFF], 1), ([0xE0, 0x80], 2), ([0xED, 0xA0], 2), ([0xF4, 0x90], 2), ([0x61, 0xC0], 2),
        ]
            as [([UInt8], Int)]
        {
            var recorder = FrameRecorder(role: .server, limits: roomy)
            recorder.feed(header)
            for byte in bytes.prefix(length - 1) { recorder.feed(CollectionOfOne(byte)) }
            #expect(recorder.events.isEmpty)
            recorder.feed(bytes.suffix(1))
            #expect(recorder.events == [.violation(.invalidUTF8)])
        }
        // In a fragment that is complete while the message is not, too.
        #expect(read(frame(0x01, [0x61, 0xFF])) == [.violation(.invalidUTF8)])
        #expect(read(frame(0x01, [0xE2, 0x82])) == [])
    }

    @Test("binary messages and pings may carry anything")
    func binary() {
        #expect(
            read(frame(0x82, [0xFF, 0xC0]) + frame(0x89, [0xFF])) == [binaryMessage([0xFF, 0xC0]), .ping([0xFF])])
    }
}
