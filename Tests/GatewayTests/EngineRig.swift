// One engine on a loop that the test turns by hand, and a record of what it told.

import Bytes
import Foundation
import Gateway
import Reactor
import Redis
import Rooms
import Telemetry
import Testing

/// Hears an engine. What it does in return is up to the test.
final class EngineRecorder: EngineDelegate {
    enum Event: Equatable {
        case published(UInt64, EngineFailure?)
        case subscribed(String, EngineFailure?)
        case received(String, String)
        case read(String, ReadTag, EngineFailure?)
        case available(Bool)
    }

    var events: [Event] = []
    var positions: [StreamPosition] = []
    /// What reads were answered, in order.
    var answers: [HistoryAnswer] = []
    var tickets: [Ticket] = []
    /// Called after each event, inside the engine's call.
    var reaction: ((Event) -> Void)?

    private func record(_ event: Event) {
        events.append(event)
        reaction?(event)
    }

    func published(_ ticket: Ticket, _ result: Result<StreamPosition, EngineFailure>) {
        tickets.append(ticket)
        switch result {
        case .success(let position):
            positions.append(position)
            record(.published(ticket.connection, nil))
        case .failure(let failure): record(.published(ticket.connection, failure))
        }
    }

    /// Where the rooms stood when they were subscribed, in order.
    var subscribedAt: [StreamPosition] = []

    func subscribed(room: UnsafeRawBufferPointer, _ result: Result<RoomStanding, EngineFailure>) {
        let name = String(decoding: room, as: UTF8.self)
        switch result {
        case .success(let standing):
            subscribedAt.append(standing.position)
            record(.subscribed(name, nil))
        case .failure(let failure): record(.subscribed(name, failure))
        }
    }

    func read(room: UnsafeRawBufferPointer, tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>) {
        let name = String(decoding: room, as: UTF8.self)
        switch result {
        case .success(let answer):
            answers.append(answer)
            record(.read(name, tag, nil))
        case .failure(let failure): record(.read(name, tag, failure))
        }
    }

    func received(room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer) {
        positions.append(position)
        record(.received(String(decoding: room, as: UTF8.self), String(decoding: fields, as: UTF8.self)))
    }

    func availabilityChanged(_ isAvailable: Bool) { record(.available(isAvailable)) }

    /// What `observed` told, in order.
    var observations: [RoomStanding] = []
    /// What `served` answers, by room.
    var servedPositions: [String: StreamPosition] = [:]

    func observed(room: UnsafeRawBufferPointer, _ standing: RoomStanding) { observations.append(standing) }

    func served(room: UnsafeRawBufferPointer) -> StreamPosition? {
        servedPositions[String(decoding: room, as: UTF8.self)]
    }
}

/// An engine, its loop and its recorder.
final class EngineRig {
    let loop: Loop
    let engine: any Engine
    let recorder = EngineRecorder()
    let registry: MetricRegistry

    init(_ make: (Loop) throws -> any Engine) throws {
        registry = MetricRegistry(loops: 1, version: "test")
        loop = try Loop(metrics: registry.shard(0))
        engine = try make(loop)
        engine.delegate = recorder
        loop.turn(wait: false)
    }

    deinit {
        engine.shutdown()
        loop.turn(wait: false)
        loop.dismantle()
    }

    /// Turns the loop until `condition` holds. The bound is only there so that a failing test ends.
    func run(
        _ what: Comment, within bound: Duration = .seconds(20), sourceLocation: SourceLocation = #_sourceLocation,
        until condition: () throws -> Bool
    ) throws {
        let clock = ContinuousClock()
        let deadline = clock.now + bound
        while try !condition() {
            if clock.now > deadline {
                Issue.record(
                    "did not happen: \(what); events: \(recorder.events.suffix(20))", sourceLocation: sourceLocation)
                throw EngineRigTimeout()
            }
            // Bounded waiting, so that the bound is looked at even if nothing happens.
            loop.turn()
        }
    }

    func runUntilAvailable() throws { try run("the engine is available") { engine.isAvailable } }

    func publish(_ room: String, _ fields: String, _ connection: UInt64 = 1) {
        publish(room, fields, Ticket(connection: connection, command: 1, loop: 0))
    }

    func publish(_ room: String, _ fields: String, _ ticket: Ticket) {
        publish(room, fields, ticket, history: nil)
    }

    /// Publishes to a room with history, or with a key, or both.
    func publish(
        _ room: String, _ fields: String, _ ticket: Ticket = Ticket(connection: 1, command: 1, loop: 0),
        history: HistoryOptions?, sender: String = "", key: String = ""
    ) {
        raw(room) { room in
            raw(fields) { fields in
                raw(sender) { sender in
                    raw(key) {
                        engine.publish(
                            room: room, fields: fields,
                            options: PublishOptions(history: history, sender: sender, key: $0), ticket: ticket)
                    }
                }
            }
        }
    }

    /// Reads and returns the answer.
    func read(
        _ room: String, _ history: HistoryOptions, _ query: HistoryQuery,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> HistoryAnswer {
        let before = recorder.answers.count
        let tag = ReadTag(purpose: .history, ticket: Ticket(connection: 1, command: UInt32(before), loop: 0))
        raw(room) { engine.read(room: $0, history: history, query, tag: tag) }
        try run("\(room) is read", sourceLocation: sourceLocation) { recorder.answers.count > before }
        #expect(recorder.events.contains(.read(room, tag, nil)), "the tag comes back", sourceLocation: sourceLocation)
        return try #require(recorder.answers.last, sourceLocation: sourceLocation)
    }

    func subscribe(_ room: String, history: HistoryOptions? = nil) {
        raw(room) { engine.subscribe(room: $0, history: history) }
    }

    /// Subscribes and waits for the answer.
    func join(_ room: String, history: HistoryOptions? = nil) throws {
        let before = count { $0 == .subscribed(room, nil) }
        subscribe(room, history: history)
        try run("\(room) is subscribed") { count { $0 == .subscribed(room, nil) } > before }
    }

    func unsubscribe(_ room: String) { raw(room) { engine.unsubscribe(room: $0) } }

    func count(_ matches: (EngineRecorder.Event) -> Bool) -> Int { recorder.events.count(where: matches) }

    /// Everything received, in order, as `room: fields`.
    var received: [String] {
        recorder.events.compactMap {
            guard case .received(let room, let fields) = $0 else { return nil }
            return "\(room): \(fields)"
        }
    }

    private func raw(_ text: String, _ body: (UnsafeRawBufferPointer) -> Void) {
        Array(text.utf8).withUnsafeBytes(body)
    }
}

struct EngineRigTimeout: Error {}

/// Settings for tests: quick to notice that Redis is away.
func redisSettings(
    _ endpoint: RedisEndpoint, publicationBytes: Int = 1 << 20, _ change: (inout LinkSettings) -> Void = { _ in }
) throws -> RedisEngineSettings {
    var link = LinkSettings()
    link.clientName = "martlet-test"
    change(&link)
    return RedisEngineSettings(
        endpoint: endpoint, link: link, names: try #require(RedisNames(prefix: "martlet")),
        publicationBytes: publicationBytes)
}

func redisRig(
    _ endpoint: RedisEndpoint, _ change: (inout LinkSettings) -> Void = { _ in }
) throws -> EngineRig {
    let settings = try redisSettings(endpoint, change)
    return try EngineRig { RedisEngine(loop: $0, settings: settings, logger: nil) }
}
