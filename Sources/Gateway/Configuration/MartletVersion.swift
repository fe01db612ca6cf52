// The version of the build: the only place where it is written. The CLI, the metrics and the connect reply read it.

/// The version of the build.
package enum MartletVersion {
    /// Semantic version.
    package static let current = "0.1.0"
}
