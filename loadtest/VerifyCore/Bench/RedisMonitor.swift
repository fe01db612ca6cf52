// Counts the commands that clients give a Redis, by MONITOR on a line of its own, for as long as it is open. What a
// script does inside is marked `lua` by Redis and is not counted. Only for a Redis of the test's own: MONITOR shows and
// costs everything. On the driver's loop; lines are cut at 64 KiB.

import Bytes
import LoadCore
import Reactor

/// Counts what clients ask of a Redis.
final class RedisMonitor: ConnectionHandler {
    private static let lineLimit = 65_536
    private let loop: Loop
    private var kind: UInt8 = 0
    private var id: ConnectionID?
    private var partial: [UInt8] = []
    /// Commands by name.
    private(set) var counts: [String: Int] = [:]
    /// What scripts did inside.
    private(set) var inside = 0
    /// Whether Redis has agreed.
    private(set) var isOpen = false

    init(_ loop: Loop, _ address: SocketAddress) throws {
        self.loop = loop
        kind = loop.register(self)
        id = try loop.connect(to: address, handler: kind)
    }

    /// All commands of clients.
    var total: Int { counts.values.reduce(0, +) }

    func stop() { if let id { loop.close(id) } }

    func opened(_ id: ConnectionID) { Array("MONITOR\r\n".utf8).withUnsafeBytes { loop.write(id, $0) } }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        partial += UnsafeRawBufferPointer(bytes)
        var start = 0
        while let end = partial[start...].firstIndex(of: 10) {
            take(partial[start..<end])
            start = end + 1
        }
        partial.removeFirst(start)
        if partial.count > RedisMonitor.lineLimit { partial.removeLast(partial.count - RedisMonitor.lineLimit) }
    }

    private func take(_ line: ArraySlice<UInt8>) {
        switch RedisMonitor.read(line) {
        case .agreed: isOpen = true
        case .inside: inside += 1
        case .command(let name): if counts.count < 256 || counts[name] != nil { counts[name, default: 0] += 1 }
        case .other: break
        }
    }

    /// What a line tells.
    enum Line: Equatable {
        case agreed
        /// A script's own doing.
        case inside
        case command(String)
        case other
    }

    /// Reads `+1700000000.123456 [0 127.0.0.1:5000] "GET" "key"`; inside scripts `lua` stands in the address' place.
    static func read(_ line: ArraySlice<UInt8>) -> Line {
        // An address has no bracket but IPv6's own, and those are followed by a colon.
        guard line.starts(with: Array("+1".utf8)), let open = line.firstIndex(of: UInt8(ascii: "[")),
            let quote = line.firstIndex(of: UInt8(ascii: "\"")), open < quote
        else { return line.starts(with: Array("+OK".utf8)) ? .agreed : .other }
        if line[open..<quote].reversed().starts(with: Array(" ]aul ".utf8)) { return .inside }
        let name = line[line.index(after: quote)...].prefix { $0 != UInt8(ascii: "\"") }
        return .command(String(decoding: name.prefix(32), as: UTF8.self).uppercased())
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) { self.id = nil }

    /// The names by frequency, with their rate a second.
    func line(over seconds: Double) -> String {
        counts.sorted { $0.value > $1.value }.prefix(8).map { name, count in
            "\(name) \(JSONText.short(Double(count) / max(0.001, seconds)))/s"
        }.joined(separator: ", ")
    }
}
