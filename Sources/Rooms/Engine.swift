// The engine port: what rooms need from a cluster, and nothing else. MemoryEngine (one process) and RedisEngine (many)
// stand behind it and pass the same conformance tests.
//
// One instance per loop, confined to that loop; it serves the rooms whose home the loop is. Commands carry a ticket, a
// few plain numbers, instead of a closure, so that a publish allocates nothing here. Results come to the delegate on
// the same loop, possibly before the command returns. An engine bounds what it has in flight; above that it answers
// `unavailable` at once. It never holds a command back until later.

package import Bytes
package import Wire

/// Says where the answer to an engine command belongs. Made and read by rooms; opaque to engines.
package struct Ticket: Equatable, Sendable {
    /// The connection that asked, as one word (slot and generation); 0 for commands of the gateway itself.
    package var connection: UInt64
    /// The client's command id.
    package var command: UInt32
    /// The loop of that connection.
    package var loop: UInt16

    package init(connection: UInt64, command: UInt32, loop: UInt16) {
        self.connection = connection
        self.command = command
        self.loop = loop
    }
}

/// Why an engine command failed.
package enum EngineFailure: UInt8, Error, Sendable {
    /// Never written, or refused as a whole: nothing happened. Wire error 120.
    case unavailable
    /// Written and not answered: it may have happened. Wire error 100.
    case outcomeUnknown
}

/// Where a publication stands in its room's stream.
package struct StreamPosition: Equatable, Sendable {
    /// The publication's number, from 1; 0 in rooms without history.
    package var offset: UInt64
    /// The stream's life, 0 in rooms without history. Offsets of different epochs have nothing to do with each other.
    package var epoch: UInt64

    package init(offset: UInt64, epoch: UInt64) {
        self.offset = offset
        self.epoch = epoch
    }

    /// The position in a room that keeps no history.
    package static let none = StreamPosition(offset: 0, epoch: 0)
}

/// Where a room with history stands.
package struct RoomStanding: Equatable, Sendable {
    /// Its top.
    package var position: StreamPosition
    /// The epoch before this one and the last offset that both share: whoever stands there or lower can go on as if it
    /// had always been this epoch. Nil: there is none.
    package var former: StreamPosition?

    package init(_ position: StreamPosition, former: StreamPosition? = nil) {
        self.position = position
        self.former = former
    }

    /// The standing of a room that keeps no history.
    package static let none = RoomStanding(.none)

    /// Whether whoever stands at `position` can go on from there.
    package func continues(_ position: StreamPosition) -> Bool {
        if position.epoch == self.position.epoch { return position.offset <= self.position.offset }
        guard let former else { return false }
        return position.epoch == former.epoch && position.offset <= former.offset
    }
}

/// How much of a room's past is kept.
package struct HistoryOptions: Equatable, Sendable {
    /// Publications that are kept.
    package var size: Int
    /// How long they are kept.
    package var age: Duration

    package init(size: Int, age: Duration) {
        self.size = size
        self.age = age
    }
}

/// How a publish ended.
package enum PublishOutcome: Equatable, Sendable {
    /// It was published, and stands at this position. `next`: how long the limits of the room and the user refuse
    /// another one, counted from a moment between the command and its answer; nil: they were not asked.
    case taken(StreamPosition, next: RateWaits?)
    /// The room's limits refused it, by those whose wait is not 0: nothing happened. Wire error 111.
    case limited(RateWaits)
    /// It was not published, or nobody knows.
    case failed(EngineFailure)

    /// It was published, now or before, and no limit was asked.
    package static func taken(_ position: StreamPosition) -> PublishOutcome { .taken(position, next: nil) }
}

/// Beside what is published: how it is to be kept, recognised and limited.
package struct PublishOptions {
    /// Nil in rooms without history: at most once, and no position.
    package var history: HistoryOptions?
    /// Whose the key is, so that nobody can swallow another's publication.
    package var sender: UnsafeRawBufferPointer
    /// A publication of the same sender with the same key is published once; empty: no key.
    package var key: UnsafeRawBufferPointer
    /// The limits that hold for this publication, over all nodes. Nil: none, or it is exempt (who speaks for the
    /// operator is). A repetition by `key` is never limited.
    package var limits: RateLimits?
    /// Whom the user's limit counts.
    package var talker: UnsafeRawBufferPointer

    package init(
        history: HistoryOptions? = nil, sender: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        key: UnsafeRawBufferPointer = .init(start: nil, count: 0), limits: RateLimits? = nil,
        talker: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        self.history = history
        self.sender = sender
        self.key = key
        self.limits = limits
        self.talker = talker
    }
}

/// What to read of a room's stream.
package struct HistoryQuery: Sendable {
    package var direction: RoomStream.Direction
    /// Where the reader stands; nil: nowhere. Its epoch may be a former one that the stream still continues.
    package var since: StreamPosition?
    /// Most entries; 0: only the position.
    package var limit: Int
    /// Most bytes of the entries together.
    package var maxBytes: Int

    package init(direction: RoomStream.Direction, since: StreamPosition?, limit: Int, maxBytes: Int) {
        self.direction = direction
        self.since = since
        self.limit = limit
        self.maxBytes = maxBytes
    }
}

/// What was read.
package struct HistoryAnswer: Sendable {
    /// Where the stream stands.
    package var standing: RoomStanding
    /// Whether the reader's epoch is the stream's, or one that it continues up to the reader's offset.
    package var isContinuous: Bool
    /// How far it is what was asked for.
    package var coverage: RoomStream.Coverage
    /// Offset of the first entry in reading order.
    package var start: UInt64
    package var isReverse: Bool
    package var entries: [Payload]

    package init(
        standing: RoomStanding, isContinuous: Bool, coverage: RoomStream.Coverage, start: UInt64 = 0,
        isReverse: Bool = false, entries: [Payload] = []
    ) {
        self.standing = standing
        self.isContinuous = isContinuous
        self.coverage = coverage
        self.start = start
        self.isReverse = isReverse
        self.entries = entries
    }

    /// The stream's top.
    package var position: StreamPosition { standing.position }

    /// The offset of the entry at `index`.
    package func offset(at index: Int) -> UInt64 { isReverse ? start - UInt64(index) : start + UInt64(index) }
}

/// Who asked to read, so that the answer finds back. Opaque to engines.
package struct ReadTag: Equatable, Sendable {
    package enum Purpose: UInt8, Sendable {
        /// The home loop mends the flow; `command` is the question's number.
        case repair
        /// A returning member.
        case recovery
        /// A `history` command.
        case history
        /// The home loop fills its tail, so that many returning members cost one question.
        case tail
    }

    package var purpose: Purpose
    package var ticket: Ticket

    package init(purpose: Purpose, ticket: Ticket) {
        self.purpose = purpose
        self.ticket = ticket
    }
}

/// A cluster as the rooms of one loop see it.
package protocol Engine: AnyObject {
    /// Who hears the results. Set once, before the first command.
    var delegate: (any EngineDelegate)? { get set }

    /// Whether commands are accepted now. While false, each is answered `unavailable` at once.
    var isAvailable: Bool { get }

    /// Whether the store is the one that rooms know. While false it is away, or may have come back with less than they
    /// were told: nobody is to be let in on the strength of what is remembered here.
    var isStoreKnown: Bool { get }

    /// Members that were let in and have not left, over all rooms of this loop.
    var memberCount: Int { get }

    /// Publishes to `room` what `fields` holds: the members of the publication object without braces, offset and
    /// channel, for example `"data":{"text":"hi"},"info":{…}`. Both are copied before the call returns. Answered by
    /// `published(ticket, …)`; every subscriber in the cluster, this node included, then hears `received`.
    ///
    /// In a room with history the answer comes after the publication has been appended, with its position. With limits
    /// both are judged and charged in the same step; one that refuses leaves both as they were.
    func publish(
        room: UnsafeRawBufferPointer, fields: UnsafeRawBufferPointer, options: PublishOptions, ticket: Ticket)

    /// Starts the flow of `room`'s publications. Answered by `subscribed(room, …)`. Idempotent. After a success the
    /// engine keeps the subscription through every reconnection until `unsubscribe`.
    ///
    /// In a room with history the answer's position is read after the flow has begun: what is published behind it comes
    /// by `received`.
    func subscribe(room: UnsafeRawBufferPointer, history: HistoryOptions?)

    /// Reads the stream of a room with history. Answered by `read(tag, …)`.
    func read(room: UnsafeRawBufferPointer, history: HistoryOptions, _ query: HistoryQuery, tag: ReadTag)

    /// Lets `member` into a room with presence. Answered by `entered(room, …)`; before or after that every subscriber
    /// in the cluster hears `memberChanged`, where the rules have it told. Whoever is there already only stays. The
    /// engine keeps the member through reconnections and losses of the store until `leave`.
    func enter(room: UnsafeRawBufferPointer, member: Member, presence: PresenceOptions, ticket: Ticket)

    /// A member's connection broke: the same user's next connection takes its place. Not answered.
    func linger(room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions)

    /// Takes a member out; `onlyIfLingering`: unless it has come back. Not answered; what cannot be done now is done
    /// when the store is back.
    func leave(room: UnsafeRawBufferPointer, client: ClientID, presence: PresenceOptions, onlyIfLingering: Bool)

    /// Lists or counts the members of a room. Answered by `membersRead(ticket, …)`.
    func members(room: UnsafeRawBufferPointer, _ query: MemberQuery, ticket: Ticket)

    /// Ends the flow. Not answered. What is on its way may still be received.
    func unsubscribe(room: UnsafeRawBufferPointer)

    /// Lets go of everything; nothing is answered any more.
    func shutdown()
}

/// What an engine tells the rooms of its loop. `room` and `fields` are valid during the call only.
package protocol EngineDelegate: AnyObject {
    /// The answer to `publish`.
    func published(_ ticket: Ticket, _ outcome: PublishOutcome)
    /// The answer to `subscribe`.
    func subscribed(room: UnsafeRawBufferPointer, _ result: Result<RoomStanding, EngineFailure>)
    /// The answer to `read`.
    func read(room: UnsafeRawBufferPointer, tag: ReadTag, _ result: Result<HistoryAnswer, EngineFailure>)
    /// The answer to `enter`.
    func entered(
        room: UnsafeRawBufferPointer, client: ClientID, ticket: Ticket, _ result: Result<Void, EntryRefusal>)
    /// The answer to `members`.
    func membersRead(_ ticket: Ticket, _ query: MemberQuery, _ result: Result<MemberPage, EngineFailure>)
    /// Somebody has joined or left a subscribed room.
    func memberChanged(room: UnsafeRawBufferPointer, _ event: MemberEvent)
    /// How presence works in a room; nil: nobody keeps track there. Asked about rooms that other nodes have served.
    func presence(of room: UnsafeRawBufferPointer) -> PresenceOptions?
    /// A publication of a subscribed room, in the room's order.
    func received(room: UnsafeRawBufferPointer, position: StreamPosition, fields: UnsafeRawBufferPointer)
    /// A subscribed room with history was seen to stand at `standing`, by an audit or since the store has changed.
    /// Nothing is to be done where that is where its members were served up to.
    func observed(room: UnsafeRawBufferPointer, _ standing: RoomStanding)
    /// The engine went away or came back (with its subscriptions); for readiness and metrics.
    func availabilityChanged(_ isAvailable: Bool)
    /// Up to where the members of a room with history were served; nil: the room has no stream here. Asked when the
    /// engine has to know what this node has seen of a room.
    func served(room: UnsafeRawBufferPointer) -> StreamPosition?
}
