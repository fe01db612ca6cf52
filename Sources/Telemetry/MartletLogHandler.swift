// swift-log's backend: turns events into lines and hands them to the LogWriter. A value, as swift-log expects: each
// connection's Logger carries its own attributes; all share one writer.

package import Logging

/// The log handler of the executables.
package struct MartletLogHandler: LogHandler {
    private let writer: LogWriter
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata
    package var metadataProvider: Logger.MetadataProvider?

    /// A handler that writes events from `level` up, each with `metadata`.
    package init(writer: LogWriter, level: Logger.Level, metadata: Logger.Metadata = [:]) {
        self.writer = writer
        self.logLevel = level
        self.metadata = metadata
    }

    package subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error {
            all["error.type"] = .string(String(describing: type(of: error)))
            all["error.message"] = .string(String(describing: error))
        }
        // Sorted, so that a reader finds the same attribute in the same place and tests can compare lines.
        let attributes = all.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) }
        writer.log(event.level, event.message.description, attributes)
    }
}
