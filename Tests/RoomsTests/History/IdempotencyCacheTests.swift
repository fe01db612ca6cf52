// What the embedded engine remembers of keys: until when, of whom, and what goes first at a bound.
// Time is handed in.

import Bytes
import Testing

@testable import Rooms

@Suite("Known idempotency keys")
struct IdempotencyCacheTests {
    @Test("room, sender and key are kept apart however they are cut, and live five minutes")
    func keys() {
        var cache = IdempotencyCache()
        let parts = [
            ("a", "b", "c"), ("ab", "", "c"), ("", "ab", "c"), ("a", "bc", ""), ("a", "", "bc"), ("1:1:a", "b", "c"),
        ]
        for (index, part) in parts.enumerated() {
            insert(&cache, part, UInt64(index + 1), 0)
            insert(&cache, part, 99, 1)
        }
        for (index, part) in parts.enumerated() { #expect(find(&cache, part, 299.9) == UInt64(index + 1)) }
        #expect(cache.count == parts.count)
        for part in parts { #expect(find(&cache, part, 300) == nil) }
        #expect(cache.count == 0 && cache.bytes == 0 && cache.evicted == 0)
    }

    @Test("number and bytes are bounded; the oldest goes first")
    func bounds() {
        var limits = IdempotencyCache.Limits()
        limits.entries = 3
        var cache = IdempotencyCache(limits: limits)
        for number in 1...5 { insert(&cache, ("r", "s", "\(number)"), UInt64(number), 0) }
        #expect(cache.count == 3 && cache.evicted == 2)
        #expect(find(&cache, ("r", "s", "2"), 0) == nil && find(&cache, ("r", "s", "3"), 0) == 3)
        limits.entries = 1000
        limits.bytes = 100
        cache = IdempotencyCache(limits: limits)
        for number in 1...100 {
            insert(&cache, ("r", "s", String(repeating: "k", count: number)), UInt64(number), 0)
            #expect(cache.bytes <= 100)
        }
        insert(&cache, ("r", "s", "k"), 7, 0)
        #expect(find(&cache, ("r", "s", "k"), 0) == 7)
    }

    @Test("a long life with many keys stays bounded and exact")
    func long() {
        var cache = IdempotencyCache()
        for number in 0..<20_000 {
            let now = Double(number)
            #expect(find(&cache, ("r", "s", "\(number)"), now) == nil)
            insert(&cache, ("r", "s", "\(number)"), UInt64(number + 1), now)
            if number >= 299 { #expect(find(&cache, ("r", "s", "\(number - 299)"), now) == UInt64(number - 298)) }
            #expect(cache.count <= 300)
        }
    }

    private func insert(
        _ cache: inout IdempotencyCache, _ part: (String, String, String), _ offset: UInt64, _ now: Double
    ) {
        let (room, sender, key) = (Array(part.0.utf8), Array(part.1.utf8), Array(part.2.utf8))
        room.withUnsafeBytes { room in
            sender.withUnsafeBytes { sender in
                key.withUnsafeBytes { key in
                    cache.insert(
                        room: room, sender: sender, key: key, position: StreamPosition(offset: offset, epoch: 1),
                        now: second(now))
                }
            }
        }
    }

    private func find(
        _ cache: inout IdempotencyCache, _ part: (String, String, String), _ now: Double
    ) -> UInt64? {
        let (room, sender, key) = (Array(part.0.utf8), Array(part.1.utf8), Array(part.2.utf8))
        return room.withUnsafeBytes { room in
            sender.withUnsafeBytes { sender in
                key.withUnsafeBytes { key in
                    cache.find(room: room, sender: sender, key: key, now: second(now))?.offset
                }
            }
        }
    }
}
