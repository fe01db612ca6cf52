// The payload of a room's channel: written and read strictly; whatever else lies in a channel is told apart.

import Bytes
import Redis
import Testing

struct PublicationEnvelopeTests {
    private func parse(_ text: String) -> Result<(UInt64, UInt64, String), PublicationEnvelope.Fault> {
        bytes(text).withRaw { raw in
            do throws(PublicationEnvelope.Fault) {
                let envelope = try PublicationEnvelope(parsing: raw)
                return .success((envelope.offset, envelope.epoch, String(decoding: envelope.fields, as: UTF8.self)))
            } catch {
                return .failure(error)
            }
        }
    }

    @Test(
        "What is written is read", arguments: [(0, 0), (1, 1), (42, 7), (UInt64.max, UInt64.max)] as [(UInt64, UInt64)])
    func roundTrip(_ offset: UInt64, _ epoch: UInt64) throws {
        var output = ByteBuffer()
        PublicationEnvelope.appendHeader(offset: offset, epoch: epoch, to: &output)
        #expect(output.count <= PublicationEnvelope.longestHeader)
        output.append("\"data\":1\n2")
        let read = try parse(String(decoding: output.bytes, as: UTF8.self)).get()
        #expect(read == (offset, epoch, "\"data\":1\n2"))
    }

    @Test("The constant header of rooms without history is what would be written")
    func plainHeader() {
        var output = ByteBuffer()
        PublicationEnvelope.appendHeader(offset: 0, epoch: 0, to: &output)
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(text == PublicationEnvelope.plainHeader.description)
    }

    @Test("F39: another version is told apart from rubbish", arguments: ["2 0 0\nx", "10 whatever", "0 0 0\nx", "2 "])
    func versions(_ text: String) {
        guard case .failure(.unknownVersion) = parse(text) else {
            Issue.record("not recognised as another version: \(text)")
            return
        }
    }

    @Test(
        "F39: rubbish is recognised",
        arguments: [
            "", "1", "1 ", "1 0", "1 0 0", "1 0 0\n", "1  0\nx", "1 0 \nx", "01 0 0\nx", "1 00 0\nx", "1 -1 0\nx",
            "1 0 0 0\nx", "1 0 0\r\nx",
            "1 18446744073709551616 0\nx", "{\"data\":1}", "\n", "1\n0\n0\n",
            "1 99999999999999999999999999999999999999999999 0\nx", " 1 0 0\nx",
        ])
    func rubbish(_ text: String) {
        guard case .failure(.malformed) = parse(text) else {
            Issue.record("not recognised as rubbish: \(text)")
            return
        }
    }
}
