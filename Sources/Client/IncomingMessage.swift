// What a server says, in values that the session can keep: Wire parses each line of a text frame into views of the
// frame, this copies out what a client acts on. Called by the session for each message; a malformed line ends the
// connection, a kind that is not known here is passed over, so that a newer server can be talked to.

import Bytes
import Wire

/// What `connect` brought.
struct Welcome: Equatable {
    var client = ""
    var version = ""
    var node = ""
    /// Seconds between the server's pings; 0 when it sends none.
    var ping: UInt32 = 0
    /// Whether pings are to be answered.
    var pong = false
    /// Rooms that the server subscribed us to.
    var rooms: [String] = []
    /// How each of `rooms` was entered.
    var entrances: [Entrance] = []
}

/// How a room was entered.
struct Entrance: Equatable {
    var isRecoverable = false
    var wasRecovering = false
    var isRecovered = false
    var mark = StreamMark(epoch: "", offset: 0)
    var publications: [RoomPublication] = []
    var data: [UInt8] = []
}

/// One reply or push.
enum IncomingMessage: Equatable {
    /// The server asks for life.
    case ping
    case failure(id: UInt32, ServerError)
    case connected(id: UInt32, Welcome)
    case subscribed(id: UInt32, Entrance)
    case published(id: UInt32, StreamMark?)
    case presence(id: UInt32, MemberPage)
    case presenceStats(id: UInt32, clients: UInt32, users: UInt32)
    case history(id: UInt32, [RoomPublication], StreamMark?)
    /// A reply that carries nothing which a client needs: to unsubscribe, ping and the like.
    case done(id: UInt32)
    case publication(RoomPublication)
    case join(room: String, PeerInfo)
    case leave(room: String, PeerInfo)
    case unsubscribe(room: String, code: UInt32, reason: String)
    case subscribe(room: String, Entrance)
    case message([UInt8])
    case disconnect(code: UInt32, reason: String)
    /// Nothing that is known here.
    case other
}

/// Decodes text frames. Keeps its scratch memory from one to the next.
struct IncomingDecoder: ~Copyable {
    /// Publications or subscriptions in one message; more are malformed. Members of one page; more are left out, since
    /// a server that knows no pages may have them. Frames are bounded before.
    static let entriesLimit = 10_000

    private var line = ByteBuffer()
    /// Strings of list entries: apart from `line`, in which the message itself may have some.
    private var entry = ByteBuffer()

    /// Calls `body` with each message of the frame in order; throws, after those before it, at a malformed one.
    mutating func decode(_ frame: UnsafeRawBufferPointer, _ body: (IncomingMessage) -> Void) throws(WireError) {
        var lines = LineSplitter(frame)
        while let text = lines.next() {
            do {
                body(try convert(try JSONCodec.message(text, scratch: &line)))
            } catch {
                guard error == .unknownKind else { throw error }
                body(.other)
            }
        }
        line.removeAll(keepingAtMost: 65_536)
        entry.removeAll(keepingAtMost: 65_536)
    }

    private mutating func convert(_ message: ServerMessage) throws(WireError) -> IncomingMessage {
        switch message {
        case .ping: .ping
        case .unknownPush: .other
        case .reply(let id, let reply): try convert(id, reply)
        case .push(let room, let push): try convert(Self.text(room), push)
        }
    }

    private mutating func convert(_ id: UInt32, _ reply: Reply) throws(WireError) -> IncomingMessage {
        switch reply {
        case .error(let error):
            let retry = error.retryAfter > 0 ? Duration.milliseconds(Int64(clamping: error.retryAfter)) : nil
            let message = Self.text(error.message)
            return .failure(
                id: id,
                ServerError(code: error.code, message: message, isTemporary: error.isTemporary, retryAfter: retry))
        case .connect(let result): return .connected(id: id, try welcome(result))
        case .subscribe(let result): return .subscribed(id: id, try entrance(result))
        case .publish(let result): return .published(id: id, Self.mark(result.epoch, result.offset))
        case .presence(let result): return .presence(id: id, try members(result))
        case .presenceStats(let clients, let users): return .presenceStats(id: id, clients: clients, users: users)
        case .history(let result):
            return .history(id: id, try publications(result.publications), Self.mark(result.epoch, result.offset))
        case .unsubscribe, .ping, .rpc, .refresh, .subRefresh: return .done(id: id)
        }
    }

    private func convert(_ room: String, _ push: Push) throws(WireError) -> IncomingMessage {
        switch push {
        case .publication(let publication): return .publication(Self.publication(publication, room))
        case .join(let info): return .join(room: room, Self.peer(info))
        case .leave(let info): return .leave(room: room, Self.peer(info))
        case .unsubscribe(let code, let reason):
            return .unsubscribe(room: room, code: code, reason: Self.text(reason))
        case .message(let data): return .message(Array(data))
        case .subscribe(let push):
            var entrance = Entrance(isRecoverable: push.recoverable, data: Array(push.data))
            entrance.mark = StreamMark(epoch: Self.text(push.epoch), offset: push.offset)
            return .subscribe(room: room, entrance)
        case .disconnect(let code, let reason, _): return .disconnect(code: code, reason: Self.text(reason))
        case .connect, .refresh: return .other
        }
    }

    // MARK: Parts

    private mutating func welcome(_ result: ConnectResult) throws(WireError) -> Welcome {
        var welcome = Welcome(
            client: Self.text(result.client), version: Self.text(result.version), node: Self.text(result.node),
            ping: result.ping, pong: result.pong)
        var rooms = JSONCodec.SubscriptionResults(result.subscriptions, limit: Self.entriesLimit)
        // A buffer of its own: an entry's publications are walked with `entry` while the entry is still in use.
        var scratch = ByteBuffer()
        while let (room, result) = try rooms.next(scratch: &scratch) {
            welcome.rooms.append(Self.text(room))
            welcome.entrances.append(try entrance(result))
        }
        return welcome
    }

    private mutating func entrance(_ result: SubscribeResult) throws(WireError) -> Entrance {
        var entrance = Entrance(isRecoverable: result.recoverable, data: Array(result.data))
        entrance.wasRecovering = result.wasRecovering
        entrance.isRecovered = result.recovered
        entrance.mark = StreamMark(epoch: Self.text(result.epoch), offset: result.offset)
        entrance.publications = try publications(result.publications)
        return entrance
    }

    private mutating func publications(_ entries: EncodedEntries) throws(WireError) -> [RoomPublication] {
        var walk = JSONCodec.Publications(entries, limit: Self.entriesLimit)
        var publications: [RoomPublication] = []
        while let next = try walk.next(scratch: &entry) { publications.append(Self.publication(next, "")) }
        return publications
    }

    private mutating func members(_ result: PresenceResult) throws(WireError) -> MemberPage {
        var walk = JSONCodec.Members(result.members, limit: Self.entriesLimit + 1)
        var page = MemberPage(cursor: Self.text(result.cursor))
        while let next = try walk.next(scratch: &entry) {
            guard page.members.count < Self.entriesLimit else {
                page.isCut = true
                break
            }
            page.members.append(Self.peer(next))
        }
        return page
    }

    private static func publication(_ view: Publication, _ room: String) -> RoomPublication {
        RoomPublication(
            room: room, data: Array(view.data), info: view.info.map(peer), offset: view.offset > 0 ? view.offset : nil,
            time: view.time > 0 ? view.time : nil)
    }

    private static func peer(_ view: ClientInfo) -> PeerInfo {
        PeerInfo(
            user: text(view.user), client: text(view.client), connectionInfo: Array(view.connectionInfo),
            roomInfo: Array(view.roomInfo))
    }

    /// Absent and zero are the same on the wire: a room without history has neither.
    private static func mark(_ epoch: WireBytes, _ offset: UInt64) -> StreamMark? {
        epoch.isEmpty && offset == 0 ? nil : StreamMark(epoch: text(epoch), offset: offset)
    }

    private static func text(_ bytes: WireBytes) -> String { String(decoding: bytes, as: UTF8.self) }
}
