// Members for the tests of the engines: ids by number, and what an engine was told and tells of them, as texts.

import Bytes
import Gateway
import Rooms
import Testing
import Wire

/// The client numbered `number`.
func client(_ number: Int) -> ClientID { ClientID(words: (0, UInt64(number))) }

/// The text of that client's id.
func clientText(_ number: Int) -> String {
    var text = ByteBuffer()
    client(number).append(to: &text)
    return String(decoding: text.bytes, as: UTF8.self)
}

extension PresenceOptions {
    /// Presence whose joins and leaves are told.
    static func told(_ scope: Scope = .client, upTo most: Int = 1000, members: Int = 0) -> PresenceOptions {
        var options = PresenceOptions()
        options.tellsJoins = true
        options.scope = scope
        options.mostTold = most
        options.mostMembers = members
        options.grace = .zero
        return options
    }
}

extension EngineRig {
    /// Asks the engine to let a client in; nothing is waited for.
    func askEntry(_ room: String, _ number: Int, user: String = "", _ options: PresenceOptions) {
        let ticket = Ticket(connection: UInt64(number), command: 1, loop: 0)
        let info = #"{"user":"\#(user)","client":"\#(clientText(number))"}"#
        Array(room.utf8).withUnsafeBytes { room in
            Array(user.utf8).withUnsafeBytes { user in
                Array(info.utf8).withUnsafeBytes { info in
                    engine.enter(
                        room: room, member: Member(client: client(number), user: user, info: info),
                        presence: options, ticket: ticket)
                }
            }
        }
    }

    func linger(_ room: String, _ number: Int, _ options: PresenceOptions) {
        Array(room.utf8).withUnsafeBytes { engine.linger(room: $0, client: client(number), presence: options) }
    }

    func leave(_ room: String, _ number: Int, _ options: PresenceOptions, onlyIfLingering: Bool = false) {
        Array(room.utf8).withUnsafeBytes {
            engine.leave(room: $0, client: client(number), presence: options, onlyIfLingering: onlyIfLingering)
        }
    }

    func askMembers(_ room: String, _ query: MemberQuery) {
        Array(room.utf8).withUnsafeBytes {
            engine.members(room: $0, query, ticket: Ticket(connection: 7, command: 9, loop: 0))
        }
    }

    /// How entering ended each time, by client.
    var entries: [(Int, EntryRefusal?)] {
        recorder.events.compactMap {
            if case .entered(let number, let refusal) = $0 { return (Int(number), refusal) }
            return nil
        }
    }

    /// Joins and leaves of a room that were told, as `+ada 3`.
    func told(_ room: String) -> [String] {
        recorder.events.compactMap { event in
            guard case .member(room, let text) = event else { return nil }
            let parts = text.split(separator: " ", omittingEmptySubsequences: false)
            let number = parts.last.flatMap { Int($0.suffix(12), radix: 16) } ?? -1
            return "\(parts.first ?? "") \(number)"
        }
    }
}

extension MemberPage {
    /// The numbers of its clients, sorted.
    var clients: [Int] {
        let text = String(decoding: entries.bytes, as: UTF8.self)
        return text.split(separator: "\"").filter { $0.count == 36 && $0.contains("-") }
            .compactMap { Int($0.suffix(12), radix: 16) }.reduce(into: Set<Int>()) { $0.insert($1) }.sorted()
    }
}
