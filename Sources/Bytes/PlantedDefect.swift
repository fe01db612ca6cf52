// Defects that a build with MARTLET_MUTANTS can be given to see that the delivery checker notices them: one at a time,
// named by the environment variable MARTLET_MUTANT. A normal build has nothing of this, not even the name.

#if MARTLET_MUTANTS
import Glibc

/// A defect on purpose.
package enum PlantedDefect: String, CaseIterable, Sendable {
    case acksTooEarly = "M4"
    case publishesWithoutAppending = "M5"
    case skipsTheBacklog = "M6"
    case keepsTheEpoch = "M7"
    case doesNotFence = "M8"
    case doesNotDeduplicate = "M9"
    case neverReaps = "M10"
    case limitsPerNode = "M11"
    case staysDeaf = "M15"

    /// The one that this process has, if any. Taken out of the environment when it is read: to the configuration it
    /// would be an unknown setting.
    package static let current: PlantedDefect? = {
        defer { unsetenv("MARTLET_MUTANT") }
        return getenv("MARTLET_MUTANT").flatMap { PlantedDefect(rawValue: String(cString: $0)) }
    }()

    /// Whether this process has it.
    package var isOn: Bool { PlantedDefect.current == self }

    /// The line for the log when a process begins; nil without a defect.
    package static var notice: String? { current.map { "this process has a defect: MARTLET_MUTANT=\($0.rawValue)" } }
}
#endif
