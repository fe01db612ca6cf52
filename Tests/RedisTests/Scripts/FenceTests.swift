// Fencing on a real Redis: a room whose store came back with less never gives one offset two contents.
// Each test has a server of its own.

import Bytes
import Redis
import Testing

@Suite("Rooms when Redis comes back with less")
struct FenceTests {
    let server: ScriptServer
    let client: ScriptClient
    let room: ScriptRoom

    init() throws {
        server = try ScriptServer()
        client = try server.client()
        room = ScriptRoom(client)
    }

    @Test("a store that lost nothing: fencing changes nothing, however often and whoever comes")
    func nothingLost() throws {
        try room.publish(1...10)
        let top = try room.position().top
        room.term = second
        for offset: UInt64 in [10, 9, 0, 10] {
            let result = try room.fence(at(offset, top.epoch), in: first)
            #expect(result == .kept(RoomRecord(top: top, previous: nil)))
        }
        #expect(try room.publish("m11") == at(11, top.epoch))
        // An answer was lost, so the node says it again after the term has gone on.
        #expect(
            try room.fence(at(10, top.epoch), in: first) == .kept(RoomRecord(top: at(11, top.epoch), previous: nil)))
        #expect(try room.read(.recover, since: at(5, top.epoch)).offsets == Array(6...11))
        try client.expectEveryKeyToExpire()
    }

    @Test("a store that stands lower: a new epoch, and the common part stays recoverable")
    func lower() throws {
        try room.publish(1...5)
        let snapshot = try room.snapshot()
        try room.publish(6...8)
        let seen = try room.position().top
        try room.restore(snapshot)
        room.term = second
        guard case .renewed(let record) = try room.fence(seen, in: first) else { throw CancellationError() }
        #expect(record.top.offset == 5 && record.top.epoch != seen.epoch && record.previous == at(5, seen.epoch))
        #expect(!record.continues(seen) && record.continues(at(5, seen.epoch)))
        // The same again, and other nodes that saw as much, less, or all that there is.
        for offset: UInt64 in [8, 7, 5, 1] {
            #expect(try room.fence(at(offset, seen.epoch), in: first) == .otherEpoch(record))
        }
        #expect(try room.publish("new") == at(6, record.top.epoch))
        #expect(try room.read(.recover, since: at(3, seen.epoch)).texts == ["m4", "m5", "new"])
        #expect(try room.read(.recover, since: at(5, seen.epoch)).texts == ["new"])
        for offset: UInt64 in [6, 7, 8, 9] {
            let read = try room.read(.recover, since: at(offset, seen.epoch))
            #expect(read.state == .otherEpoch && read.fields.isEmpty, "offset \(offset) is told")
        }
        #expect(try room.read(.recover, since: at(5, record.top.epoch)).texts == ["new"])
        try client.expectEveryKeyToExpire()
    }

    @Test("a record that is gone: a new epoch that shares nothing but the beginning")
    func gone() throws {
        try room.publish(1...5)
        let seen = try room.position().top
        try client.command([Array("DEL".utf8), client.key(.position, room.name)])
        room.term = second
        guard case .renewed(let record) = try room.fence(seen, in: first) else { throw CancellationError() }
        #expect(record.top.offset == 0 && record.previous == at(0, seen.epoch))
        #expect(try room.fence(at(4, seen.epoch), in: first) == .otherEpoch(record))
        #expect(try room.publish("new") == at(1, record.top.epoch))
        #expect(try room.read(.recover, since: at(0, seen.epoch)).texts == ["new"])
        #expect(try room.read(.recover, since: at(1, seen.epoch)).state == .otherEpoch)
    }

    @Test("a room for which nobody vouched gets a new epoch from whichever script comes first", arguments: 0..<3)
    func unvouched(_ way: Int) throws {
        try room.publish(1...5)
        let old = try room.position().top
        room.term = second
        switch way {
        case 0: try room.publish("m6")
        case 1: _ = try room.position()
        default: _ = try room.read(.forward, since: nil)
        }
        let record = try room.position()
        #expect(record.top.epoch != old.epoch && record.previous == old)
        #expect(record.top.offset == (way == 0 ? 6 : 5))
        #expect(try room.read(.recover, since: at(4, old.epoch)).state == .complete)
        #expect(try room.read(.recover, since: old).offsets.count == (way == 0 ? 1 : 0))
        #expect(try room.read(.recover, since: at(6, old.epoch)).state == .otherEpoch)
        #expect(try room.fence(old, in: first) == .otherEpoch(record), "a late node is told and changes nothing")
        try client.expectEveryKeyToExpire()
    }

    @Test("a node whose term is over writes nothing and is told which one counts")
    func stale() throws {
        try room.publish(1...3)
        let top = try room.position().top
        room.term = third
        _ = try room.fence(top, in: first)
        let keys = try client.keys()
        room.term = second
        #expect(try room.publishResult([1], key: ("a", "b")) == .staleTerm(third))
        #expect(try room.positionResult() == .staleTerm(third))
        #expect(try room.reading(.forward, since: nil) == nil)
        #expect(try room.fence(top, in: first) == .staleTerm(third))
        #expect(try client.keys() == keys)
        room.term = third
        #expect(try room.read(.forward, since: nil).offsets == [1, 2, 3])
        #expect(try room.publish("m4") == at(4, top.epoch))
    }

    @Test("a node that comes when the term is open is compared with the top at its beginning")
    func late() throws {
        try room.publish(1...5)
        let snapshot = try room.snapshot()
        try room.publish(6...8)
        let epoch = try room.position().top.epoch
        try room.restore(snapshot)
        room.term = second
        // One node saw no more than the store still has; the one that saw more is frozen.
        #expect(try room.fence(at(5, epoch), in: first) == .kept(RoomRecord(top: at(5, epoch), previous: nil)))
        for text in ["x6", "x7", "x8", "x9"] { try room.publish(text) }
        guard case .renewed(let record) = try room.fence(at(8, epoch), in: first) else { throw CancellationError() }
        #expect(record.top.offset == 9 && record.previous == at(5, epoch))
        #expect(try room.read(.recover, since: at(5, epoch)).texts == ["x6", "x7", "x8", "x9"])
        #expect(try room.read(.recover, since: at(7, epoch)).state == .otherEpoch)
    }

    @Test("a node that comes late vouches for nothing: a room that nobody vouched for is renewed, though all is there")
    func lateVouching() throws {
        try room.publish(1...5)
        let snapshot = try room.snapshot()
        try room.publish(6...8)
        let old = try room.position().top.epoch
        try room.restore(snapshot)
        room.term = second
        // This one saw five; the one that saw eight is missing and must not find its offsets given away again.
        guard case .renewed(let record) = try room.fence(at(5, old), in: first, late: true) else {
            throw CancellationError()
        }
        #expect(record.top.offset == 5 && record.top.epoch != old && record.previous == at(5, old))
        #expect(try room.publish("x6") == at(6, record.top.epoch))
        #expect(try room.fence(at(5, old), in: first, late: true) == .otherEpoch(try room.position()))
        #expect(try room.read(.recover, since: at(5, old)).texts == ["x6"])
        #expect(try room.read(.recover, since: at(8, old)).state == .otherEpoch)
        try client.expectEveryKeyToExpire()
    }

    @Test("a node that comes late to a room that others vouched for is compared as ever")
    func lateAfterOthers() throws {
        try room.publish(1...5)
        let top = try room.position().top
        room.term = second
        #expect(try room.fence(top, in: first) == .kept(RoomRecord(top: top, previous: nil)))
        try room.publish("m6")
        let record = RoomRecord(top: at(6, top.epoch), previous: nil)
        #expect(try room.fence(at(4, top.epoch), in: first, late: true) == .kept(record))
        #expect(try room.fence(top, in: first, late: true) == .kept(record))
        guard case .renewed(let renewed) = try room.fence(at(6, top.epoch), in: first, late: true) else {
            throw CancellationError()
        }
        #expect(renewed.previous == top && renewed.top.offset == 6)
    }

    @Test("a node that comes late to a room whose record is gone, or that is in a later term, is told")
    func lateElse() throws {
        let top = try room.publish("m1")
        try client.command([Array("DEL".utf8), client.key(.position, room.name)])
        room.term = second
        guard case .renewed(let record) = try room.fence(top, in: first, late: true) else {
            throw CancellationError()
        }
        #expect(record.top.offset == 0)
        room.term = first
        #expect(try room.fence(top, in: first, late: true) == .staleTerm(second))
    }

    @Test("within one life a position above the top is a loss, too", arguments: [true, false])
    func sameTerm(_ byPublishing: Bool) throws {
        try room.publish(1...5)
        let snapshot = try room.snapshot()
        try room.publish(6...8)
        let seen = try room.position().top
        #expect(try room.fence(seen, in: first) == .kept(RoomRecord(top: seen, previous: nil)))
        #expect(try room.publish("m9", seen: seen) == at(9, seen.epoch), "nothing is lost: nothing changes")
        try room.restore(snapshot)
        if byPublishing {
            let position = try room.publish("new", seen: seen)
            #expect(position.offset == 6 && position.epoch != seen.epoch)
        } else {
            guard case .renewed = try room.fence(seen, in: first) else { throw CancellationError() }
            try room.publish("new")
        }
        #expect(try room.position().previous == at(5, seen.epoch))
        #expect(try room.read(.recover, since: at(5, seen.epoch)).texts == ["new"])
        #expect(try room.read(.recover, since: seen).state == .otherEpoch)
    }

    @Test("a key published in a lost epoch is known as long as its publication is")
    func idempotencyOverTerms() throws {
        guard case .published(let kept) = try room.publishResult([1], key: ("a", "1")) else {
            throw CancellationError()
        }
        room.term = second
        guard case .renewed(let record) = try room.fence(at(9, kept.epoch), in: first) else {
            throw CancellationError()
        }
        #expect(try room.publishResult([1], key: ("a", "1")) == .repeated(kept))
        #expect(try room.publishResult([2], key: ("a", "2")) == .published(at(2, record.top.epoch)))
    }

    @Test(
        "the offset-reuse trap, 200 times at random: never one (epoch, offset) with two contents",
        arguments: [11, 12, 13])
    func offsetReuse(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var contents: [RoomPosition: String] = [:]
        var number = 0
        var snapshots = [try room.snapshot()]
        var tops: [RoomPosition] = []
        var lives: UInt64 = 1
        // What three nodes have seen of the room: all of it, or up to some earlier moment.
        var seen: [RoomPosition?] = [nil, nil, nil]
        room.size = 1000
        for step in 0..<200 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<6:
                number += 1
                let text = "c\(number)"
                let position = try room.publish(text)
                #expect(contents[position] == nil, "seed \(seed), step \(step): \(position) twice")
                contents[position] = text
                tops.append(position)
                seen[0] = position
                for node in 1...2 where Bool.random(using: &random) { seen[node] = position }
            case 6: snapshots.append(try room.snapshot())
            default:
                // A new life from one of the snapshots or from what there is; every node fences, in any order.
                if Int.random(in: 0..<3, using: &random) > 0, let old = snapshots.randomElement(using: &random) {
                    try room.restore(old)
                }
                let former = room.term
                lives += 1
                room.term = RedisTerm(number: lives, life: lives)
                for node in [0, 1, 2].shuffled(using: &random) {
                    guard let position = seen[node] else { continue }
                    let result = try room.fence(position, in: former)
                    if Bool.random(using: &random) { _ = try room.fence(position, in: former) }
                    #expect(result != .staleTerm(former), "seed \(seed)")
                }
                let record = try room.position()
                for node in 0...2 { seen[node] = record.top }
                for claim in tops {
                    let state = try room.read(.recover, since: claim).state
                    #expect((state == .complete) == record.continues(claim), "seed \(seed), step \(step): \(claim)")
                }
            }
            let read = try room.read(.forward, since: nil)
            for (offset, text) in zip(read.offsets, read.texts) {
                let position = at(offset, read.record.top.epoch)
                if let known = contents[position] {
                    #expect(known == text, "seed \(seed), step \(step): \(position)")
                }
                // A position of the previous epoch that still counts means the same content.
                if let previous = read.record.previous, offset <= previous.offset,
                    let known = contents[at(offset, previous.epoch)]
                {
                    #expect(known == text, "seed \(seed), step \(step): shared \(offset)")
                }
            }
        }
        #expect(lives > 20 && number > 50, "the test has done what it says")
    }
}
