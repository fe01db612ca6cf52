// Where the programs of these tests lie that are no products of the build. One that is missing fails the test with a
// line that says what to install.

import Foundation
import TestSupport

/// Programs that tests start.
package enum Programs {
    /// The Redis server.
    package static func redis() throws -> String {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let places = path.split(separator: ":").map(String.init) + ["/usr/bin", "/usr/local/bin"]
        guard let found = places.map({ "\($0)/redis-server" }).first(where: isProgram) else {
            throw TestFailure("redis-server is not installed: run `make test`, or `apt-get install redis-server`")
        }
        return found
    }

    /// The Python of the environment that `make test` sets up.
    package static func python() throws -> String {
        let path = "\(root)/.build/venv/bin/python"
        guard isProgram(path) else { throw TestFailure("no \(path): run `make setup-tests`, which makes it") }
        return path
    }

    /// The script that steers centrifuge-python.
    package static var pythonDriver: String { "\(root)/Tests/ClusterSupport/Python/driver.py" }

    /// The top of the repository: three levels above this file.
    private static let root: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(3).joined(separator: "/")
    }()

    @Sendable private static func isProgram(_ path: String) -> Bool {
        FileManager.default.isExecutableFile(atPath: path)
    }
}
