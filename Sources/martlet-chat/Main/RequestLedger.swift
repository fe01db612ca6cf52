// What each request of the client was for, and how events and answers of the client library are put into the words of
// the user interface. Used by the shell; pure.

import Bytes
import ChatTerminal
import Client

/// Remembers why requests were made. As bounded as the client's requests are: every one of them is answered.
struct RequestLedger {
    enum Purpose {
        case publish(room: String, number: Int)
        /// `isAsked`: by the user, who then wants to see the answer.
        case ping(isAsked: Bool)
        case who(room: String)
        /// The counts that complete an answer to `who`: a list that is cut, or none (with the refusal).
        case whoCounts(room: String, RoomMembers, ClientError?)
        /// The list beside the messages, and the counts where it is cut.
        case roster(room: String)
        case rosterCounts(room: String, RoomMembers)
        case history(room: String)
    }

    private var purposes: [RequestID: Purpose] = [:]
    /// The request that is being made: it may be answered (refused) before its id is known.
    private var issuing: Purpose?

    /// Whether everything was answered.
    var isEmpty: Bool { purposes.isEmpty && issuing == nil }

    mutating func begin(_ purpose: Purpose) { issuing = purpose }

    mutating func end(_ request: RequestID) {
        if let issuing { purposes[request] = issuing }
        issuing = nil
    }

    /// What a request that is not answered yet is for.
    func purpose(of request: RequestID) -> Purpose? { purposes[request] ?? issuing }

    mutating func take(_ request: RequestID) -> Purpose? {
        if let purpose = purposes.removeValue(forKey: request) { return purpose }
        defer { issuing = nil }
        return issuing
    }
}

extension ChatMember {
    init(_ peer: PeerInfo) { self.init(user: peer.user, client: peer.client, info: peer.connectionInfo) }
}

extension ChatMembers {
    init(_ list: RoomMembers, counted: Counts? = nil) {
        self.init(members: list.members.map(ChatMember.init), isCut: list.isCut, counted: counted)
    }
}

extension ChatPosition {
    init(_ mark: StreamMark) { self.init(offset: mark.offset, epoch: mark.epoch) }
}

extension ChatEvent {
    /// The words for an event that is not an answer.
    init(_ event: ClientEvent) {
        switch event {
        case .connecting(_, let url): self = .connecting(url: url.description)
        case .connected(let client, let version, let node):
            let parts = [version, node].filter { !$0.isEmpty }
            self = .connected(client: client, server: parts.joined(separator: " "))
        case .disconnected(let end):
            self = .disconnected(
                code: end.code, reason: end.reason, retryMilliseconds: end.retryIn.map(\.wholeMilliseconds))
        case .subscribed(let room, let how):
            let continuity: Continuity =
                !how.wasRecovering ? .fresh : how.isRecovered ? .recovered(how.publications) : .lost
            self = .joined(room: room, continuity: continuity, position: how.mark.map(ChatPosition.init))
        case .unsubscribed(let room, let code, let reason): self = .left(room: room, code: code, reason: reason)
        case .subscribeFailed(let room, let error, _): self = .failed("join", room: room, number: nil, error)
        case .publication(let said):
            self = .message(
                ChatMessage(
                    room: said.room, user: said.info?.user ?? "", client: said.info?.client ?? "", data: said.data,
                    offset: said.offset))
        case .message(let data): self = .note(MessageText.read(data) ?? String(decoding: data, as: UTF8.self))
        case .joined(let room, let peer): self = .memberJoined(room: room, ChatMember(peer))
        case .left(let room, let peer): self = .memberLeft(room: room, ChatMember(peer))
        // These two need to know what they are about; the shell does.
        case .limited(let room, _, let wait):
            self = .limited(room: room, number: 0, milliseconds: wait.wholeMilliseconds, waits: true)
        case .answered: self = .note("")
        }
    }

    /// The words for an answer; none where the screen shows it in another way.
    static func answers(
        to purpose: RequestLedger.Purpose, _ result: Result<ClientReply, ClientError>, isScreen: Bool
    ) -> [ChatEvent] {
        switch (purpose, result) {
        case (.publish(let room, let number), .success(let reply)):
            guard case .published(let mark) = reply else { return [] }
            return [.published(room: room, number: number, position: mark.map(ChatPosition.init))]
        case (.publish(let room, let number), .failure(.cancelled)): return [.dropped(room: room, number: number)]
        case (.publish(let room, let number), .failure(let error)):
            if case .refused(let server) = error, server.isLimit, let wait = server.retryAfter?.wholeMilliseconds {
                let limit = limited(room: room, number: number, milliseconds: wait, waits: false)
                return [limit, .failed("publish", room: room, number: number, error)]
            }
            return [.failed("publish", room: room, number: number, error)]
        case (.ping(let isAsked), .success(.pong(let duration))):
            let milliseconds = Double(duration.wholeNanoseconds) / 1_000_000
            let told = isAsked && isScreen ? [note("the server answers in \(Milliseconds.text(milliseconds))")] : []
            return [.latency(milliseconds: milliseconds)] + told
        case (.ping(isAsked: true), .failure(let error)): return [.failed("ping", room: "", number: nil, error)]
        case (.history(let room), .success(.history(let publications, _))):
            if publications.isEmpty { return [.note("\(room) has no history")] }
            return publications.reversed().map { said in
                let message = ChatMessage(
                    room: room, user: said.info?.user ?? "", client: said.info?.client ?? "", data: said.data)
                return .note("\(message.author): \(message.text)")
            }
        case (.history(let room), .failure(let error)): return [.failed("history", room: room, number: nil, error)]
        default: return []
        }
    }

    static func failed(_ command: String, room: String, number: Int?, _ error: ClientError) -> ChatEvent {
        var (code, reason): (UInt32, String) =
            switch error {
            case .refused(let server): (server.code, server.message)
            case .timeout: (0, "no answer in time")
            case .connectionLost: (0, "the connection was lost before the answer")
            case .notConnected: (0, "there is no connection now")
            case .queueFull: (0, "too many messages wait already")
            case .notJSON: (0, "not a JSON value")
            case .cancelled: (0, "taken back")
            case .closed: (0, "the connection is closed")
            }
        if number != nil, error.isOutcomeUnknown { reason += "; it may have been published" }
        return .failed(command: command, room: room, number: number, code: code, reason: reason)
    }
}
