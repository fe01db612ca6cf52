// Why the gateway could not start or had to end, in the words and kinds that the command line needs.

/// A failure of the whole process, as one line for an operator.
package struct GatewayFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure; decides on the exit code.
    package enum Kind: Sendable {
        /// Anything else.
        case failed
        /// Credentials were refused, for example by Redis.
        case authentication
        /// An address is in use or cannot be reached.
        case network
    }

    /// What kind of failure.
    package let kind: Kind
    /// One line: what failed, and how to mend it.
    package let description: String

    /// A failure of a kind.
    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
