// The limits of one connection at work: every command but a pong pays, what cannot pay is answered with error 111 and
// the time to wait, and who goes on all the same is closed with 3013 (see Defiance). Called once a frame and once a
// command, before a command is looked at any closer; integer arithmetic, and an object only for who was refused.

import Bytes
import Wire

/// What a frame means for the limits of its connection.
struct Toll {
    /// Nothing is limited.
    static let free = Toll(now: MonotonicTime(nanoseconds: 0), wait: 0, isOn: false)

    let now: MonotonicTime
    /// Nanoseconds after which its bytes would have been admitted; 0: they are.
    let wait: UInt64
    let isOn: Bool
}

extension LoopRooms {
    /// Counts what a client was given against its bytes, where asking costs little and answering much. The next
    /// messages wait for it.
    func charge(_ session: UnsafeMutablePointer<Session>, _ count: Int) {
        guard rules.limits.bytes.isOn else { return }
        session.pointee.bytesDue = rules.limits.bytes.next(session.pointee.bytesDue, count, at: outlet.now).due
    }

    /// Counts a message of `count` bytes. Before `connect` the bytes have a bound of their own.
    func toll(_ session: UnsafeMutablePointer<Session>, _ count: Int) -> Toll {
        guard rules.limits.isOn else { return .free }
        let now = outlet.now
        let isCounted = rules.limits.bytes.isOn && session.pointee.phase == .connected
        let wait = isCounted ? rules.limits.bytes.take(&session.pointee.bytesDue, count, at: now) : 0
        return Toll(now: now, wait: wait, isOn: true)
    }

    /// Whether a command comes too fast; then it has been answered, or dropped if it has no answer, or the connection
    /// closed. Not asked for pongs, which are never too many: an unasked one is a fault.
    func isTooFast(_ session: UnsafeMutablePointer<Session>, _ command: Command, _ toll: Toll) -> Bool {
        var wait = toll.wait
        if wait == 0, rules.limits.commands.isOn {
            wait = rules.limits.commands.take(&session.pointee.commandsDue, at: toll.now)
        }
        if wait > 0 {
            refuse(session, command, .connection, at: toll.now, wait)
            return true
        }
        switch command.request {
        case .subscribe, .unsubscribe:
            guard rules.limits.churn.isOn else { return false }
            wait = rules.limits.churn.take(&session.pointee.churnDue, at: toll.now)
            if wait > 0 { refuse(session, command, .churn, at: toll.now, wait) }
            return wait > 0
        default: return false
        }
    }

    private func refuse(
        _ session: UnsafeMutablePointer<Session>, _ command: Command, _ scope: RateScope, at now: MonotonicTime,
        _ wait: UInt64
    ) {
        outlet.record(.limited(scope))
        let misconduct = session.pointee.misconduct ?? Misconduct()
        session.pointee.misconduct = misconduct
        let patience = rules.limits.patience
        let isAbuse =
            scope == .churn
            ? misconduct.churn.refuse(at: now, wait: wait, patience: patience)
            : misconduct.commands.refuse(at: now, wait: wait, patience: patience)
        let name = CommandName(command.request)
        if isAbuse {
            outlet.record(.command(name, .tooManyRequests))
            return disconnect(session, .tooManyRequests)
        }
        if name == .send { return outlet.record(.command(.send, .tooManyRequests)) }
        // Rounded up: who comes back then is not told to wait once more.
        reply(session, command.id, name, error: .tooManyRequests, retryAfter: wait / 1_000_000 + 1)
    }
}

extension CommandName {
    /// The name of what is asked.
    init(_ request: Request) {
        switch request {
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
