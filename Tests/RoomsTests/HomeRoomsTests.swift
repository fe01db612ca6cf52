// The home's table: when the engine is asked, when it is let go, and which loops are told.

import Bytes
import Testing

@testable import Rooms

@Suite struct HomeRoomsTests {
    private func join(_ home: inout HomeRooms, _ name: String, loop: Int, local: UInt64) -> HomeRooms.Action {
        var name = name
        return name.withUTF8 {
            let bytes = UnsafeRawBufferPointer($0)
            return home.join(bytes, hash: NameTable.hash(bytes), loop: loop, local: local)
        }
    }

    private func leave(_ home: inout HomeRooms, _ name: String, loop: Int, local: UInt64) -> HomeRooms.Action {
        var name = name
        return name.withUTF8 {
            let bytes = UnsafeRawBufferPointer($0)
            return home.leave(bytes, hash: NameTable.hash(bytes), loop: loop, local: local)
        }
    }

    private func number(_ home: borrowing HomeRooms, _ name: String) -> UInt32? {
        var name = name
        var found: UInt32?
        name.withUTF8 { found = home.find(UnsafeRawBufferPointer($0)) }
        return found
    }

    private func loops(_ home: borrowing HomeRooms, _ number: UInt32) -> [String] {
        var all: [String] = []
        home.forEachLoop(number) { all.append("\($0):\($1)") }
        return all
    }

    @Test func `the first loop subscribes, the last one unsubscribes`() throws {
        var home = HomeRooms(loopCount: 3)
        #expect(number(home, "a") == nil)
        #expect(join(&home, "a", loop: 1, local: 7) == .subscribe)
        #expect(join(&home, "a", loop: 2, local: 9) == .none, "the flow has been asked for")
        let found = number(home, "a")
        let room = try #require(found)
        let wasLive = home.isLive(room)
        #expect(!wasLive)
        home.markLive(room)
        #expect(join(&home, "a", loop: 0, local: 0) == .joined, "the flow runs")
        #expect(loops(home, room) == ["0:0", "1:7", "2:9"])
        #expect(leave(&home, "a", loop: 1, local: 7) == .none)
        #expect(leave(&home, "a", loop: 0, local: 0) == .none)
        #expect(loops(home, room) == ["2:9"])
        #expect(leave(&home, "a", loop: 2, local: 9) == .unsubscribe)
        #expect(number(home, "a") == nil)
        #expect(home.names.count == 0)
    }

    @Test func `leaving twice, from elsewhere or in a former life changes nothing`() {
        var home = HomeRooms(loopCount: 2)
        #expect(leave(&home, "a", loop: 0, local: 1) == .none)
        #expect(join(&home, "a", loop: 0, local: 1) == .subscribe)
        #expect(leave(&home, "a", loop: 1, local: 1) == .none)
        #expect(leave(&home, "a", loop: 0, local: 2) == .none)
        #expect(leave(&home, "b", loop: 0, local: 1) == .none)
        #expect(leave(&home, "a", loop: 0, local: 1) == .unsubscribe)
        #expect(leave(&home, "a", loop: 0, local: 1) == .none)
    }

    @Test func `a room whose flow could not begin is forgotten and may be asked for again`() throws {
        var home = HomeRooms(loopCount: 2)
        #expect(join(&home, "a", loop: 0, local: 1) == .subscribe)
        let before = number(home, "a")
        home.remove(try #require(before))
        #expect(number(home, "a") == nil)
        #expect(join(&home, "a", loop: 1, local: 5) == .subscribe)
        let room = number(home, "a")
        #expect(room.map { home.isLive($0) } == false)
        #expect(room.map { loops(home, $0) } == ["1:5"])
    }

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func `any sequence of joins and leaves agrees with sets`(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var home = HomeRooms(loopCount: 4)
        var model: [String: [Int: UInt64]] = [:]
        for step in 0..<3000 {
            let context: Comment = "seed \(seed), step \(step)"
            let name = "r\(Int.random(in: 0..<20, using: &random))"
            let loop = Int.random(in: 0..<4, using: &random)
            if let local = model[name]?[loop] {
                model[name]?[loop] = nil
                let isLast = model[name]?.isEmpty == true
                #expect(leave(&home, name, loop: loop, local: local) == (isLast ? .unsubscribe : .none), context)
                if isLast { model[name] = nil }
            } else {
                let isFirst = model[name] == nil
                let wasLive = number(home, name).map { home.isLive($0) } ?? false
                let action = join(&home, name, loop: loop, local: UInt64(step))
                #expect(action == (isFirst ? .subscribe : wasLive ? .joined : .none), context)
                model[name, default: [:]][loop] = UInt64(step)
                if Bool.random(using: &random), let room = number(home, name) { home.markLive(room) }
            }
            #expect(home.names.count == model.count, context)
        }
        for (name, members) in model {
            guard let room = number(home, name) else {
                Issue.record("\(name) is known, seed \(seed)")
                continue
            }
            #expect(Set(loops(home, room)) == Set(members.map { "\($0.key):\($0.value)" }), "seed \(seed)")
        }
    }
}
