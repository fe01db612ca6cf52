// Every state of the session against every input: the table says where it must lead.

import Bytes
import Testing

@testable import Client

@Suite("Client state machine")
struct TransitionTests {
    enum Phase: String, CaseIterable {
        case idle, opening, handshaking, authenticating, connected, waiting, closed
    }

    enum Input: String, CaseIterable {
        case connect, reconnect, close, linkOpened, linkLost, farewell, deadline, wishes
    }

    /// Where each input leads; what is not listed changes nothing.
    private static let table: [Phase: [Input: Phase]] = [
        .idle: [.connect: .opening, .reconnect: .opening, .close: .closed],
        .opening: [
            .reconnect: .waiting, .close: .closed, .linkOpened: .handshaking, .linkLost: .waiting, .deadline: .waiting,
        ],
        .handshaking: [
            .reconnect: .waiting, .close: .closed, .linkLost: .waiting, .deadline: .waiting, .farewell: .waiting,
        ],
        .authenticating: [
            .reconnect: .waiting, .close: .closed, .linkLost: .waiting, .deadline: .waiting, .farewell: .waiting,
        ],
        .connected: [
            .reconnect: .waiting, .close: .closed, .linkLost: .waiting, .deadline: .waiting, .farewell: .waiting,
        ],
        .waiting: [.close: .closed, .deadline: .opening],
        .closed: [:],
    ]

    private func phase(_ session: borrowing ClientSession) -> Phase {
        switch session.state {
        case .idle: .idle
        case .waiting: .waiting
        case .opening: .opening
        case .handshaking: .handshaking
        case .authenticating: .authenticating
        case .connected: .connected
        case .closed: .closed
        }
    }

    private func reach(_ phase: Phase) throws -> Bench {
        var bench = try Bench()
        if phase == .idle { return bench }
        bench.act { $0.connect(now: $1) }
        switch phase {
        case .idle, .opening: break
        case .handshaking: bench.act { $0.linkOpened(now: $1) }
        case .authenticating: bench.accept()
        case .connected: bench.establish(ping: 25)
        case .waiting: bench.act { $0.linkLost("gone", now: $1) }
        case .closed: bench.act { $0.close(now: $1) }
        }
        bench.events = []
        bench.links = []
        return bench
    }

    private func apply(_ input: Input, to bench: inout Bench) {
        switch input {
        case .connect: bench.act { $0.connect(now: $1) }
        case .reconnect: bench.act { $0.reconnect(now: $1) }
        case .close: bench.act { $0.close(now: $1) }
        case .linkOpened: bench.act { $0.linkOpened(now: $1) }
        case .linkLost: bench.act { $0.linkLost("gone", now: $1) }
        // To a handshake this is no HTTP, to frames it is a Close with 3000.
        case .farewell: bench.feed([0x88, 0x02, 0x0B, 0xB8])
        case .deadline: if bench.session.deadline != nil { bench.passToDeadline() }
        case .wishes:
            _ = bench.act { $0.subscribe("r", now: $1) }
            _ = bench.act { $0.publish(data("1"), to: "r", now: $1) }
            _ = bench.act { $0.ping(now: $1) }
            _ = bench.act { session, _ in session.send(data("1")) }
            bench.act { $0.unsubscribe("r", now: $1) }
        }
    }

    @Test("Every input in every state leads where the table says, and tells of it once", arguments: Phase.allCases)
    func transitions(_ start: Phase) throws {
        for input in Input.allCases {
            var bench = try reach(start)
            let begun = phase(bench.session)
            #expect(begun == start)
            apply(input, to: &bench)
            let end = phase(bench.session)
            #expect(end == Self.table[start]?[input] ?? start, "\(start) × \(input)")
            let ends = bench.events.filter { if case .disconnected = $0 { true } else { false } }.count
            let hasEnded = end != start && (end == .waiting || end == .closed)
            #expect(ends == (hasEnded ? 1 : 0), "\(start) × \(input)")
            // A link that lives must be closed by us exactly when the session gives it up itself.
            let isLinked = [Phase.opening, .handshaking, .authenticating, .connected].contains(start)
            let closes = bench.links.filter { $0 != .open }.count
            #expect(closes == (hasEnded && isLinked && input != .linkLost ? 1 : 0), "\(start) × \(input)")
            let opens = bench.links.filter { $0 == .open }.count
            #expect(opens == (end == .opening && start != .opening ? 1 : 0), "\(start) × \(input)")
            let hasDeadline = bench.session.deadline != nil
            #expect(hasDeadline == (end != .idle && end != .closed), "\(start) × \(input)")
        }
    }
}
