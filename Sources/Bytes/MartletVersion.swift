// The version of the build: the only place where it is written. Here, at the bottom of the house, because the gateway
// and the programs that may not import it all tell it.

/// The version of the build.
package enum MartletVersion {
    /// Semantic version.
    package static let current = "0.1.0"
}
