// What the tests of presence share: a house whose rooms keep track of their members, what clients say and are told
// there, and members, events and pages in a form that can be compared.

import Bytes
import Testing
import Wire

@testable import Rooms

/// A house whose rooms tell joins and leaves and list their members.
func presenceHouse(
    loops: Int = 1, _ adjust: (inout RoomRules, inout RoomOptions, inout PresenceOptions) -> Void = { _, _, _ in }
) -> House {
    House(loops: loops) {
        $0.isInsecure = true
        var options = RoomOptions()
        var presence = PresenceOptions()
        presence.tellsJoins = true
        adjust(&$0, &options, &presence)
        options.presence = presence
        $0.setDefault(options)
    }
}

/// The id of the house's client number `number`, counted from 1.
func clientText(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
}

/// A member as others see it.
func memberInfo(_ number: Int, _ user: String = "") -> String {
    let name = user.isEmpty ? "" : #""user":"\#(user)","#
    return #"{\#(name)"client":"\#(clientText(number))"}"#
}

/// The push of a join.
func joined(_ room: String, _ number: Int, _ user: String = "") -> String {
    #"{"push":{"channel":"\#(room)","join":{"info":\#(memberInfo(number, user))}}}"#
}

/// The push of a leave.
func left(_ room: String, _ number: Int, _ user: String = "") -> String {
    #"{"push":{"channel":"\#(room)","leave":{"info":\#(memberInfo(number, user))}}}"#
}

/// The reply to command `id` that lists `members`.
func listed(_ id: Int, _ members: [(number: Int, user: String)]) -> String {
    let entries = members.map { #""\#(clientText($0.number))":\#(memberInfo($0.number, $0.user))"# }
    return #"{"id":\#(id),"presence":{"presence":{\#(entries.joined(separator: ","))}}}"#
}

extension Client {
    /// Subscribes, asking for joins and leaves, and expects that it works.
    func enter(_ room: String, id: UInt32 = 2, location: SourceLocation = #_sourceLocation) {
        #expect(
            ask(#"{"id":\#(id),"subscribe":{"channel":"\#(room)","join_leave":true}}"#) == [
                #"{"id":\#(id),"subscribe":{}}"#
            ], sourceLocation: location)
        forget()
    }

    /// The same without waiting for anything.
    func sayEnter(_ room: String, id: UInt32 = 2) {
        say(#"{"id":\#(id),"subscribe":{"channel":"\#(room)","join_leave":true}}"#)
    }

    func sayLeave(_ room: String, id: UInt32 = 8) { say(#"{"id":\#(id),"unsubscribe":{"channel":"\#(room)"}}"#) }

    /// The lines of the frames that it was told.
    var lines: [String] { heard.flatMap { $0.split(separator: "\n").map(String.init) } }

    /// Those that tell of members.
    var changes: [String] { lines.filter { $0.contains(#""join":"#) || $0.contains(#""leave":"#) } }

    /// Who is on the list that it is given, by the text of the client.
    func list(_ room: String, id: UInt32 = 7) -> [String] {
        ask(#"{"id":\#(id),"presence":{"channel":"\#(room)"}}"#).flatMap(named(in:))
    }
}

/// The clients that a reply or push names, in its order.
func named(in text: String) -> [String] {
    text.split(separator: #""client":""#, omittingEmptySubsequences: false).dropFirst().map { String($0.prefix(36)) }
}

extension House {
    /// Lets time pass, in steps of what joins and leaves gather in, and everything that follows from it.
    func wait(_ duration: Duration = HomePresence.gathering) {
        settle()
        var left = duration
        while left > .zero {
            pass(min(left, HomePresence.gathering))
            settle()
            left -= HomePresence.gathering
        }
    }

    /// Members of all rooms, as the engines hold them.
    var memberCount: Int { engines.reduce(0) { $0 + $1.memberCount } }
}

/// Everybody goes, all time limits pass, and nothing is left, no member either.
func checkNobody(_ house: House, _ clients: [Client], _ context: String) {
    for client in clients { client.close() }
    for engine in house.engines {
        engine.subscribeMode = .now
        engine.enterMode = .now
        engine.answerWaiting()
    }
    for _ in 0..<4 {
        house.settle()
        for engine in house.engines { engine.deliverEvents() }
        house.pass(.seconds(10))
    }
    house.settle()
    house.checkEmpty(context)
    #expect(house.memberCount == 0, "members are left: \(context)")
}

// MARK: Sets

func clientID(_ number: Int) -> ClientID { ClientID(random: (0, UInt64(number))) }

extension PresenceSet {
    /// Lets client number `client` in and says what was told.
    mutating func enter(
        _ client: Int, _ user: String = "", _ options: PresenceOptions, info: String? = nil
    ) -> (Entrance, [String]) {
        var told: [String] = []
        let (user, info) = (payload(user), payload(info ?? memberInfo(client, user)))
        let entrance = withExtendedLifetime((user, info)) {
            enter(Member(client: clientID(client), user: user.bytes, info: info.bytes), options) {
                told.append(describe($0))
            }
        }
        return (entrance, told)
    }

    /// Takes it out and says what was told.
    mutating func leave(_ client: Int, _ options: PresenceOptions) -> [String] {
        var told: [String] = []
        leave(clientID(client), options) { told.append(describe($0)) }
        return told
    }

    mutating func linger(_ client: Int) { linger(clientID(client)) }
}

/// An event as `+3 ann` or `-3`.
func describe(_ event: MemberEvent) -> String {
    let user = String(decoding: event.user, as: UTF8.self)
    let number = Int(String(decoding: event.client, as: UTF8.self).suffix(12), radix: 16) ?? -1
    return "\(event.isJoin ? "+" : "-")\(number)\(user.isEmpty ? "" : " ")\(user)"
}
