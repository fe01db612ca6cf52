// Makes a correct server defective from behind: changes its keys in Redis, or filters its pub/sub link so that its own
// probe still works. Keys are those of the published layout: {room}:s the stream, {room}:m the top, {room}:i: results
// of idempotent publishes. On the driver's loop, a few commands ten times a second.
//
// A server that repairs what is done to it is not defective, and then nothing is to be found: M7, M8 and M15 are safe
// only with the server's own switches.

import Bytes
import Reactor

/// A defect in and before Redis.
final class Tampering {
    private let mutant: Mutant
    private let rig: ClusterRig
    private let rooms: Int
    private var isActive = false
    private var round = 0
    private static let prefix = "martlet"

    init(_ mutant: Mutant, rig: ClusterRig, rooms: Int) {
        self.mutant = mutant
        self.rig = rig
        self.rooms = rooms
    }

    func start() {
        isActive = true
        if mutant == .staysDeaf {
            var rule = LinkRule()
            rule.dropMessagesPer10000 = 10_000
            rule.sparesOwnChannel = true
            // Later than the clients have joined, so that they are deafened and not kept out.
            rig.loop.schedule(after: .seconds(2)) { [weak self] in
                self?.rig.gateways.first?.redisProxy?.set(rule, for: [.subscriptions], [.down])
            }
            return
        }
        tick()
    }

    func stop() { isActive = false }

    private func key(_ room: Int, _ kind: String) -> String { "\(Tampering.prefix):{\(RoomNames.name(room))}:\(kind)" }

    private func tick() {
        guard isActive else { return }
        let room = round % rooms
        round += 1
        switch mutant {
        case .publishesWithoutAppending: removeNewest(room, alsoTop: false)
        case .reusesOffsets where round % 20 == 0: removeNewest(room, alsoTop: true)
        case .doesNotDeduplicate: for one in 0..<rooms { forgetKeys(one) }
        case .keepsTheEpoch: keepEpoch(room)
        default: break
        }
        rig.loop.schedule(after: .milliseconds(100)) { [weak self] in self?.tick() }
    }

    private func script(_ text: String, _ room: Int) {
        rig.redisControl?.send(["EVAL", text, "2", key(room, "s"), key(room, "m")])
    }

    /// Takes the newest entry out of the stream; with `alsoTop` its number, too, is free again.
    private func removeNewest(_ room: Int, alsoTop: Bool) {
        let lower = """
            local m = redis.call('HGETALL', KEYS[2]); local top = string.match(e[1][1], '^(%d+)');
            for i = 1, #m, 2 do
              if m[i+1] == top then redis.call('HSET', KEYS[2], m[i], tostring(tonumber(top) - 1)) end
            end;
            """
        script(
            """
            local e = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1); if #e == 0 then return 0 end;
            \(alsoTop ? lower : "") redis.call('XDEL', KEYS[1], e[1][1]); return 1
            """, room)
    }

    private func forgetKeys(_ room: Int) {
        let pattern = "\(Tampering.prefix):{\(RoomNames.name(room))}:i:*"
        rig.redisControl?.send([
            "EVAL", "for _, k in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', k) end", "0", pattern,
        ])
    }

    /// Keeps a copy of the room's record outside of what FLUSHALL removes: in the script's own text.
    private func keepEpoch(_ room: Int) {
        rig.redisControl?.send(["HGETALL", key(room, "m")]) { [weak self] reply in
            guard let self, let reply else { return }
            let words = reply.withUnsafeBytes { all in (RESPFrames.bulks(all) ?? []).map { Array(all[$0]) } }
            let fields = words.map { String(decoding: $0, as: UTF8.self) }
            if fields.count >= 2 { remembered[room] = fields } else { restore(room) }
        }
    }

    private var remembered: [Int: [String]] = [:]

    private func restore(_ room: Int) {
        guard var fields = remembered[room] else { return }
        // Every whole number is a top or a time; the epoch is text.
        for index in stride(from: 1, to: fields.count, by: 2) where UInt64(fields[index]) != nil { fields[index] = "0" }
        rig.redisControl?.send(["HSET", key(room, "m")] + fields)
    }
}
