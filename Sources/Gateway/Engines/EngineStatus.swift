// Why an engine cannot serve, for those who ask on another thread: readiness says it in words. Written by the engine's
// loop, read by the admin listener; one word, so it needs no lock.

import Synchronization

/// What is wrong with one engine.
enum EngineTrouble: UInt8, Sendable {
    case none
    case commandLink
    case commandsDeaf
    case subscriptionLink
    case subscriptionDeaf
    case termClosed
    case restoring

    /// The reason as an operator reads it; nil when nothing is wrong.
    var reason: String? {
        switch self {
        case .none: nil
        case .commandLink: "no command link to Redis"
        case .commandsDeaf: "the command link to Redis was not answered in time; reconnecting"
        case .subscriptionLink: "no subscription link to Redis"
        case .subscriptionDeaf: "the subscription link to Redis delivered nothing (deaf); reconnecting"
        case .termClosed: "Redis has begun a new life; its rooms are being compared with what was seen of them"
        case .restoring: "rooms are being subscribed again"
        }
    }
}

/// The trouble of one engine, readable from every thread.
package final class EngineStatus: Sendable {
    private let word = Atomic<UInt8>(EngineTrouble.commandLink.rawValue)

    init() {}

    /// What is wrong now.
    var trouble: EngineTrouble {
        get { EngineTrouble(rawValue: word.load(ordering: .relaxed)) ?? .none }
        set { word.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Why the engine cannot serve now, in words; nil when it can.
    package var reason: String? { trouble.reason }
}
