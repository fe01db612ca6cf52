// What a run is to do, what it recorded of each fault, and which measured demands it made.

package import Bytes

/// What to run.
package struct RunPlan: Sendable {
    /// What is broken.
    package var profile = Profile.smoke
    /// The cluster.
    package var rig = RigPlan()
    /// The clients.
    package var clients = ClientPlan()
    /// A defect to put in.
    package var mutant: Mutant?
    /// Every bound of time is multiplied by this: machines that do other work, too, stall.
    package var patience = 1
    /// How long deliveries may take to come back after a fault has been healed.
    package var recoveryLimit = Duration.seconds(15)
    /// Calm before the first fault.
    package var calm = Duration.seconds(4)
    /// Whether a third of the subscribers comes and goes by itself.
    package var isRestless = true
    /// What processes may use.
    package var bounds = ResourceBounds()
    /// The command that makes this run again.
    package var command = ""

    package init() {}
}

/// What a fault did.
package struct FaultRecord: Sendable {
    /// Which fault.
    package let name: FaultName
    /// When it was injected.
    package let at: MonotonicTime
    /// What shows that it took effect.
    package var evidence: String?
    /// From the healing until 99 % of the subscriptions got something new; nil when that did not happen.
    package var recovery: Duration?
    /// From the injection until a client saw an error or an end.
    package var firstError: Duration?
    /// The longest that a publish waited for its answer, whichever it was, or for the end of its connection.
    package var slowestAnswer: Duration?
    /// From the injection until a gateway said at /readyz that it is not ready.
    package var unready: Duration?
    /// What it named as the reason.
    package var reason = ""
    /// From the healing until all said that they are.
    package var ready: Duration?
    /// Connections of clients that do not come and go by themselves which the server ended meanwhile.
    package var disconnects = 0
    /// Subscriptions that were told to start anew.
    package var told = 0
    /// Error replies meanwhile.
    package var errors = 0
}

/// A demand of a scenario with what was measured.
package struct Must: Sendable {
    /// What is demanded, with its limit.
    package let name: String
    /// What was seen.
    package let measured: String
    /// Whether that is enough.
    package let isHeld: Bool
}

extension Duration {
    /// In seconds.
    var inSeconds: Double { Double(wholeNanoseconds) / 1e9 }
    /// In whole milliseconds, as text.
    var millisecondsText: String { "\(wholeMilliseconds) ms" }
}
