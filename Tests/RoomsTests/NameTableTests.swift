// The table of names against a dictionary: whatever is inserted, found and removed in whatever order, with good hashes
// and with ones that all collide.

import Bytes
import Testing

@testable import Rooms

@Suite struct NameTableTests {
    private func with<Value>(_ name: String, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        var name = name
        return name.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }

    @Test func `an empty table finds nothing`() {
        let table = NameTable()
        #expect(table.count == 0)
        #expect(with("room") { table.find($0, hash: NameTable.hash($0)) } == nil)
        #expect(with("") { table.find($0, hash: NameTable.hash($0)) } == nil)
    }

    @Test func `the empty name and names with any byte are names like others`() {
        var table = NameTable()
        let names = ["", "\0", "a", "a\0", "\u{7F}", String(repeating: "x", count: 255)]
        let numbers = names.map { name in with(name) { table.insert($0, hash: NameTable.hash($0)) } }
        #expect(Set(numbers).count == names.count)
        for (name, number) in zip(names, numbers) {
            #expect(with(name) { table.find($0, hash: NameTable.hash($0)) } == number)
            #expect(Array(table.name(of: number)) == Array(name.utf8))
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6, 7, 8])
    func `any sequence of inserts and removals agrees with a dictionary`(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        // From one hash for everything to hashes that differ in all bits.
        let mask: UInt64 = [0, 1, 7, 0xFF, 0xFFFF, .max][Int.random(in: 0..<6, using: &random)]
        var table = NameTable()
        var model: [String: UInt32] = [:]
        func hash(_ name: UnsafeRawBufferPointer) -> UInt64 { NameTable.hash(name) & mask }
        for step in 0..<4000 {
            // First it grows, then it shrinks to nothing.
            let grows = Int.random(in: 0..<4000, using: &random) > step
            let name = "n\(Int.random(in: 0..<600, using: &random))"
            if let number = model[name] {
                #expect(with(name) { table.find($0, hash: hash($0)) } == number, "seed \(seed), step \(step)")
                if !grows {
                    table.remove(number)
                    model[name] = nil
                }
            } else {
                #expect(with(name) { table.find($0, hash: hash($0)) } == nil, "seed \(seed), step \(step)")
                guard grows else { continue }
                let number = with(name) { table.insert($0, hash: hash($0)) }
                #expect(!model.values.contains(number), "a number stands for one name: seed \(seed), step \(step)")
                model[name] = number
            }
            #expect(table.count == model.count, "seed \(seed), step \(step)")
        }
        for (name, number) in model {
            #expect(with(name) { table.find($0, hash: hash($0)) } == number, "seed \(seed)")
            #expect(Array(table.name(of: number)) == Array(name.utf8), "seed \(seed)")
            #expect(table.hash(of: number) == with(name) { hash($0) }, "seed \(seed)")
            table.remove(number)
        }
        #expect(table.count == 0)
    }

    @Test func `numbers of removed names are used again`() {
        var table = NameTable()
        for round in 0..<1000 {
            let number = with("room-\(round)") { table.insert($0, hash: NameTable.hash($0)) }
            #expect(number == 0, "a table with one name at a time needs one number")
            table.remove(number)
        }
    }

    @Test func `names that share a home do not crowd a few slots`() {
        // The home is taken from other bits of the hash than the slot: the lower ones stay as mixed as they were.
        var lower: Set<UInt64> = []
        var count = 0
        for index in 0... {
            let hash = with("room-\(index)") { NameTable.hash($0) }
            guard LoopRooms.home(of: hash, loopCount: 16) == 3 else { continue }
            lower.insert(hash & 15)
            count += 1
            if count == 400 { break }
        }
        #expect(lower.count == 16)
    }
}
