// Rules of room names.

import Testing
import Wire

@Suite struct RoomNameTests {
    @Test(
        "a name is judged by its bytes",
        arguments: [
            ("a", RoomName.Check.valid), ("a b~!", .valid), ("ns:", .valid), ("ns:a:b", .valid), ("$x", .valid),
            ("#42", .valid), ("{}", .valid), ("", .empty), (":", .emptyNamespace), (":x", .emptyNamespace),
            ("$:x", .emptyNamespace), ("$", .valid), (String(repeating: "r", count: 255), .valid),
            (String(repeating: "r", count: 256), .tooLong),
        ])
    func table(name: String, check: RoomName.Check) {
        #expect(RoomName.check(lasting(name)) == check)
    }

    @Test(
        "AU-13 names that look like another tenant's room are refused, never folded",
        arguments: [
            "room\u{0}", "room\n", "room\u{7F}", "r\u{f6}om", "ro\u{308}om", "room\u{200B}", "\u{FF52}oom", "\t",
        ])
    func confusables(name: String) {
        #expect(RoomName.check(lasting(name)) == .notPrintable)
    }

    @Test("AU-13 a NUL that comes as an escape is seen by the name check")
    func escapedNUL() throws {
        #expect(
            reencoded(#"{"id":1,"subscribe":{"channel":"room\u0000"}}"#)
                == #"{"id":1,"subscribe":{"channel":"room\u0000"}}"#)
        for byte in [UInt8](0...0x1F) + [UInt8](0x7F...0xFF) {
            #expect(RoomName.check(lasting([0x61, byte])) == .notPrintable)
        }
    }

    @Test("the namespace stands before the first colon, without a leading dollar")
    func namespaces() {
        func namespace(_ name: String) -> String { text(RoomName.namespace(of: lasting(name))) }
        #expect(namespace("ns:name") == "ns")
        #expect(namespace("ns:a:b") == "ns")
        #expect(namespace("$ns:name") == "ns")
        #expect(namespace("name") == "")
        #expect(namespace("") == "")
        #expect(namespace("$") == "")
    }

    @Test("a user-limited room admits exactly the users that it names")
    func users() {
        func admits(_ user: String, _ name: String) -> Bool { RoomName.admits(lasting(user), to: lasting(name)) }
        #expect(admits("42", "dialog#42,43") && admits("43", "dialog#42,43") && admits("42", "#42"))
        #expect(!admits("4", "dialog#42,43") && !admits("422", "dialog#42,43") && !admits("2,43", "dialog#42,43"))
        #expect(!admits("42,43", "dialog#42,43"))
        #expect(!admits("", "dialog#") && !admits("", "dialog#,") && !admits("", "room") && !admits("42", "room42"))
        #expect(RoomName.isUserLimited(lasting("a#b")) && !RoomName.isUserLimited(lasting("ab")))
        #expect(RoomName.isPrivate(lasting("$a")) && !RoomName.isPrivate(lasting("a$")))
    }
}
