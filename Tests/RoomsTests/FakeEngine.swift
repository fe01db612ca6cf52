// An engine of one process that answers now, later, or not at all, and whose live messages a test may hold back, drop,
// double and reorder. Rooms with history have a real stream behind them. What is published is taken at once or never;
// only answers wait.

import Bytes
import Wire

@testable import Rooms

/// An engine that does as a test says.
final class FakeEngine: Engine {
    enum Mode: Equatable {
        case now
        case later
        case fail(EngineFailure)
    }

    /// A publication on its way from the engine to the room's home.
    struct Live: Equatable {
        var room: String
        var fields: String
        var position: StreamPosition
    }

    /// A question about a stream.
    struct Read {
        var room: String
        var purpose: ReadTag.Purpose
        var query: HistoryQuery
    }

    var delegate: (any EngineDelegate)?
    var isAvailable = true
    var isStoreKnown = true
    var subscribeMode = Mode.now
    var publishMode = Mode.now
    var readMode = Mode.now
    /// Rooms with a flow, or with one that is being started.
    var flows: Set<String> = []
    var subscribeCalls = 0
    var unsubscribeCalls = 0
    var readCalls: Int { reads.count }
    /// What was published here, in order: room and fields.
    var published: [(room: String, fields: String)] = []
    /// Answers that wait to be given, those about streams with their purpose.
    private var waiting: [(purpose: ReadTag.Purpose?, give: (EngineFailure?) -> Void)] = []
    /// What rooms without history say of a publication.
    var offset: UInt64 = 0
    var streams: [String: RoomStream] = [:]
    /// What every position ever meant, by room, epoch and offset.
    var truth: [String: String] = [:]
    /// Live messages of rooms with history wait in `live` until a test delivers them.
    var holdsLive = false
    var live: [Live] = []
    /// The former epoch of each room, and what it shares with the one of now.
    private(set) var formers: [String: StreamPosition] = [:]
    /// What every epoch shared with the one before it, by room and epoch.
    private(set) var shared: [String: StreamPosition] = [:]
    /// Questions about streams, in order.
    private(set) var reads: [Read] = []
    /// Epochs that this engine has made.
    private(set) var epochs: UInt64 = 0
    private var keys: [[String]: StreamPosition] = [:]
    /// What limits know, as the embedded engine keeps it.
    var rates = RateLedger()
    /// Publishes that reached the engine.
    private(set) var publishCalls = 0
    private let now: () -> MonotonicTime

    init(now: @escaping () -> MonotonicTime) { self.now = now }

    func publish(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, options: PublishOptions, ticket: Ticket
    ) {
        let name = text(room)
        let fields = text(fields)
        let key = [name, text(options.sender), text(options.key)]
        let history = options.history
        let limits = options.limits
        let talker = text(options.talker)
        publishCalls += 1
        answer(publishMode) { [self] failure in
            if let failure {
                delegate?.published(ticket, .failed(failure))
                return
            }
            if !key[2].isEmpty, let known = keys[key] {
                delegate?.published(ticket, .taken(known))
                return
            }
            let waits = limits.map { admit(name, talker, $0) } ?? .success(nil)
            guard case .success(let next) = waits else {
                if case .failure(let refusal) = waits { delegate?.published(ticket, .limited(refusal.waits)) }
                return
            }
            published.append((name, fields))
            var position = StreamPosition(offset: offset, epoch: 0)
            if let history { position = append(name, fields, history) }
            if !key[2].isEmpty { keys[key] = position }
            if flows.contains(name) {
                if history != nil, holdsLive {
                    live.append(Live(room: name, fields: fields, position: position))
                } else {
                    deliver(name, fields, position)
                }
            }
            delegate?.published(ticket, .taken(position, next: next))
        }
    }

    private struct Refusal: Error { var waits: RateWaits }

    private func admit(_ room: String, _ talker: String, _ limits: RateLimits) -> Result<RateWaits?, Refusal> {
        var result: Result<RateWaits?, Refusal> = .success(nil)
        bytes(room) { room in
            bytes(talker) { talker in
                let judgement = rates.judge(room: room, talker: talker, limits, now: now())
                if judgement.isAdmitted { rates.charge(room: room, talker: talker, judgement, now: now()) }
                result = judgement.isAdmitted ? .success(judgement.waits) : .failure(Refusal(waits: judgement.waits))
            }
        }
        return result
    }

    func deliver(_ room: String, _ fields: String, _ position: StreamPosition = .none) {
        guard flows.contains(room) || position.epoch == 0 else { return }
        bytes(room) { name in
            bytes(fields) { delegate?.received(room: name, position: position, fields: $0) }
        }
    }

    /// Delivers what is held back, in order.
    func deliverLive() {
        let all = live
        live = []
        for message in all { deliver(message.room, message.fields, message.position) }
    }

    func subscribe(room: UnsafeRawBufferPointer, history: HistoryOptions?) {
        subscribeCalls += 1
        let name = text(room)
        if case .fail = subscribeMode {} else { flows.insert(name) }
        answer(subscribeMode) { [self] failure in
            let position = history.map { stream(name, $0).position } ?? .none
            bytes(name) {
                delegate?.subscribed(room: $0, failure.map { .failure($0) } ?? .success(standing(name, position)))
            }
        }
    }

    func unsubscribe(room: UnsafeRawBufferPointer) {
        unsubscribeCalls += 1
        flows.remove(text(room))
    }

    func read(room: UnsafeRawBufferPointer, history: HistoryOptions, _ query: HistoryQuery, tag: ReadTag) {
        let name = text(room)
        reads.append(Read(room: name, purpose: tag.purpose, query: query))
        // Taken now, told later: by then the room may have moved on.
        let taken = answer(name, history, query)
        answer(readMode, tag.purpose) { [self] failure in
            bytes(name) { delegate?.read(room: $0, tag: tag, failure.map { .failure($0) } ?? .success(taken)) }
        }
    }

    func shutdown() { delegate = nil }

    // MARK: Presence

    var enterMode = Mode.now
    /// Who is in; joins come before the answer to whoever enters, as they may by pub/sub, unless they are held.
    var members: [String: PresenceSet] = [:]
    /// What was told of members, held back until a test delivers it.
    var holdsEvents = false
    private(set) var events: [() -> Void] = []
    /// Calls in order: "enter", "linger", "leave", and "expire" for a leave only of whoever lingers.
    private(set) var presenceCalls: [String] = []
    /// Which of a member's entrances was the last.
    private var entrances: [String: Int] = [:]
    var memberCount: Int { members.values.reduce(0) { $0 + $1.count } }

    func enter(room: UnsafeRawBufferPointer, member: Member, presence: PresenceOptions, ticket: Ticket) {
        let name = text(room)
        let client = member.client
        presenceCalls.append("enter \(name)")
        if case .fail(let failure) = enterMode {
            delegate?.entered(room: room, client: client, ticket: ticket, .failure(.engine(failure)))
            return
        }
        // In the order of the calls; what may wait is the answer. Else whoever leaves meanwhile would come back.
        var entrance = PresenceSet.Entrance.full
        change(name) { set, tell in entrance = set.enter(member, presence, tell: tell) }
        let key = "\(name) \(client.words)"
        entrances[key, default: 0] += 1
        let number = entrances[key]
        answer(enterMode) { [self] failure in
            var result: Result<Void, EntryRefusal> = entrance == .full ? .failure(.full) : .success(())
            if let failure {
                result = .failure(.engine(failure))
                if entrances[key] == number { change(name) { set, tell in set.leave(client, presence, tell: tell) } }
            }
            bytes(name) { delegate?.entered(room: $0, client: client, ticket: ticket, result) }
        }
    }

    func linger(room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions) {
        presenceCalls.append("linger \(text(room))")
        change(text(room)) { set, _ in set.linger(client) }
    }

    func leave(
        room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions, onlyIfLingering: Bool
    ) {
        presenceCalls.append("\(onlyIfLingering ? "expire" : "leave") \(text(room))")
        change(text(room)) { set, tell in
            if !onlyIfLingering || set.lingers(client) { set.leave(client, presence, tell: tell) }
        }
    }

    func members(room: UnsafeRawBufferPointer, _ query: MemberQuery, ticket: Ticket) {
        let page = (members[text(room)] ?? PresenceSet()).page(query)
        answer(readMode) { [self] failure in
            delegate?.membersRead(ticket, query, failure.map { .failure($0) } ?? .success(page))
        }
    }

    /// Delivers what was told of members.
    func deliverEvents() {
        let due = events
        events = []
        for event in due { event() }
    }

    private func change(_ name: String, _ body: (inout PresenceSet, (MemberEvent) -> Void) -> Void) {
        // Taken out, or it would be copied.
        var set = members.removeValue(forKey: name) ?? PresenceSet()
        var told: [() -> Void] = []
        body(&set) { event in
            let (isJoin, client, user) = (event.isJoin, payload(text(event.client)), payload(text(event.user)))
            let info = payload(text(event.info))
            told.append { [self] in
                guard flows.contains(name) else { return }
                let event = MemberEvent(isJoin: isJoin, client: client.bytes, user: user.bytes, info: info.bytes)
                bytes(name) { delegate?.memberChanged(room: $0, event) }
            }
        }
        members[name] = set.count > 0 ? set : nil
        if holdsEvents { events += told } else { for event in told { event() } }
    }

    /// Gives the answers that wait, or those about streams whose purpose is meant.
    func answerWaiting(_ isMeant: (ReadTag.Purpose?) -> Bool = { _ in true }) {
        let due = waiting.filter { isMeant($0.purpose) }
        waiting.removeAll { isMeant($0.purpose) }
        for answer in due { answer.give(nil) }
    }

    /// Gives the oldest answer that waits.
    func answerFirst() { if !waiting.isEmpty { waiting.removeFirst().give(nil) } }

    /// What waits for an answer has failed.
    func failWaiting(_ failure: EngineFailure) {
        let due = waiting
        waiting = []
        for answer in due { answer.give(failure) }
    }

    /// The room's past is gone; its next life has another epoch.
    func beginAnew(_ room: String) {
        epochs += 1
        streams[room]?.reset(epoch: epochs, top: 0)
        formers[room] = nil
    }

    /// The store lost what is above `offset`, or nothing: the room goes on from there in an epoch that names the former
    /// one.
    func renewEpoch(_ room: String, sharing offset: UInt64? = nil) {
        guard let old = streams[room] else { return }
        let top = min(offset ?? old.top, old.top)
        epochs += 1
        let kept = old.count > 0 && old.oldest <= top ? Array(old.oldest...top) : []
        var new = RoomStream(epoch: epochs, top: top - UInt64(kept.count), limits: old.limits)
        for offset in kept {
            guard let payload = old.payload(at: offset) else { continue }
            _ = new.append(payload, now: now())
            truth["\(room) \(new.epoch) \(offset)"] = String(decoding: payload.bytes, as: UTF8.self)
        }
        streams[room] = new
        formers[room] = StreamPosition(offset: top, epoch: old.epoch)
        shared["\(room) \(new.epoch)"] = formers[room]
    }

    /// Says of a flow that it has begun at `position`, whatever the truth is.
    func begin(_ room: String, at position: StreamPosition) {
        bytes(room) { delegate?.subscribed(room: $0, .success(RoomStanding(position))) }
    }

    /// Looks where a room stands and says so.
    func audit(_ room: String) {
        guard let position = streams[room]?.position else { return }
        bytes(room) { delegate?.observed(room: $0, standing(room, position)) }
    }

    /// Up to where this node says that it has served a room.
    func served(_ room: String) -> StreamPosition? {
        var position: StreamPosition?
        bytes(room) { position = delegate?.served(room: $0) }
        return position
    }

    // MARK: Streams

    private func standing(_ room: String, _ position: StreamPosition) -> RoomStanding {
        RoomStanding(position, former: formers[room])
    }

    private func stream(_ name: String, _ history: HistoryOptions) -> RoomStream {
        if let stream = streams[name] { return stream }
        epochs += 1
        let limits = RoomStream.Limits(entries: history.size, bytes: 1 << 24, age: history.age)
        let stream = RoomStream(epoch: epochs, limits: limits)
        streams[name] = stream
        return stream
    }

    private func append(_ name: String, _ fields: String, _ history: HistoryOptions) -> StreamPosition {
        var stream = stream(name, history)
        _ = stream.append(payload(fields), now: now())
        streams[name] = stream
        truth["\(name) \(stream.epoch) \(stream.top)"] = fields
        return stream.position
    }

    private func answer(_ name: String, _ history: HistoryOptions, _ query: HistoryQuery) -> HistoryAnswer {
        var stream = stream(name, history)
        var answer = HistoryAnswer(
            standing: standing(name, stream.position), isContinuous: true, coverage: .complete)
        if let since = query.since, since.epoch != stream.epoch {
            answer.isContinuous = answer.standing.continues(since)
        }
        guard answer.isContinuous else { return answer }
        let range = stream.query(
            since: query.since?.offset, limit: query.limit, direction: query.direction, maxBytes: query.maxBytes,
            now: now())
        answer.coverage = range.coverage
        answer.start = range.start
        answer.isReverse = range.isReverse
        answer.entries = (0..<range.count).compactMap { stream.payload(at: range.offset(at: $0)) }
        return answer
    }

    private func answer(
        _ mode: Mode, _ purpose: ReadTag.Purpose? = nil, _ body: @escaping (EngineFailure?) -> Void
    ) {
        switch mode {
        case .now: body(nil)
        case .later: waiting.append((purpose, body))
        case .fail(let failure): body(failure)
        }
    }

    private func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

    private func bytes(_ text: String, _ body: (UnsafeRawBufferPointer) -> Void) {
        Array(text.utf8).withUnsafeBytes(body)
    }
}
