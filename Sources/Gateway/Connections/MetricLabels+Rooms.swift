// How the rooms' events are called in the metrics.
// Rooms knows no telemetry and telemetry knows no rooms, so the translation stands here; it runs on the loops.

import Rooms
import Telemetry
import Wire

extension Labels.Command {
    init(_ command: CommandName) {
        switch command {
        case .pong: self = .pong
        case .connect: self = .connect
        case .subscribe: self = .subscribe
        case .unsubscribe: self = .unsubscribe
        case .publish: self = .publish
        case .presence: self = .presence
        case .presenceStats: self = .presenceStats
        case .history: self = .history
        case .ping: self = .ping
        case .send: self = .send
        case .rpc: self = .rpc
        case .refresh: self = .refresh
        case .subRefresh: self = .subRefresh
        }
    }
}

extension Labels.Result {
    init(_ error: ErrorCode?) {
        self = error.map { Labels.Result(errorCode: $0.rawValue) } ?? .ok
    }
}

extension Labels.RateScope {
    init(_ scope: RateScope) {
        switch scope {
        case .room: self = .room
        case .user: self = .user
        case .connection: self = .connection
        case .churn: self = .churn
        }
    }
}

extension Labels.Handshake {
    /// The label of a refusal with an HTTP status.
    init(status: Int) {
        switch status {
        case 403: self = .forbidden
        case 404: self = .notFound
        case 405: self = .methodNotAllowed
        case 408: self = .timeout
        case 413, 414, 431: self = .tooLarge
        case 426: self = .upgradeRequired
        default: self = .badRequest
        }
    }
}

extension Counter {
    /// What counts `event`.
    init(_ event: RoomEvent) {
        switch event {
        case .command(let command, let error): self = .commands(Labels.Command(command), Labels.Result(error))
        case .publication: self = .publications(.client)
        case .limited(let scope): self = .rateLimited(Labels.RateScope(scope))
        case .gap(let isRepaired): self = .gapRepairs(isRepaired ? .repaired : .lost)
        case .recovery(let isRecovered, let fromEngine):
            self = .recoveries(isRecovered ? .recovered : .lost, fromEngine ? .engine : .tail)
        case .memberEvent(let isJoin): self = .memberEvents(isJoin ? .join : .leave)
        case .continuityLoss(.otherEpoch): self = .continuityLosses(.otherEpoch)
        case .continuityLoss(.trimmed): self = .continuityLosses(.trimmed)
        case .continuityLoss(.regressed): self = .continuityLosses(.regressed)
        case .mailboxLoss: self = .continuityLosses(.mailbox)
        }
    }
}
