// What the tests of streams share: payloads by text, moments, and keys as bytes.

import Bytes
import Rooms

func payload(_ text: String) -> Payload { Array(text.utf8).withUnsafeBytes { Payload(copying: $0) } }

func text(_ payload: Payload?) -> String? { payload.map { String(decoding: $0.bytes, as: UTF8.self) } }

func second(_ value: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(value * 1e9)) }

extension RoomStream {
    mutating func read(
        since: UInt64? = nil, limit: Int = 300, _ direction: Direction = .forward, maxBytes: Int = 1 << 20,
        at now: Double = 0
    ) -> (Coverage, [UInt64], [String]) {
        let range = query(since: since, limit: limit, direction: direction, maxBytes: maxBytes, now: second(now))
        let offsets = (0..<range.count).map { range.offset(at: $0) }
        return (range.coverage, offsets, offsets.compactMap { text(payload(at: $0)) })
    }
}
