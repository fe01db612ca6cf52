// `martlet-load fanout`: rooms, and every member's books.

import ArgumentParser
import LoadCore

struct Fanout: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rooms full of members, some of which publish; every member's deliveries are checked.",
        discussion: """
            Every message carries its publisher, its number there and the time
            at which it was due, so that loss, duplicates and order are counted
            for every member. At the end the tool waits for what is under way.

              martlet-load fanout --members 1000 --pid $(pgrep -x martlet)
              martlet-load fanout --members 1000 --window 16 --pid $(pgrep -x martlet)
              martlet-load fanout --rooms 100 --members 100 --rate 800 --seconds 20
            In the closed loop a publisher sends its next message when its own
            comes back. A server that limits the commands of a connection must
            be told not to: {"client": {"rate": "0"}}.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var messages: MessageOptions

    @Option(help: "Rooms.")
    var rooms = 1

    @Option(help: "Members of each room, the publishers included.")
    var members = 100

    @Option(help: "Members of each room that publish.")
    var publishers = 1

    @Option(help: "Name of a room, a template; %r is the room's number.")
    var room = "load-%r"

    @Option(help: "Bytes of a message's data: at least 39.")
    var bytes = 128

    func validate() throws {
        guard rooms >= 1, rooms < Marker.roomLimit else { throw ValidationError("--rooms must be 1 to 16777215") }
        guard members >= 1, members <= 1_000_000 else { throw ValidationError("--members must be 1 to 1000000") }
        guard publishers >= 1, publishers <= min(members, Marker.publisherLimit - 1) else {
            throw ValidationError("--publishers must be 1 to the number of --members")
        }
        guard rooms == 1 || room.contains("%r") else { throw ValidationError("--room needs %r when there are several") }
        try checkRoom(room)
        guard bytes >= Marker.length, bytes <= 1 << 20 else {
            throw ValidationError("--bytes must be \(Marker.length) to 1048576")
        }
        _ = try plan()
    }

    private func plan() throws -> LoadPlan {
        let (connections, overflow) = rooms.multipliedReportingOverflow(by: members)
        var plan = try common.plan(.fanout, connections: overflow ? .max : connections)
        plan.rooms = rooms
        plan.publishers = publishers
        plan.room = room
        plan.bytes = bytes
        try messages.apply(to: &plan)
        return plan
    }

    func run() throws { try common.execute(try plan()) }
}
