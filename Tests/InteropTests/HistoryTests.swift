// History and recovery over real sockets against a gateway with two loops: what a client that lost its connection gets
// back, what `history` answers, and that a repeated publish is published once.

import ClusterSupport
import Foundation
import TestSupport
import Testing

@Suite("A gateway that keeps history", .ownThread)
struct HistoryTests {
    private static let configuration = #"{"rooms": {"default": {"historySize": 5, "historyTTL": "60s"}}}"#

    // Several rooms, so that homes on both loops are met, and clients on both.
    @Test("A client that lost its connection recovers what it missed, once and in order", arguments: 0..<6)
    func recovery(number: Int) async throws {
        let room = "room-\(number)"
        let gateway = try await GatewayProcess(configuration: HistoryTests.configuration)
        let ada = try RawClient(gateway)
        let bob = try RawClient(gateway)
        let begin = try ada.ask(#""subscribe":{"channel":"\#(room)","recoverable":true}"#).reply
        let epoch = try RawClient.epoch(in: begin)
        #expect(begin == #"{"id":2,"subscribe":{"recoverable":true,"epoch":"\#(epoch)","positioned":true}}"#)
        for data in 1...3 {
            #expect(
                try bob.ask(#""publish":{"channel":"\#(room)","data":\#(data)}"#).reply
                    == #"{"id":2,"publish":{"offset":\#(data),"epoch":"\#(epoch)"}}"#)
        }
        #expect(try ada.hear(3) == [1, 2, 3])
        ada.vanish()
        for data in 4...5 { _ = try bob.ask(#""publish":{"channel":"\#(room)","data":\#(data)}"#) }

        func recover(_ offset: Int, epoch: String) throws -> (client: RawClient, reply: String) {
            let client = try RawClient(gateway)
            let reply = try client.ask(
                #""subscribe":{"channel":"\#(room)","recover":true,"offset":\#(offset),"epoch":"\#(epoch)"}"#
            ).reply
            return (client, reply)
        }
        let (back, reply) = try recover(3, epoch: epoch)
        #expect(reply.contains(#""recovered":true"#) && reply.contains(#""was_recovering":true"#))
        #expect(RawClient.numbers("data", in: reply) == [4, 5])
        _ = try bob.ask(#""publish":{"channel":"\#(room)","data":6}"#)
        #expect(try back.hear(1) == [6])
        for (offset, epoch) in [(0, epoch), (7, epoch), (5, "0000000000000001")] {
            let (_, refused) = try recover(offset, epoch: epoch)
            #expect(!refused.contains("recovered\"") && RawClient.numbers("data", in: refused).isEmpty, "\(refused)")
            #expect(refused.contains(#""offset":6"#) && refused.contains(#""was_recovering":true"#), "\(refused)")
        }
    }

    @Test("History is read forward and in reverse, and a repeated publish is published once")
    func reading() async throws {
        let gateway = try await GatewayProcess(configuration: HistoryTests.configuration)
        let ada = try RawClient(gateway)
        let bob = try RawClient(gateway)
        let epoch = try RawClient.epoch(in: try bob.ask(#""subscribe":{"channel":"lobby"}"#).reply)
        for _ in 0..<3 {
            #expect(
                try ada.ask(#""publish":{"channel":"lobby","data":1,"idempotency_key":"one"}"#).reply
                    == #"{"id":2,"publish":{"offset":1,"epoch":"\#(epoch)"}}"#)
        }
        for data in 2...7 { _ = try ada.ask(#""publish":{"channel":"lobby","data":\#(data)}"#) }
        #expect(try bob.hear(7) == Array(1...7))
        for (asked, expected) in [
            (#","limit":-1"#, [3, 4, 5, 6, 7]), (#","limit":2,"reverse":true"#, [7, 6]), (#","limit":0"#, []),
            (#","limit":2,"since":{"offset":4,"epoch":"\#(epoch)"}"#, [5, 6]),
        ] {
            let reply = try ada.ask(#""history":{"channel":"lobby"\#(asked)}"#).reply
            #expect(RawClient.numbers("data", in: reply) == expected, "\(reply)")
            #expect(reply.hasSuffix(#""epoch":"\#(epoch)","offset":7}}"#), "\(reply)")
        }
        let refused = try ada.ask(#""history":{"channel":"lobby","limit":1,"since":{"offset":4,"epoch":"x"}}"#).reply
        #expect(refused == #"{"id":2,"error":{"code":112,"message":"unrecoverable position"}}"#)
    }
}
