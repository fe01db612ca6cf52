// Writing to the standard descriptors and what is known of them. Unbuffered, so that nothing is lost at exit.

import Glibc

enum Terminal {
    /// Writes everything, or gives up when the reader is gone: there is nobody left to tell.
    static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                written += count
            } else if errno != EINTR {
                return
            }
        }
    }

    /// Whether a person looks at the descriptor.
    static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Whether the environment forbids colours: NO_COLOR is set and not empty (https://no-color.org).
    static func noColour(_ environment: [String: String]) -> Bool {
        environment["NO_COLOR"].map { !$0.isEmpty } ?? false
    }
}
