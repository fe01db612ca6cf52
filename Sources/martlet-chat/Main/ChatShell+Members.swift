// Who is in a room: the answers to /who and to what the member list asks, and `--who`, which asks once and ends.
//
// A list that is cut, or refused because the room is large (106), is followed by the question for the numbers.

import Bytes
import ChatTerminal
import Client
import Wire

/// What `--who` has still to find out.
struct Survey {
    /// Rooms without an answer.
    private(set) var left: [String]
    /// Rooms that tell only those who are in them: entered, then asked again.
    var entered: Set<String> = []
    /// How it will end.
    private(set) var status = ExitStatus.done

    init(_ rooms: [String]) {
        var seen: Set<String> = []
        left = rooms.filter { seen.insert($0).inserted }
    }

    mutating func finish(_ room: String, _ status: ExitStatus = .done) {
        left.removeAll { $0 == room }
        if self.status == .done { self.status = status }
    }
}

extension ChatShell {
    /// Takes the answer to a question about members; false when it is about something else.
    func answerMembers(_ purpose: RequestLedger.Purpose, _ result: Result<ClientReply, ClientError>) -> Bool {
        switch (purpose, result) {
        case (.who(let room), .success(.presence(let list))):
            guard list.isCut else {
                answerWho(room, ChatMembers(list))
                break
            }
            issue(.whoCounts(room: room, list, nil)) { client.presenceStats(room) }
        case (.who(let room), .failure(let error)):
            guard error.isTooLarge else {
                whoFailed(room, error)
                break
            }
            issue(.whoCounts(room: room, RoomMembers(isCut: true), error)) { client.presenceStats(room) }
        case (.whoCounts(let room, let list, _), .success(.presenceStats(let clients, let users))):
            let counts = ChatMembers.Counts(clients: UInt64(clients), users: UInt64(users))
            answerWho(room, ChatMembers(list, counted: counts))
        case (.whoCounts(let room, _, let refusal?), .failure): whoFailed(room, refusal)
        case (.whoCounts(let room, let list, nil), .failure): answerWho(room, ChatMembers(list))
        case (.roster(let room), .success(.presence(let list))):
            guard list.isCut else {
                take(.list(ChatMembers(list)), of: room)
                break
            }
            issue(.rosterCounts(room: room, list)) { client.presenceStats(room) }
        case (.roster(let room), .failure(let error)):
            guard error.isTooLarge else {
                take(error.rosterAnswer, of: room)
                break
            }
            issue(.rosterCounts(room: room, RoomMembers(isCut: true))) { client.presenceStats(room) }
        case (.rosterCounts(let room, let list), .success(.presenceStats(let clients, let users))):
            let counts = ChatMembers.Counts(clients: UInt64(clients), users: UInt64(users))
            take(.list(ChatMembers(list, counted: counts)), of: room)
        case (.rosterCounts(let room, let list), .failure): take(.list(ChatMembers(list)), of: room)
        default: return false
        }
        return true
    }

    private func take(_ answer: RosterAnswer, of room: String) {
        screen?.take(answer, of: room, at: Self.localTime())
        needsDrawing = true
        timePasses()
    }

    private func answerWho(_ room: String, _ members: ChatMembers) {
        tell(.members(room: room, members))
        survey?.finish(room)
        endSurvey()
    }

    // MARK: --who

    /// There is a connection: asks what is not answered.
    func whoIsThere() {
        for room in survey?.left ?? [] where survey?.entered.contains(room) != true {
            issue(.who(room: room)) { client.presence(room) }
        }
    }

    /// The room is entered: asks what was refused from outside.
    func whoIsThere(afterEntering room: String) {
        guard survey?.left.contains(room) == true else { return }
        issue(.who(room: room)) { client.presence(room) }
    }

    /// There will be no answer, unless the room tells its members only.
    func whoFailed(_ room: String, _ error: ClientError) {
        guard survey?.left.contains(room) == true else { return tell(.failed("who", room: room, number: nil, error)) }
        switch error {
        case .connectionLost, .notConnected: return  // the next connection asks again
        case .refused(let refusal) where refusal.code == ErrorCode.permissionDenied.rawValue:
            if survey?.entered.insert(room).inserted == true, client.subscribe(room) { return }
            survey?.finish(room, .authentication)
        case .refused(let refusal): survey?.finish(room, refusal.isAuthentication ? .authentication : .failed)
        case .timeout: survey?.finish(room, .network)
        case .queueFull, .notJSON, .cancelled, .closed: survey?.finish(room, .failed)
        }
        tell(.failed("who", room: room, number: nil, error))
        endSurvey()
    }

    private func endSurvey() {
        guard let survey, survey.left.isEmpty else { return }
        end(survey.status, survey.status == .done ? nil : "not every room told who is there; see the output")
    }
}

extension ClientError {
    /// Whether the list is refused because it would be too long (106).
    fileprivate var isTooLarge: Bool {
        if case .refused(let error) = self { return error.code == ErrorCode.limitExceeded.rawValue }
        return false
    }

    /// What it means for the list beside the messages.
    fileprivate var rosterAnswer: RosterAnswer {
        guard case .refused(let error) = self else { return .unavailable(retryMilliseconds: nil) }
        switch ErrorCode(rawValue: error.code) {
        case .notAvailable, .methodNotFound: return .untracked
        case .permissionDenied: return .forbidden
        default: return .unavailable(retryMilliseconds: error.retryAfter?.wholeMilliseconds)
        }
    }
}
