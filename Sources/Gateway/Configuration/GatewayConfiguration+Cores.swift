// The one default that depends on the machine.

import FoundationEssentials

extension GatewayConfiguration {
    /// Cores that this process may run on.
    package static var availableCores: Int { max(1, min(1024, ProcessInfo.processInfo.activeProcessorCount)) }
}
