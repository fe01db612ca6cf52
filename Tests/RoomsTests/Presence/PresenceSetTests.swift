// Who is in one room: every state and input, what is told by scope and size, who takes whose place, pages while members
// come and go; and all of it together against a model that is too simple to be wrong.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct PresenceSetTests {
    private func options(
        _ scope: PresenceOptions.Scope = .client, told: Int = 1000, most: Int = 0
    ) -> PresenceOptions {
        var options = PresenceOptions()
        options.tellsJoins = true
        options.scope = scope
        options.mostTold = told
        options.mostMembers = most
        return options
    }

    private func list(_ set: PresenceSet, _ query: MemberQuery = .init(maxBytes: .max)) -> [Int] {
        named(in: text(set.page(query).entries) ?? "").compactMap { Int($0.suffix(12), radix: 16) }
    }

    // MARK: States and inputs

    enum State: CaseIterable { case absent, present, lingering }
    enum Input: CaseIterable { case enter, linger, leave }

    @Test(arguments: State.allCases, Input.allCases)
    func `each input in each state`(state: State, input: Input) {
        var set = PresenceSet()
        let options = options()
        if state != .absent { #expect(set.enter(1, "a", options) == (.entered, ["+1 a"])) }
        if state == .lingering { set.linger(1) }
        switch (state, input) {
        case (.absent, .enter): #expect(set.enter(1, "a", options) == (.entered, ["+1 a"]))
        case (_, .enter): #expect(set.enter(1, "a", options) == (.wasThere, []))
        case (_, .linger): set.linger(1)
        case (.absent, .leave): #expect(set.leave(1, options) == [])
        case (_, .leave): #expect(set.leave(1, options) == ["-1 a"])
        }
        let isThere = input == .enter || state != .absent && input == .linger
        #expect(set.count == (isThere ? 1 : 0) && set.userCount == set.count)
        #expect(set.lingers(clientID(1)) == (isThere && input == .linger))
        #expect(list(set) == (isThere ? [1] : []))
        // Whoever is present again is nobody whose place may be taken.
        _ = set.enter(2, "a", options)
        #expect(set.count == (isThere && input == .enter ? 2 : 1))
    }

    // MARK: Scopes

    @Test func `by user, the first connection joins and the last one leaves`() {
        var set = PresenceSet()
        let options = options(.user)
        #expect(set.enter(1, "a", options) == (.entered, ["+1 a"]))
        #expect(set.enter(2, "a", options) == (.entered, []))
        #expect(set.enter(3, "b", options) == (.entered, ["+3 b"]))
        #expect(set.count == 3 && set.userCount == 2)
        #expect(set.leave(1, options) == [])
        #expect(set.leave(2, options) == ["-2 a"])
        #expect(set.leave(2, options) == [])
        #expect(set.enter(1, "a", options) == (.entered, ["+1 a"]))
    }

    @Test(arguments: [PresenceOptions.Scope.client, .user])
    func `anonymous connections join and leave each for itself, and count as one user`(scope: PresenceOptions.Scope) {
        var set = PresenceSet()
        let options = options(scope)
        #expect(set.enter(1, "", options) == (.entered, ["+1"]))
        #expect(set.enter(2, "", options) == (.entered, ["+2"]))
        #expect(set.count == 2 && set.userCount == 1)
        // Nobody knows whose connection the next one is.
        set.linger(1)
        #expect(set.enter(3, "", options) == (.entered, ["+3"]))
        #expect(set.count == 3)
        for client in [2, 1, 3] { #expect(set.leave(client, options) == ["-\(client)"]) }
        #expect(set.userCount == 0)
    }

    // MARK: Taking a place

    @Test func `the same user's next connection takes the place of the one that broke first`() {
        for scope in [PresenceOptions.Scope.client, .user] {
            var set = PresenceSet()
            let options = options(scope)
            for client in 1...3 { _ = set.enter(client, "a", options) }
            set.linger(2)
            set.linger(1)
            let told = set.enter(4, "a", options)
            #expect(told == (.entered, scope == .user ? [] : ["-2 a", "+4 a"]))
            #expect(list(set) == [1, 3, 4] && set.userCount == 1)
            #expect(set.enter(5, "b", options) == (.entered, ["+5 b"]), "another user takes nobody's place")
            #expect(list(set) == [1, 3, 4, 5])
            #expect(set.leave(2, options) == [], "its grace ends in vain")
        }
    }

    @Test func `one that came back is not replaced, and one that left is not remembered`() {
        var set = PresenceSet()
        let options = options()
        _ = set.enter(1, "a", options)
        set.linger(1)
        #expect(set.enter(1, "a", options) == (.wasThere, []))
        #expect(set.enter(2, "a", options) == (.entered, ["+2 a"]))
        set.linger(2)
        _ = set.leave(2, options)
        #expect(set.enter(3, "a", options) == (.entered, ["+3 a"]))
        #expect(list(set) == [1, 3])
    }

    @Test func `of one user sixteen are remembered, the others only leave when their time is over`() {
        var set = PresenceSet()
        let options = options(.user)
        for client in 1...20 { _ = set.enter(client, "a", options) }
        for client in 1...20 {
            set.linger(client)
            set.linger(client)
        }
        for client in 101...120 { #expect(set.enter(client, "a", options) == (.entered, [])) }
        #expect(PresenceSet.mostLingering == 16)
        #expect(list(set) == [1, 2, 3, 4] + Array(101...120))
    }

    // MARK: Sizes

    @Test func `a full room lets nobody in but who is there, or takes a place`() {
        var set = PresenceSet()
        let options = options(most: 2)
        _ = set.enter(1, "a", options)
        _ = set.enter(2, "b", options)
        #expect(set.enter(3, "c", options) == (.full, []))
        #expect(set.enter(1, "a", options) == (.wasThere, []))
        set.linger(2)
        #expect(set.enter(3, "c", options) == (.full, []))
        #expect(set.enter(4, "b", options) == (.entered, ["-2 b", "+4 b"]))
        #expect(set.enter(5, "b", options) == (.full, []))
        _ = set.leave(1, options)
        #expect(set.enter(3, "c", options) == (.entered, ["+3 c"]))
        #expect(list(set) == [4, 3] && set.userCount == 2)
    }

    @Test func `the size up to which is told counts whoever comes and whoever goes`() {
        var set = PresenceSet()
        let options = options(told: 2)
        #expect(set.enter(1, "a", options).1 == ["+1 a"])
        #expect(set.enter(2, "b", options).1 == ["+2 b"])
        #expect(set.enter(3, "c", options).1 == [])
        #expect(set.leave(2, options) == [])
        #expect(set.leave(1, options) == ["-1 a"])
        #expect(set.enter(4, "d", options).1 == ["+4 d"])
        set.linger(4)
        #expect(set.enter(5, "d", options).1 == ["-4 d", "+5 d"], "taking a place adds nobody")
    }

    @Test func `nothing is told where nothing is to be told`() {
        var set = PresenceSet()
        for options in [options(told: 0), PresenceOptions()] {
            #expect(set.enter(1, "a", options) == (.entered, []))
            #expect(set.leave(1, options) == [])
        }
    }

    @Test func `an event shows the member as it entered`() {
        var set = PresenceSet()
        let options = options()
        var shown: [String] = []
        let (user, info) = (payload("ann"), payload(#"{"user":"ann"}"#))
        _ = set.enter(Member(client: clientID(1), user: user.bytes, info: info.bytes), options) {
            shown.append(String(decoding: $0.info, as: UTF8.self))
        }
        set.leave(clientID(1), options) { shown.append(String(decoding: $0.info, as: UTF8.self)) }
        #expect(shown == [#"{"user":"ann"}"#, #"{"user":"ann"}"#])
    }

    // MARK: Pages

    @Test func `a page holds what is asked for, and says where the next one begins`() {
        var set = PresenceSet()
        let options = options()
        for client in 1...5 { _ = set.enter(client, "a", options) }
        let first = set.page(MemberQuery(limit: 2, maxBytes: .max))
        #expect(first.members == 5 && first.users == 1 && first.cursor > 0)
        #expect(list(set, MemberQuery(cursor: first.cursor, limit: 2, maxBytes: .max)) == [3, 4])
        let last = set.page(MemberQuery(cursor: first.cursor, limit: 3, maxBytes: .max))
        #expect(last.cursor == 0, "all fit")
        #expect(set.page(MemberQuery(maxBytes: 1)).cursor > 0, "one member at least, then the bytes count")
        #expect(list(set, MemberQuery(maxBytes: 1)) == [1])
        let count = set.page(.count)
        #expect(count.entries.count == 0 && count.cursor == 0 && count.members == 5 && count.users == 1)
        #expect(list(set, MemberQuery(cursor: .max, maxBytes: .max)) == [])
    }

    @Test func `whoever is there all the while is on a page, however many come and go`() {
        let seed = UInt64.random(in: 0 ... .max)
        print("pages: seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<20 {
            var set = PresenceSet()
            let options = options()
            let steady = Set(0..<Int.random(in: 1...200, using: &random))
            for client in steady { _ = set.enter(client, "", options) }
            var next = 1000
            var passing: [Int] = []
            var found: [Int] = []
            var cursor: UInt64 = 0
            repeat {
                let limit = Int.random(in: 1...40, using: &random)
                let page = set.page(MemberQuery(cursor: cursor, limit: limit, maxBytes: .max))
                let names = list(set, MemberQuery(cursor: cursor, limit: limit, maxBytes: .max))
                #expect(names.count <= limit)
                found += names
                cursor = page.cursor
                // As many as the page held at most, or the end would never come.
                for _ in 0..<limit / 2 {
                    if Bool.random(using: &random) || passing.isEmpty {
                        next += 1
                        _ = set.enter(next, "", options)
                        passing.append(next)
                    } else {
                        _ = set.leave(passing.remove(at: Int.random(in: passing.indices, using: &random)), options)
                    }
                }
            } while cursor != 0
            #expect(Set(found).count == found.count, "seed \(seed): each once")
            #expect(steady.isSubset(of: found), "seed \(seed)")
        }
    }

    // MARK: Against a model

    /// The rules once more, in the plainest way: a list of members, looked through each time.
    private struct Model {
        var members: [(client: Int, user: String)] = []
        /// Those whose grace runs, in the order in which they broke.
        var lingering: [Int] = []

        private func user(_ client: Int) -> String? { members.first { $0.client == client }?.user }

        mutating func remove(_ client: Int) {
            members.removeAll { $0.client == client }
            lingering.removeAll { $0 == client }
        }

        mutating func enter(_ client: Int, _ user: String, _ options: PresenceOptions) -> [String] {
            if self.user(client) != nil {
                lingering.removeAll { $0 == client }
                return []
            }
            let named = user.isEmpty ? [] : lingering.filter { self.user($0) == user }
            let place = named.suffix(16).first
            let size = members.count + (place == nil ? 1 : 0)
            if options.mostMembers > 0, size > options.mostMembers { return ["full"] }
            let isFirst = !members.contains { $0.user == user }
            if let place { remove(place) }
            members.append((client, user))
            guard size <= options.mostTold else { return [] }
            let name = user.isEmpty ? "" : " \(user)"
            if options.scope == .user { return isFirst || user.isEmpty ? ["+\(client)\(name)"] : [] }
            return (place.map { ["-\($0)\(name)"] } ?? []) + ["+\(client)\(name)"]
        }

        mutating func linger(_ client: Int) {
            if user(client) != nil, !lingering.contains(client) { lingering.append(client) }
        }

        mutating func leave(_ client: Int, _ options: PresenceOptions) -> [String] {
            guard let user = user(client) else { return [] }
            let size = members.count
            remove(client)
            let isLast = user.isEmpty || !members.contains { $0.user == user }
            guard size <= options.mostTold, options.scope == .client || isLast else { return [] }
            return ["-\(client)\(user.isEmpty ? "" : " \(user)")"]
        }
    }

    @Test(arguments: [PresenceOptions.Scope.client, .user], [(most: 0, told: 3), (6, 3), (0, 1000), (6, 1000)])
    func `any sequence is what the model says`(scope: PresenceOptions.Scope, sizes: (most: Int, told: Int)) {
        let seed = UInt64.random(in: 0 ... .max)
        print("set: seed \(seed)")
        var random = SeededRandom(seed: seed)
        let options = options(scope, told: sizes.told, most: sizes.most)
        var set = PresenceSet()
        var model = Model()
        for step in 0..<4000 {
            let context: Comment = "seed \(seed), step \(step)"
            let client = Int.random(in: 0..<40, using: &random)
            // A connection keeps its user.
            let user = ["", "a", "b", "c"][client % 4]
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                let expected = model.enter(client, user, options)
                let (entrance, events) = set.enter(client, user, options)
                #expect((entrance == .full) == (expected == ["full"]), context)
                #expect(events == (expected == ["full"] ? [] : expected), context)
            case 2, 3:
                model.linger(client)
                set.linger(client)
            default:
                #expect(set.leave(client, options) == model.leave(client, options), context)
            }
            #expect(set.count == model.members.count, context)
            #expect(set.userCount == Set(model.members.map(\.user)).count, context)
            if step % 50 == 0 { #expect(list(set) == model.members.map(\.client), context) }
        }
    }
}
