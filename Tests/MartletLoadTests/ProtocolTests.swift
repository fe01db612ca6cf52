// How the tool understands servers: a few bytes decide, and they must not be fooled by what stands in the data.

import Bytes
import Testing

@testable import LoadCore

@Suite("The tool understands its servers")
struct ProtocolTests {
    private func classify(_ text: String, _ language: LoadProtocol = .martlet, joining: Bool = false, room: Bool = true)
        -> ServerLine
    {
        Array(text.utf8).withUnsafeBytes { language.classify($0, joining: joining, room: room) }
    }

    @Test("an empty object is a ping, nothing else is")
    func ping() {
        #expect(classify("{}") == .ping)
        #expect(classify("{ }") == .other)
        #expect(classify("{}", .floor) == .other)
    }

    @Test("the reply to the last command of the greeting means joined, and only while joining")
    func joined() {
        #expect(classify(#"{"id":2,"subscribe":{}}"#, joining: true) == .joined)
        #expect(classify(#"{"id":2,"subscribe":{}}"#) == .other)
        #expect(classify(#"{"id":1,"connect":{"client":"x"}}"#, joining: true) == .other)
        #expect(classify(#"{"id":1,"connect":{"client":"x"}}"#, joining: true, room: false) == .joined)
        #expect(classify("Jroom", .floor, joining: true) == .joined)
    }

    @Test("an error reply is a refusal with its number and code; an error inside data is not")
    func refusal() {
        let limited = #"{"id":17,"error":{"code":111,"message":"too many requests","temporary":true}}"#
        #expect(classify(limited) == .refused(id: 17, code: 111))
        #expect(classify(#"{"id":3,"rpc":{"data":{"id":1,"error":{"code":1}}}}"#) == .other)
        #expect(classify(#"{"push":{"channel":"a","pub":{"data":{"id":2,"error":{"code":1}}}}}"#) == .other)
    }

    @Test("hostile or cut lines are nothing in particular")
    func hostile() {
        for text in [
            "", "{", "{\"id\":", "{\"id\":x", "{\"id\":99999999999999999999999,", "{\"id\":1,\"error\":{\"code\":",
        ] {
            #expect(classify(text, joining: true) == .other, "\(text)")
        }
    }

    @Test("greetings and publications are what the protocols say")
    func writing() {
        #expect(
            LoadProtocol.martlet.greeting(room: "a")
                == #"{"id":1,"connect":{}}"# + "\n" + #"{"id":2,"subscribe":{"channel":"a"}}"#)
        #expect(LoadProtocol.martlet.greeting(room: nil) == #"{"id":1,"connect":{}}"#)
        #expect(LoadProtocol.floor.greeting(room: nil) == nil)
        var buffer = ByteBuffer()
        let room = Array("r".utf8)
        let data = Array("xyz".utf8)
        for language in LoadProtocol.allCases {
            data.withUnsafeBytes { data in
                room.withUnsafeBytes { language.appendPublish(data, room: $0, id: 9, to: &buffer) }
            }
            buffer.append("\n")
        }
        let text = String(decoding: buffer.bytes, as: UTF8.self)
        #expect(text == #"{"id":9,"publish":{"channel":"r","data":"xyz"}}"# + "\nPr|xyz\n")
    }

    @Test("templates take numbers and leave the rest alone")
    func templates() {
        #expect(LoadProtocol.expand("a%r-%i%%%x%", room: 3, connection: 14) == "a3-14%%x%")
        #expect(LoadProtocol.expand("", room: 3, connection: 14) == "")
    }
}
