// Taking a dead node's members out. The registry gives each dead node to one survivor with a beat, and to another one
// when that does not come back; whoever does it walks the rooms that the dead node had listed. The scripts look at each
// member, so nobody is taken out twice, and nobody who has come back under another name.
//
// Rooms give members of broken connections a grace; for those of a dead node it counts from the node's last sign of
// life, so a room with a long grace waits for the rest of it. Bounded by one node at a time, a page of its rooms, and
// `callsInFlight`. On the engine's loop.

import Bytes
import Logging
import Reactor
import Redis
import Rooms
import Telemetry

/// How far the reaping of a dead node has come.
struct Reaping {
    let order: ReapOrder
    let lastHeard: MonotonicTime
    /// Where the list of its rooms is to be read on; nil: it was read to its end.
    var cursor: UInt64? = 0
    var isReading = false
    /// Rooms that are due, and those whose grace runs.
    var rooms: [Payload] = []
    var later: [(room: Payload, due: MonotonicTime)] = []
    var inFlight = 0
    var removed = 0
}

extension RedisEngine {
    private static let roomsAtOnce = 256
    private static let membersAtOnce = 200
    private static let callsInFlight = 16
    /// Rooms that are kept in mind before more of the list is read.
    private static let mostRooms = 1024

    /// The registry has given a dead node to this one.
    func reap(_ order: ReapOrder) {
        guard state.pointee.presence.reaping == nil else { return }
        #if MARTLET_MUTANTS
        if PlantedDefect.neverReaps.isOn { return }
        #endif
        state.pointee.presence.reaping = Reaping(order: order, lastHeard: loop.now + (.zero - order.silence))
        logger?.notice(
            "a node is dead; its members leave",
            metadata: metadata().merging([
                "martlet.node": .string(String(decoding: order.incarnation, as: UTF8.self)),
                "duration_ms": .stringConvertible(order.silence.wholeMilliseconds),
            ]) { $1 })
        continueReaping()
    }

    /// Does what can be done now; called with every beat and every answer.
    func continueReaping() {
        guard canCall, var reaping = state.pointee.presence.reaping else { return }
        let due = reaping.later.partition { $0.due <= loop.now }
        reaping.rooms += reaping.later[due...].map(\.room)
        reaping.later.removeSubrange(due...)
        while reaping.inFlight < RedisEngine.callsInFlight, let room = reaping.rooms.popLast() {
            let options = delegate?.presence(of: room.bytes) ?? RedisEngine.unknownRoom
            let end = reaping.lastHeard + options.grace
            guard end <= loop.now else {
                reaping.later.append((room, end))
                continue
            }
            let scope = PresenceScope(
                room: room.bytes, node: reaping.order.incarnation, isByUser: options.scope == .user,
                mostTold: options.toldUpTo, isTold: !reaping.order.isQuiet)
            let isSent = send(.reap(room, reaping.order.incarnation)) {
                scope.appendReap(most: RedisEngine.membersAtOnce, to: &$0, names: settings.names)
            }
            guard isSent else {
                reaping.rooms.append(room)
                break
            }
            reaping.inFlight += 1
        }
        let known = reaping.rooms.count + reaping.later.count
        if let cursor = reaping.cursor, !reaping.isReading, known < RedisEngine.mostRooms {
            reaping.isReading = readRooms(of: reaping.order.incarnation, from: cursor)
        }
        state.pointee.presence.reaping = reaping
        writeCommands()
        if reaping.cursor == nil, known == 0, reaping.inFlight == 0 { finishReaping(reaping) }
    }

    /// How presence works in a room whose namespace is not configured here: nobody waits, everybody is told.
    private static let unknownRoom: PresenceOptions = {
        var options = PresenceOptions()
        options.tellsJoins = true
        options.grace = .zero
        return options
    }()

    private func readRooms(of incarnation: [UInt8], from cursor: UInt64) -> Bool {
        send(.reapRooms(incarnation)) { output in
            output.beginCommand(5)
            output.appendArgument("SSCAN")
            settings.names.appendNodeRoomsArgument(incarnation, to: &output)
            output.appendArgument(decimal: cursor)
            output.appendArgument("COUNT")
            output.appendArgument(decimal: UInt64(RedisEngine.roomsAtOnce))
        }
    }

    /// A page of the dead node's rooms was answered.
    func reapRoomsRead(_ incarnation: [UInt8], _ outcome: CommandOutcome) {
        guard state.pointee.presence.reaping?.order.incarnation == incarnation else { return }
        state.pointee.presence.reaping?.isReading = false
        guard case .reply(let reply) = outcome else { return }
        guard reply.count == 2, let text = reply[0], let next = UInt64(decimal: text.bytes), let page = reply[1] else {
            return distrust()
        }
        var rooms: [Payload] = []
        page.forEach { rooms.append(Payload(copying: $0.bytes)) }
        state.pointee.presence.reaping?.rooms += rooms
        state.pointee.presence.reaping?.cursor = next == 0 ? nil : next
        continueReaping()
    }

    /// Members of a room were taken out.
    func reaped(_ room: Payload, _ incarnation: [UInt8], _ outcome: CommandOutcome) {
        guard state.pointee.presence.reaping?.order.incarnation == incarnation else { return }
        state.pointee.presence.reaping?.inFlight -= 1
        guard case .reply(let reply) = outcome else {
            // Whatever hinders it: with the next beat.
            state.pointee.presence.reaping?.rooms.append(room)
            return
        }
        guard let result = ReapResult(reply) else { return distrust() }
        metrics.add(.engineCommands(.presence, .ok))
        state.pointee.presence.reaping?.removed += result.removed
        if result.left > 0 { state.pointee.presence.reaping?.rooms.append(room) }
        continueReaping()
    }

    private func finishReaping(_ reaping: Reaping) {
        let isSent = send(.plain) { output in
            output.beginCommand(2)
            output.appendArgument("DEL")
            settings.names.appendNodeRoomsArgument(reaping.order.incarnation, to: &output)
        }
        guard isSent else { return }
        writeCommands()
        metrics.add(.nodeReaps)
        state.pointee.presence.reaped = reaping.order.incarnation
        state.pointee.presence.reaping = nil
        logger?.notice(
            "the members of a dead node have left",
            metadata: metadata().merging([
                "martlet.node": .string(String(decoding: reaping.order.incarnation, as: UTF8.self)),
                "martlet.members": .stringConvertible(reaping.removed),
            ]) { $1 })
    }
}
