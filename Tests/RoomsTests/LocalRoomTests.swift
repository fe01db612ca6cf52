// The member list while publications are being handed out in slices: nobody is missed, nobody is served twice, nobody
// gets what was said before it came, and whoever is moved is told its new place.

import Bytes
import Testing

@testable import Rooms

private let start = MonotonicTime(nanoseconds: 1)

@Suite struct LocalRoomTests {
    /// A room beside a plain model of it.
    private struct Model: ~Copyable {
        var room = LocalRoom()
        /// Where each member believes that it stands.
        var positions: [ConnectionWord: UInt32] = [:]
        /// Who still has to be served, who has been, with the broadcast under way.
        var owed: Set<ConnectionWord> = []
        var served: Set<ConnectionWord> = []
        var next: ConnectionWord = 1

        mutating func join() {
            positions[next] = room.append(next)
            next += 1
        }

        mutating func leave(_ member: ConnectionWord, _ context: String) {
            guard let position = positions.removeValue(forKey: member) else { return }
            owed.remove(member)
            var told: [(ConnectionWord, UInt32)] = []
            room.remove(at: position) { told.append(($0, $1)) }
            #expect(told.count <= 3, "at most one member per part of the list moves: \(context)")
            for (moved, place) in told {
                #expect(positions[moved] != nil, "only members are moved: \(context)")
                positions[moved] = place
            }
        }

        mutating func begin(_ handle: UnsafeMutableRawPointer) {
            room.begin(Broadcast(handle: handle, messages: 1, since: start))
            owed = Set(positions.keys)
            served = []
        }

        mutating func serve(_ most: Int, _ context: String) {
            for member in room.slice(most) {
                #expect(owed.remove(member) != nil, "whoever is served was owed it: \(context)")
                #expect(served.insert(member).inserted, "nobody is served twice: \(context)")
            }
        }

        func check(_ context: String) {
            #expect(room.count == positions.count, "the count is right: \(context)")
            let everyone = room.everyone
            for (member, position) in positions {
                #expect(
                    Int(position) < everyone.count && everyone[Int(position)] == member,
                    "every member is where it believes to be: \(context)")
            }
            #expect(room.cursor == owed.count, "as many are left as are owed: \(context)")
        }
    }

    @Test(arguments: Array(UInt64(1)...12))
    func `slices, joins and leaves in any order serve exactly the members of the moment`(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let handle = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
        defer { handle.deallocate() }
        var model = Model()
        for step in 0..<3000 {
            let context = "seed \(seed), step \(step)"
            // Grows to about a hundred, then to nothing, again and again.
            let grows = (step / 500) % 2 == 0
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                if grows { model.join() }
            case 4..<(grows ? 6 : 9):
                if let member = model.positions.keys.randomElement(using: &random) { model.leave(member, context) }
            default:
                if model.room.broadcast == nil {
                    if model.room.count > 0 { model.begin(handle) }
                } else if model.room.cursor == 0 {
                    #expect(model.owed.isEmpty, "nobody was missed: \(context)")
                    #expect(model.room.end() != nil)
                } else {
                    model.serve(Int.random(in: 1...20, using: &random), context)
                }
            }
            model.check(context)
        }
    }

    @Test func `a member that joins during the hand-out is not served`() {
        let handle = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
        defer { handle.deallocate() }
        var room = LocalRoom()
        for member in 1...4 { _ = room.append(ConnectionWord(member)) }
        room.begin(Broadcast(handle: handle, messages: 1, since: start))
        #expect(Array(room.slice(2)) == [3, 4])
        _ = room.append(5)
        #expect(Array(room.slice(10)) == [1, 2])
        #expect(Array(room.slice(10)) == [])
        #expect(room.end() != nil)
        #expect(Array(room.everyone) == [1, 2, 3, 4, 5])
    }

    @Test func `a room that everybody leaves during the hand-out owes nobody`() {
        let handle = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
        defer { handle.deallocate() }
        var model = Model()
        for _ in 0..<50 { model.join() }
        model.begin(handle)
        model.serve(7, "first slice")
        for member in Array(model.positions.keys) {
            model.leave(member, "leaving \(member)")
            model.check("after \(member) left")
        }
        #expect(model.room.cursor == 0)
        let isUnused = model.room.isUnused
        #expect(isUnused)
        model.join()
        model.check("a newcomer")
        #expect(Array(model.room.slice(10)) == [], "the newcomer is owed nothing")
    }

    @Test func `a position that nobody has is ignored`() {
        var room = LocalRoom()
        room.remove(at: 0) { _, _ in Issue.record("nobody is there to be moved") }
        _ = room.append(1)
        room.remove(at: 1) { _, _ in Issue.record("nobody is there to be moved") }
        room.remove(at: .max) { _, _ in Issue.record("nobody is there to be moved") }
        #expect(Array(room.everyone) == [1])
    }
}
