// The numbers and texts that SDKs know.

import Bytes
import Testing
import Wire

@Suite struct CodeTests {
    @Test("error codes are those of the protocol, and exactly three are temporary")
    func errors() {
        #expect(ErrorCode.allCases.map(\.rawValue) == Array(100...112) + [120])
        #expect(ErrorCode.allCases.filter(\.isTemporary) == [.internalError, .tooManyRequests, .engineUnavailable])
        #expect(Set(ErrorCode.allCases.map { "\($0.message)" }).count == ErrorCode.allCases.count)
    }

    @Test("close codes are those of the protocol, and 3000 to 3499 and 4000 to 4499 reconnect")
    func disconnects() {
        let reconnecting: [UInt16] = [3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013]
        #expect(DisconnectCode.allCases.map(\.rawValue) == reconnecting + Array(3500...3509))
        #expect(DisconnectCode.allCases.filter(\.reconnects).map(\.rawValue) == reconnecting)
        for code in DisconnectCode.allCases { #expect(code.reason.utf8CodeUnitCount < 124) }
        #expect(DisconnectCode.reconnects(1006) && DisconnectCode.reconnects(4499) && DisconnectCode.reconnects(4000))
        #expect(!DisconnectCode.reconnects(4500) && !DisconnectCode.reconnects(4999) && DisconnectCode.reconnects(5000))
    }

    @Test("unsubscribe codes from 2500 on make an SDK subscribe again")
    func unsubscribes() {
        #expect(UnsubscribeCode.allCases.map(\.rawValue) == [2000, 2500, 2501])
        #expect(!UnsubscribeCode.resubscribes(2000) && UnsubscribeCode.resubscribes(2500))
        #expect(UnsubscribeCode.insufficientState.reason.description == "insufficient state")
    }

    @Test("every wire error has a reason of its own")
    func reasons() {
        #expect(Set(WireError.allCases.map { "\($0.reason)" }).count == WireError.allCases.count)
    }

    @Test("a close hint is read back, and a plain reason has none")
    func closeHints() {
        var scratch = ByteBuffer()
        let reason = encoded { CloseHint(reconnectIn: 1500).append(.shutdown, to: &$0) }
        #expect(reason == #"{"reason":"shutdown","reconnect_in":1500}"#)
        #expect(CloseHint(closeReason: lasting(reason), scratch: &scratch) == CloseHint(reconnectIn: 1500))
        let longest = encoded { CloseHint(reconnectIn: .max).append(.inappropriateProtocol, to: &$0) }
        #expect(longest.utf8.count < 124)
        for reason in ["", "shutdown", "{", #"{"reason":"x"}"#, #"{"reconnect_in":-1}"#, #"{"reconnect_in":1}x"#] {
            #expect(CloseHint(closeReason: lasting(reason), scratch: &scratch) == nil)
        }
    }

    @Test("a client id is a version 4 UUID")
    func clientID() {
        let id = ClientID(random: (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210))
        #expect(encoded { id.append(to: &$0) } == "01234567-89ab-4def-bedc-ba9876543210")
        let ones = ClientID(random: (.max, .max))
        #expect(encoded { ones.append(to: &$0) } == "ffffffff-ffff-4fff-bfff-ffffffffffff")
    }
}
