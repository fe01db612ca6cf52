// Raw JSON values that are passed on to other people: what is a value, and that it comes out in one line.

import Bytes
import Foundation
import Testing
import Wire

@Suite struct ValueTests {
    static let valid = [
        "0", "-0", "-1", "10", "1.5", "0.05", "1e5", "1E+5", "1e-5", "-0.0e-0", "1e308", "1.7976931348623157e308",
        "0.0017976931348623157e311", "1e-400", "0e999999999999999999999", "123456789012345678901234567890", "true",
        "false", "null", #""""#, #""a""#, #""\"\\\/\b\f\n\r\t\u0000\uFFFF\ud83d\uDE00""#, "[]", "{}", "[ ]", "{ }",
        "[1,2]", "[[],{}]", #"{"a":1,"a":2}"#, #"{"":{"":[]}}"#, " [ 1 , { \"a\" : null } ] ", "\"\u{7F}é😀\"",
        String(repeating: "[", count: 64) + String(repeating: "]", count: 64),
        #""0123456789abcdef0123456789abcdef0123456""#,
    ]
    static let invalid = [
        "", " ", "-", "+1", "01", "-01", "00", "1.", ".5", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "-Infinity",
        "1e309", "-1e309", "1e400", "1.7976931348623159e308", "9e308", "0.1e310", "1e99999999999999999999999999",
        "tru", "truex", "nul", "True", #"""#, #"""""#, #""a"#, #"'a'"#, #""\x""#, #""\u12""#, #""\u123g""#, #""\""#,
        #""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800\n""#, "\"\n\"", "\"\r\"", "\"\t\"", "\"\u{1F}\"",
        "\"0123456789abcdef0123456789\u{1}bcdef\"",
        "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "{", "}", "{1:2}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#,
        #"{"a":1]"#, #"{"a" 1}"#, #"{a:1}"#, #"{"a":1"b":2}"#, "1 2", "[] []", "{}x", "//", "/* */1", "\u{FEFF}1",
        String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
    ]

    private func isValue(_ bytes: [UInt8]) -> Bool {
        withExactCopy(bytes) { bytes in
            var scratch = ByteBuffer()
            return JSONCodec.isValue(bytes, scratch: &scratch)
        }
    }

    @Test("a complete value is accepted", arguments: valid)
    func accepted(value: String) {
        #expect(isValue(Array(value.utf8)))
    }

    @Test("what is not exactly one value is refused", arguments: invalid)
    func refused(value: String) {
        #expect(!isValue(Array(value.utf8)))
        #expect(reencoded(#"{"id":1,"publish":{"data":"# + value + "}}").first != "{" || value == "")
    }

    @Test("numbers around the largest double are judged like the standard library's parser judges them")
    func magnitudes() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<5_000 {
            let digits = (0..<Int.random(in: 1...20, using: &random)).map { _ in
                String(Int.random(in: 0...9, using: &random))
            }
            let whole = Int.random(in: 1...9, using: &random)
            let exponent = Int.random(in: 300...312, using: &random)
            let number = "\(whole).\(digits.joined())e\(exponent)"
            #expect(isValue(Array(number.utf8)) == Double(number).map(\.isFinite), "\(number)")
            let long = "\(whole)" + String(repeating: "0", count: exponent)
            #expect(isValue(Array(long.utf8)) == Double(long).map(\.isFinite), "\(long)")
        }
    }

    @Test("line breaks between tokens are left out, everything else stays")
    func compaction() {
        func compact(_ value: String) -> String { encoded { JSONCodec.appendCompact(lasting(value), to: &$0) } }
        #expect(compact("{\n\"a\":\r\n[1,\n2],\"b\":\"x\\ny\"\n}") == #"{"a":[1,2],"b":"x\ny"}"#)
        #expect(compact("{ \"a b\" :\t1 }") == "{ \"a b\" :\t1 }")
        let long = "[" + String(repeating: "1234567890,\r\n", count: 100) + "0]"
        #expect(compact(long) == "[" + String(repeating: "1234567890,", count: 100) + "0]")
        #expect(compact("") == "")
        for value in ValueTests.valid { #expect(compact(value) == value) }
    }

    @Test(
        "a string is escaped so that an independent parser reads it back",
        arguments: [0, 1, 7, 8, 9, 15, 16, 17, 33, 100])
    func escaping(prefix: Int) throws {
        for scalar in (0...0x100).compactMap(Unicode.Scalar.init) + ["\u{2028}", "😀"] {
            let original = String(repeating: "p", count: prefix) + String(scalar) + "tail"
            let json = encoded { JSONCodec.append(string: lasting(original), to: &$0) }
            let decoded = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed) as? String
            #expect(decoded == original)
            #expect(isValue(Array(json.utf8)))
        }
        #expect(
            encoded { JSONCodec.append(string: lasting("\u{1}\u{1F}\n\r\t\"\\"), to: &$0) }
                == #""\u0001\u001f\n\r\t\"\\""#)
    }

    @Test("a value accepted here is accepted by an independent parser, whatever is done to it")
    func differential() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("differential seed \(seed)")
        var random = SeededRandom(seed: seed)
        let alphabet = Array(#"{}[]":,\u0n1-.e ab"#.utf8)
        var agreed = 0
        for round in 0..<6_000 {
            var bytes = Array(ValueTests.valid[round % ValueTests.valid.count].utf8)
            for _ in 0..<Int.random(in: 1...2, using: &random) {
                let place = Int.random(in: 0...bytes.count, using: &random)
                bytes.insert(alphabet[Int.random(in: 0..<alphabet.count, using: &random)], at: place)
            }
            // UTF-8 is the frame reader's business; the other parser checks it too.
            guard String(validating: bytes, as: UTF8.self) != nil else { continue }
            let object = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            // The other one lets a comma stand before a closing bracket and does not count brackets.
            let tokens = bytes.filter { $0 != 32 }
            let trailing = zip(tokens, tokens.dropFirst()).contains { $0 == 44 && [93, 125].contains($1) }
            let isLenient = trailing || bytes.count > 100
            if object != nil { agreed += 1 }
            #expect(isValue(bytes) == (object != nil) || isLenient, "\(String(decoding: bytes, as: UTF8.self))")
            if isValue(bytes) { #expect(object != nil, "\(String(decoding: bytes, as: UTF8.self))") }
        }
        #expect(agreed > 100)
    }
}
