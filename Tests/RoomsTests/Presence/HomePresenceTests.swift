// What a room's home keeps of its presence: who is on the way in, and joins and leaves that wait to be told.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct HomePresenceTests {
    private func presence(_ scope: PresenceOptions.Scope = .client) -> HomePresence {
        var options = PresenceOptions()
        options.tellsJoins = true
        options.scope = scope
        return HomePresence(options: options)
    }

    private func attendance(_ client: Int, loop: Int = 0, command: UInt32 = 2) -> Attendance {
        Attendance(
            name: payload("room"), loop: loop, local: 0, connection: UInt64(client), command: command, since: nil,
            isRecoverable: false, isPositioned: false,
            member: Entrant(client: clientID(client), user: payload(""), info: payload("{}")))
    }

    private func ticket(_ attendance: Attendance, _ entrance: UInt32) -> Ticket {
        Ticket(connection: attendance.connection, command: entrance, loop: UInt16(attendance.loop))
    }

    /// Adds `+1 ann` and says whether all is to be told at once.
    @discardableResult
    private func add(_ presence: HomePresence, _ event: String, at now: Double = 100) -> Bool {
        let parts = event.split(separator: " ")
        let client = payload(clientText(Int(parts[0].dropFirst()) ?? 0))
        let (user, info) = (payload(parts.count > 1 ? String(parts[1]) : ""), payload("{}"))
        return withExtendedLifetime((client, user, info)) {
            presence.add(
                MemberEvent(isJoin: event.hasPrefix("+"), client: client.bytes, user: user.bytes, info: info.bytes),
                now: second(now))
        }
    }

    private func take(_ presence: HomePresence, behind: [Attendance] = []) -> [String] {
        presence.takeChanges(behind: behind).map {
            "\($0.isJoin ? "+" : "-")\(Int(String(decoding: $0.client, as: UTF8.self).suffix(12), radix: 16) ?? 0)"
        }
    }

    // MARK: On the way in

    @Test func `an answer is for the entrance that asked, and for that one once`() {
        let presence = presence()
        let first = attendance(1)
        presence.begin(first, entrance: 7)
        #expect(presence.end(ticket(first, 6)) == nil)
        #expect(presence.end(ticket(attendance(1, loop: 1), 7)) == nil, "another loop's connection of that word")
        #expect(presence.end(ticket(first, 7))?.command == 2)
        #expect(presence.end(ticket(first, 7)) == nil)
    }

    @Test func `who has given up is forgotten wherever it was`() {
        let presence = presence()
        presence.hold(attendance(1))
        presence.hold(attendance(1, loop: 1))
        presence.begin(attendance(2), entrance: 1)
        presence.forget(attendance(1).comer)
        presence.forget(attendance(2).comer)
        #expect(presence.end(ticket(attendance(2), 1)) == nil)
        #expect(presence.takeWaiting().map(\.loop) == [1])
        #expect(presence.takeAll().isEmpty)
    }

    @Test func `all that are on the way are taken once`() {
        let presence = presence()
        presence.hold(attendance(1))
        presence.begin(attendance(2), entrance: 1)
        #expect(Set(presence.takeAll().map(\.connection)) == [1, 2])
        #expect(presence.takeAll().isEmpty)
    }

    // MARK: Cancelling

    @Test(arguments: [
        (["+1 a", "-1 a"], []), (["-1 a", "+1 a"], []), (["-1 a", "+1 a", "-1 a"], ["-1"]),
        (["+1 a", "+2 b", "-1 a"], ["+2"]), (["+1 a", "-2 b", "-1 a", "+1 a"], ["-2", "+1"]),
        (["-1 a", "+2 a"], ["-1", "+2"]), (["+1 a", "+1 a"], ["+1", "+1"]), (["+1 a", "+1 a", "-1 a"], ["+1"]),
    ])
    func `by client, opposites of one client meet`(events: [String], told: [String]) {
        let presence = presence()
        for event in events { add(presence, event) }
        #expect(presence.hasChanges == !told.isEmpty)
        #expect(take(presence) == told)
        #expect(!presence.hasChanges)
    }

    @Test(arguments: [
        (["-1 a", "+2 a"], []), (["+1 a", "-2 a"], []), (["-1 a", "+2 b"], ["-1", "+2"]),
        (["-1", "+2"], ["-1", "+2"]), (["+1", "-1"], []),
    ])
    func `by user, opposites of one user meet, anonymous ones each for itself`(events: [String], told: [String]) {
        let presence = presence(.user)
        for event in events { add(presence, event) }
        #expect(take(presence) == told)
    }

    @Test func `what was told does not meet what comes later`() {
        let presence = presence()
        add(presence, "+1 a")
        #expect(take(presence) == ["+1"])
        add(presence, "-1 a")
        #expect(take(presence) == ["-1"])
    }

    @Test func `behind a list both of two opposites are told`() {
        let presence = presence()
        presence.noteList(now: second(100))
        add(presence, "+1 a", at: 100.9)
        add(presence, "-1 a", at: 100.95)
        add(presence, "+2 b", at: 101.01)
        add(presence, "-2 b", at: 101.02)
        #expect(take(presence) == ["+1", "-1"])
        add(presence, "+3 c", at: 103)
        presence.noteList(now: second(103.01))
        add(presence, "-3 c", at: 103.02)
        add(presence, "+3 c", at: 103.03)
        #expect(take(presence) == ["+3", "-3", "+3"])
    }

    // MARK: The own join

    @Test func `what follows a join that waits for its own member waits as well`() {
        let presence = presence()
        presence.noteList(now: second(100))
        presence.begin(attendance(1), entrance: 1)
        add(presence, "+1 a", at: 100.1)
        add(presence, "-1 a", at: 100.2)
        add(presence, "+2 b", at: 100.3)
        #expect(take(presence) == ["+2"])
        presence.forget(attendance(1).comer)
        #expect(take(presence) == ["+1", "-1"])
    }

    @Test func `a join waits for its own member, and nothing else waits for it`() {
        let presence = presence()
        let (first, second) = (attendance(1), attendance(2))
        presence.begin(first, entrance: 1)
        for event in ["+1 a", "+2 b", "-3 c"] { add(presence, event) }
        #expect(take(presence, behind: [second]) == ["-3"])
        #expect(presence.hasChanges)
        #expect(take(presence) == ["+2"])
        _ = presence.end(ticket(first, 1))
        #expect(take(presence) == ["+1"])
    }

    @Test func `a join that waited still meets its leave`() {
        let presence = presence()
        presence.begin(attendance(1), entrance: 1)
        for event in ["-5 x", "+1 a", "+6 y"] { add(presence, event) }
        #expect(take(presence) == ["-5", "+6"])
        add(presence, "-1 a")
        #expect(!presence.hasChanges && take(presence).isEmpty)
    }

    // MARK: Bounds

    @Test func `no more wait than may, not even for their own member`() {
        let presence = presence()
        var told = 0
        for client in 1...20_000 {
            presence.begin(attendance(client), entrance: UInt32(client))
            guard add(presence, "+\(client) u") else { continue }
            told += take(presence).count
            #expect(!presence.hasChanges, "else each further one would be told by looking at all of them")
        }
        #expect(told == 20_000 / HomePresence.mostWaiting * HomePresence.mostWaiting)
    }

    @Test func `those that met do not count, however many they were`() {
        let presence = presence()
        for client in 1...20_000 {
            #expect(!add(presence, "+\(client) u") && !add(presence, "-\(client) u"))
        }
        #expect(!presence.hasChanges)
        #expect(presence.storedChanges <= 2 * HomePresence.mostWaiting)
    }
}
