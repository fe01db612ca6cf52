// The list of members as it is kept: fetched, changed by joins and leaves, learnt about, bounded.

import Testing

@testable import ChatTerminal

@Suite("Member roster")
struct MemberRosterTests {
    private func member(_ user: String, _ client: String) -> ChatMember { ChatMember(user: user, client: client) }

    private func roster(_ members: [(String, String)], isCut: Bool = false) -> MemberRoster {
        var roster = MemberRoster()
        roster.begin()
        let list = ChatMembers(members: members.map { member($0.0, $0.1) }, isCut: isCut)
        _ = roster.take(.list(list), at: 0)
        return roster
    }

    private func shown(_ roster: MemberRoster) -> [String] {
        roster.entries.map { $0.name.string + ($0.count > 1 ? " (\($0.count))" : "") }
    }

    @Test("Users are in the order of their names, whatever the case, with their connections")
    func order() {
        var roster = roster([("zoe", "1"), ("Bob", "2"), ("anna", "3"), ("bob", "4"), ("Bob", "5"), ("", "abcdefghij")])
        #expect(shown(roster) == ["anna", "Bob (2)", "bob", "guest-abcdefgh", "zoe"])
        var isNew = roster.joined(member("carl", "6"))
        #expect(isNew)
        isNew = roster.joined(member("Bob", "7"))
        #expect(!isNew, "a second connection is no news")
        isNew = roster.joined(member("Bob", "7"))
        #expect(!isNew)
        #expect(shown(roster) == ["anna", "Bob (3)", "bob", "carl", "guest-abcdefgh", "zoe"])
    }

    @Test("Changes that came while the list was on its way count, whichever is older")
    func race() {
        var roster = MemberRoster()
        roster.begin()
        _ = roster.joined(member("new", "1"))
        _ = roster.left(member("gone", "2"))
        _ = roster.left(member("back", "3"))
        _ = roster.joined(member("back", "3"))
        let list = ChatMembers(members: [member("gone", "2"), member("old", "4")])
        _ = roster.take(.list(list), at: 0)
        #expect(shown(roster) == ["back", "new", "old"])
        #expect(!roster.isDue(at: MemberRoster.freshness - 1) && roster.isDue(at: MemberRoster.freshness))
    }

    @Test("More changes than are noted make the list be fetched again")
    func overflow() {
        var roster = MemberRoster()
        roster.begin()
        for number in 0..<5000 { _ = roster.joined(member("u\(number)", "\(number)")) }
        _ = roster.take(.list(ChatMembers(members: [])), at: 0)
        #expect(roster.isDue(at: 0))
    }

    @Test("Where connections are told, a user leaves with the last one; one more list is all that it takes to learn it")
    func clientScope() {
        var roster = roster([("ada", "1"), ("ada", "2"), ("bob", "3"), ("bob", "4")])
        var isGone = roster.left(member("ada", "1"))
        #expect(!isGone && roster.isDue(at: 0), "it may mean that ada is gone altogether")
        roster.begin()
        let list = ChatMembers(members: [member("ada", "2"), member("bob", "3"), member("bob", "4")])
        var told = roster.take(.list(list), at: 0)
        #expect(told == nil && shown(roster) == ["ada", "bob (2)"])
        isGone = roster.left(member("bob", "3"))
        #expect(!isGone && !roster.isDue(at: 1), "it is known now")
        isGone = roster.left(member("bob", "4"))
        #expect(isGone && shown(roster) == ["ada"])
        // A second connection that is told says the same.
        roster = self.roster([("ada", "1")])
        _ = roster.joined(member("ada", "2"))
        isGone = roster.left(member("ada", "1"))
        #expect(!isGone && !roster.isDue(at: 1))
        told = nil
    }

    @Test("Where users are told, a leave takes all connections of the user along; the first time a new list tells")
    func userScope() {
        var roster = roster([("ada", "1"), ("ada", "2"), ("bob", "3"), ("bob", "4")])
        var isGone = roster.left(member("ada", "2"))
        #expect(!isGone && roster.isDue(at: 0))
        roster.begin()
        let told = roster.take(.list(ChatMembers(members: [member("bob", "3"), member("bob", "4")])), at: 0)
        #expect(told == "ada" && shown(roster) == ["bob (2)"])
        isGone = roster.left(member("bob", "4"))
        #expect(isGone && shown(roster).isEmpty && !roster.isDue(at: 1))
    }

    @Test("A room that cannot be listed is not asked again; one that cannot be listed now is, ever more rarely")
    func refusals() {
        var roster = MemberRoster()
        for answer in [RosterAnswer.untracked, .forbidden] {
            roster.restart()
            #expect(roster.isDue(at: 0))
            roster.begin()
            #expect(!roster.isDue(at: .max))
            _ = roster.take(answer, at: 0)
            #expect(!roster.isDue(at: .max))
        }
        var waits: [Int64] = []
        for _ in 0..<8 {
            roster.restart()
            roster.begin()
            _ = roster.take(.unavailable(retryMilliseconds: nil), at: 1000)
            guard case .unavailable(let until) = roster.state else { return #expect(Bool(false)) }
            waits.append(until - 1000)
            #expect(!roster.isDue(at: until - 1) && roster.isDue(at: until))
        }
        #expect(waits == [5000, 10_000, 20_000, 40_000, 80_000, 80_000, 80_000, 80_000])
        _ = roster.take(.unavailable(retryMilliseconds: .max), at: .max)
        #expect(roster.state == .unavailable(until: .max))
    }

    @Test("A list is bounded in members and in the length of names, and says that it is cut")
    func bounds() {
        let many = (0..<10_001).map { ("user\($0)", "\($0)") }
        var roster = roster(many)
        #expect(roster.entries.count == 10_000 && roster.state == .listed(isCut: true))
        roster = self.roster(Array(many.prefix(10_000)))
        #expect(roster.state == .listed(isCut: false))
        _ = roster.joined(member("one more", "x"))
        #expect(roster.entries.count == 10_000 && roster.state == .listed(isCut: true))
        let long = String(repeating: "漢", count: 100_000)
        _ = roster.left(member("user1", "1"))
        _ = roster.joined(member(long, long))
        #expect(
            roster.entries.last.map { $0.key.utf8.count <= 300 && $0.clients.allSatisfy { $0.utf8.count <= 300 } }
                == true)
        let isGone = roster.left(member(long, long))
        #expect(isGone)
    }

    @Test("Whatever comes in whatever order, the order is kept and the count is right")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = TestRandom(state: seed)
        var roster = MemberRoster()
        for _ in 0..<3000 {
            let someone = member("u\(random.next() % 12)", "\(random.next() % 40)")
            switch random.next() % 20 {
            case 0: roster.begin()
            case 1:
                let list = (0..<random.next() % 10).map { member("u\($0)", "\(random.next() % 40)") }
                _ = roster.take(.list(ChatMembers(members: list, isCut: random.next() % 2 == 0)), at: 0)
            case 2: roster.restart()
            case 3..<10: _ = roster.left(someone)
            default: _ = roster.joined(someone)
            }
            let keys = roster.entries.map(\.key)
            #expect(keys == keys.sorted(by: ChatMembers.precedes) && Set(keys).count == keys.count, "seed \(seed)")
            #expect(roster.entries.allSatisfy { $0.count > 0 }, "seed \(seed)")
        }
    }
}
