// Which offers of permessage-deflate a server takes and which answers a client accepts. Rows of the table of hostile
// inputs carry their id.

import Bytes
import HTTP
import Testing
import WebSocket

@Suite("permessage-deflate: a server's answer")
struct DeflateAnswerTests {
    /// The values of the extension fields in the answer to `offers`, one field each.
    static func answer(_ offers: [String]) -> String? {
        let head = ServerHandshakeTests.answer(
            ServerHandshakeTests.good + offers.map { "Sec-WebSocket-Extensions: \($0)" }, compresses: true)
        #expect(ServerHandshakeTests.status(head) == 101)
        let lines = head.split(separator: "\r\n").filter { $0.hasPrefix("Sec-WebSocket-Extensions: ") }
        #expect(lines.count <= 1)
        return lines.first.map { String($0.dropFirst(26)) }
    }

    static let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(
        "no context either way, whatever is offered; a window only for whoever names one",
        arguments: [
            "permessage-deflate", "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover", "permessage-deflate;client_no_context_takeover",
            "permessage-deflate ;\tserver_no_context_takeover ; client_no_context_takeover;client_max_window_bits = 9 ",
            " , ,permessage-deflate,", "permessage-deflate; client_max_window_bits=\"10\"",
        ])
    func accepted(offer: String) {
        #expect(Self.answer([offer]) == Self.plain)
    }

    @Test("RFC 7692 7.1.2.1 every server window from 9 to 14 is answered with 9, 15 with 15", arguments: 9...15)
    func windows(bits: Int) {
        let answered = bits == 15 ? 15 : 9
        for value in ["\(bits)", "\"\(bits)\"", bits > 9 ? "\"1\\\(bits - 10)\"" : "\"\\9\""] {
            #expect(
                Self.answer(["permessage-deflate; server_max_window_bits=\(value)"])
                    == "\(Self.plain); server_max_window_bits=\(answered)")
        }
    }

    static let declined = [
        "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08", "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=abc", "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=\"8\"",
        "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=-9", "permessage-deflate; server_max_window_bits=1e1",
        "permessage-deflate; server_max_window_bits=010", "permessage-deflate; server_max_window_bits=100",
        "permessage-deflate; server_max_window_bits=18446744073709551626",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010", "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=12",
        "permessage-deflate; unknown", "permessage-deflate; constructor=1", "permessage-deflate; __proto__",
        "permessage-deflate; Server_No_Context_Takeover", "permessage-deflat", "permessage-deflate2",
        "x-webkit-deflate-frame", "permessage-bzip2; server_no_context_takeover", "", ",",
    ]

    @Test("PD-03 HS-03 a bad offer is declined, and the next one is tried", arguments: declined)
    func badOffers(offer: String) {
        #expect(Self.answer([offer]) == nil)
        #expect(Self.answer([offer, offer]) == nil)
        // An empty value ends what can be read of its line; the next line is another matter.
        #expect(Self.answer([offer, "permessage-deflate"]) == Self.plain)
        guard !offer.hasSuffix("="), !offer.hasSuffix("\"\"") else { return }
        #expect(Self.answer(["\(offer), permessage-deflate; server_max_window_bits=12"])?.hasSuffix("=9") == true)
    }

    @Test(
        "HS-03 behind something that is not the grammar, nothing of the line counts",
        arguments: [
            "permessage-deflate; a=\"unterminated", "permessage-deflate; a=\"b\\", "permessage-deflate; =1",
            "permessage-deflate;", "permessage-deflate;;", "permessage-deflate; ; client_max_window_bits",
            "permessage-deflate client_max_window_bits", "permessage-deflate; a b", "permessage-deflate; a=\"b\"c",
            "permessage-deflate; a=\"b c\"", "permessage-deflate=1", "; permessage-deflate", "\"permessage-deflate\"",
            "permessage-deflate; a=é",
        ])
    func malformed(offer: String) {
        #expect(Self.answer([offer]) == nil)
        #expect(Self.answer(["\(offer), permessage-deflate"]) == nil)
        #expect(Self.answer([offer, "permessage-deflate"]) == Self.plain)
    }

    @Test("the first offer that can be taken wins, within a line and over several")
    func order() {
        #expect(
            Self.answer(["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"])
                == "\(Self.plain); server_max_window_bits=9")
        #expect(
            Self.answer(["mux; x=\"a\", permessage-deflate", "permessage-deflate; server_max_window_bits=9"])
                == Self.plain)
        #expect(
            Self.answer(["mux", "permessage-deflate; server_max_window_bits=15", "permessage-deflate"])
                == "\(Self.plain); server_max_window_bits=15")
    }

    @Test("HS-03 thousands of parameters and offers are read once and declined")
    func many() {
        let parameters = (0..<1500).map { ";p\($0)" }.joined()
        #expect(Self.answer(["permessage-deflate\(parameters)"]) == nil)
        #expect(Self.answer(["permessage-deflate\(parameters), permessage-deflate"]) == Self.plain)
        let offers = String(repeating: "permessage-deflate;x,", count: 300)
        #expect(Self.answer([offers]) == nil)
        #expect(Self.answer(["\(offers)permessage-deflate"]) == Self.plain)
    }

    @Test("a server that does not compress says nothing")
    func unwanted() {
        let head = ServerHandshakeTests.answer(
            ServerHandshakeTests.good + ["Sec-WebSocket-Extensions: permessage-deflate"])
        #expect(ServerHandshakeTests.status(head) == 101)
        #expect(!head.contains("Extensions"))
    }
}

@Suite("permessage-deflate: a client's offer")
struct DeflateOfferTests {
    static func judge(_ answers: [String], _ offer: DeflateOffer? = DeflateOffer()) throws -> DeflateAgreement? {
        let lines = ClientHandshakeTests.good + answers.map { "Sec-WebSocket-Extensions: \($0)" }
        return try ClientHandshakeTests.agreement(lines, deflate: offer)
    }

    static let plain = DeflateAnswerTests.plain

    @Test("the offer asks for no context either way, and is answered by our own server")
    func offer() throws {
        for (offer, text, window) in [
            (DeflateOffer(), "; client_max_window_bits", 15),
            (DeflateOffer(admitsClientWindow: false), "", 15),
            (DeflateOffer(serverWindow: 15, admitsClientWindow: false), "; server_max_window_bits=15", 15),
            (DeflateOffer(serverWindow: 12), "; server_max_window_bits=12; client_max_window_bits", 9),
            (DeflateOffer(serverWindow: 9, admitsClientWindow: false), "; server_max_window_bits=9", 9),
        ] {
            var request = ByteBuffer()
            try ClientHandshakeTests.handshake(deflate: offer).appendRequest(target: "/", host: "a", to: &request)
            let head = String(decoding: request.bytes, as: UTF8.self)
            #expect(head.contains("\r\nSec-WebSocket-Extensions: \(Self.plain)\(text)\r\n"))
            let answer = try #require(DeflateAnswerTests.answer([Self.plain + text]))
            let agreed = try Self.judge([answer], offer)
            #expect(agreed?.serverWindow == window && agreed?.clientWindow == 15)
        }
    }

    @Test("silence is a plain connection")
    func silence() throws {
        #expect(try Self.judge([]) == nil)
        #expect(try Self.judge([], nil) == nil)
        #expect(try Self.judge([""]) == nil)
    }

    @Test("windows of the answer are taken over; a client window of 8 leaves plain messages only")
    func windows() throws {
        for bits in 8...15 {
            let agreed = try Self.judge(["\(Self.plain); server_max_window_bits=\(bits)"])
            #expect(agreed?.serverWindow == bits && agreed?.clientWindow == 15)
            let client = try Self.judge(["\(Self.plain); client_max_window_bits=\(bits)"])
            #expect(client?.serverWindow == 15 && client?.clientWindow == (bits == 8 ? nil : bits))
        }
        let fewest = try Self.judge(["permessage-deflate; server_no_context_takeover"])
        #expect(fewest?.serverWindow == 15)
    }

    @Test(
        "RFC 7692 7.1 an answer that was not asked for fails the connection",
        arguments: [
            "permessage-deflate", "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover=1", "\(plain); client_max_window_bits",
            "\(plain); server_max_window_bits=16", "\(plain); server_max_window_bits=7", "\(plain); x",
            "\(plain); server_no_context_takeover", "\(plain); server_max_window_bits", "\(plain);", "\(plain); a=\"",
            "\(plain); server_max_window_bits=08", "permessage-deflate x",
        ])
    func refused(answer: String) {
        #expect(throws: HandshakeFailure.extensionParameters) { try Self.judge([answer]) }
    }

    @Test("more than was offered, twice or another extension fails the connection")
    func notOffered() {
        #expect(throws: HandshakeFailure.extensionNotOffered) { try Self.judge([Self.plain], nil) }
        #expect(throws: HandshakeFailure.extensionNotOffered) { try Self.judge([Self.plain, Self.plain]) }
        #expect(throws: HandshakeFailure.extensionNotOffered) { try Self.judge(["\(Self.plain), \(Self.plain)"]) }
        #expect(throws: HandshakeFailure.extensionNotOffered) { try Self.judge(["mux"]) }
        #expect(throws: HandshakeFailure.extensionNotOffered) { try Self.judge(["\(Self.plain), mux"]) }
        #expect(throws: HandshakeFailure.extensionParameters) {
            try Self.judge(["\(Self.plain); client_max_window_bits=9"], DeflateOffer(admitsClientWindow: false))
        }
        let limited = DeflateOffer(serverWindow: 10)
        #expect(throws: HandshakeFailure.extensionParameters) { try Self.judge([Self.plain], limited) }
        #expect(throws: HandshakeFailure.extensionParameters) {
            try Self.judge(["\(Self.plain); server_max_window_bits=11"], limited)
        }
    }
}
