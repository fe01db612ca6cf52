// The environment's faults as typed errors: which call failed, and with which errno. Peers' faults are never these.
// Thrown by set-up calls; on the loops such faults become close reasons.

import CLinux
import Glibc

/// A system call that failed for a reason that lies in the environment (descriptors, addresses, permissions).
package struct SystemError: Error, CustomStringConvertible, Sendable {
    /// The call that failed, for example `bind`.
    package let call: String
    /// The error number that it left.
    package let code: Int32

    /// Captures the current `errno` for `call`.
    package init(_ call: String) { self.init(call, code: errno) }

    /// An error with a known number.
    package init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// The call and the system's text for the error.
    package var description: String { "\(call): \(String(cString: strerror(code)))" }

    /// Whether the address is taken by somebody else.
    package var isAddressInUse: Bool { code == EADDRINUSE }
}
