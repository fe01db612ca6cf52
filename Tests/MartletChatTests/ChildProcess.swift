// Processes for the end-to-end tests: the gateway, clients in pipes, and anything in a pseudo-terminal. Waiting is
// always waiting for bytes or for an end, with a limit; nothing sleeps.

import Glibc
import Testing

/// Something that a test waited for did not come.
struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// Where the products of the build lie: beside the test bundle, or in a directory of $TEST_PRODUCTS.
enum Product {
    static func find(_ name: String) throws -> String {
        var places: [String] = []
        if let set = getenv("TEST_PRODUCTS") { places += String(cString: set).split(separator: ":").map(String.init) }
        for argument in CommandLine.arguments where argument.contains(".xctest") {
            // …/debug/martletPackageTests.xctest, or a file inside it
            let bundle = argument.split(separator: "/", omittingEmptySubsequences: false).prefix {
                !$0.hasSuffix(".xctest")
            }
            places.append(bundle.joined(separator: "/"))
        }
        for place in places where access(place + "/" + name, X_OK) == 0 { return place + "/" + name }
        throw Missing(description: "\(name) is not built; looked in \(places)")
    }
}

/// A child process with its input, output and error output.
final class ChildProcess {
    static let limitMilliseconds: Int32 = 30_000

    let id: pid_t
    private(set) var output: [UInt8] = []
    /// What we read from: a pipe's end, or the master of a pseudo-terminal.
    private let source: Int32
    private let sink: Int32
    private var isOver = false
    private(set) var status: Int32 = 0

    /// Starts `path` with pipes for stdin and for stdout (or, with `readsErrors`, for stderr instead).
    init(_ path: String, _ arguments: [String], environment: [String] = [], readsErrors: Bool = false) throws {
        let (childInput, ourEnd) = try Self.pipe()
        let (ourSource, childOutput) = try Self.pipe()
        defer {
            close(childInput)
            close(childOutput)
        }
        (source, sink) = (ourSource, ourEnd)
        id = try Self.spawn(path, arguments, environment: environment) { actions in
            posix_spawn_file_actions_adddup2(&actions, childInput, 0)
            posix_spawn_file_actions_adddup2(&actions, childOutput, readsErrors ? 2 : 1)
            if readsErrors { posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) }
        }
    }

    /// Starts `path` as the leader of a session whose terminal is a new pseudo-terminal.
    init(terminal path: String, _ arguments: [String], rows: UInt16, columns: UInt16, environment: [String] = []) throws
    {
        // What posix_openpt, unlockpt and ptsname do; Glibc's module does not show those.
        let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (number, lock): (Int32, Int32) = (0, 0)
        let (unlock, getNumber): (UInt, UInt) = (0x4004_5431, 0x8004_5430)  // TIOCSPTLCK, TIOCGPTN
        guard master >= 0, ioctl(master, unlock, &lock) == 0, ioctl(master, getNumber, &number) == 0
        else { throw Missing(description: "no pseudo-terminal: \(String(cString: strerror(errno)))") }
        let name = "/dev/pts/\(number)"
        (source, sink) = (master, master)
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(master, UInt(TIOCSWINSZ), &size)
        id = try Self.spawn(path, arguments, environment: ["TERM=xterm-256color"] + environment, session: true) {
            actions in
            // A session leader's first terminal becomes its controlling one.
            posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0)
            posix_spawn_file_actions_adddup2(&actions, 0, 1)
            posix_spawn_file_actions_adddup2(&actions, 0, 2)
        }
    }

    deinit {
        if !isOver {
            kill(id, SIGKILL)
            waitpid(id, &status, 0)
        }
        close(source)
        if sink != source { close(sink) }
    }

    var text: String { String(decoding: output, as: UTF8.self) }

    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(sink, $0.baseAddress, $0.count) }
    }

    func signal(_ number: Int32) { kill(id, number) }

    func resize(rows: UInt16, columns: UInt16) {
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(source, UInt(TIOCSWINSZ), &size)
    }

    /// The local modes of the pseudo-terminal: ECHO, ICANON and the like.
    var modes: tcflag_t {
        var attributes = termios()
        tcgetattr(source, &attributes)
        return attributes.c_lflag
    }

    /// Reads until `condition` holds of everything since `start`; throws when it does not in time.
    func wait(for what: String, from start: Int = 0, _ condition: (String) -> Bool) throws {
        while !condition(String(decoding: output[start...], as: UTF8.self)) {
            guard readSome() else { throw Missing(description: "\(what) never came; there was: \(text.suffix(2000))") }
        }
    }

    /// Reads until `wanted` has come (after the first `start` bytes).
    func wait(for wanted: String, from start: Int = 0) throws {
        try wait(for: wanted, from: start) { $0.contains(wanted) }
    }

    /// Reads to the end and returns the exit code, or the negative number of the signal that ended it.
    func end() throws -> Int32 {
        while readSome() {}
        // The output has ended: the process has, or is about to.
        guard waitpid(id, &status, 0) == id else { throw Missing(description: "the process cannot be waited for") }
        isOver = true
        return status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
    }

    private func readSome() -> Bool {
        var entry = pollfd(fd: source, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, Self.limitMilliseconds) > 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = buffer.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
        guard count > 0 else { return false }
        output += buffer[..<count]
        return true
    }

    /// A socket pair, because that can be born with close-on-exec: a pipe's end could leak into another test's child.
    private static func pipe() throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Missing(description: "no pipe") }
        return (ends[0], ends[1])
    }

    private static func spawn(
        _ path: String, _ arguments: [String], environment: [String], session: Bool = false,
        _ prepare: (inout posix_spawn_file_actions_t) -> Void
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        prepare(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals as a shell leaves them, whatever the test runner does with its own.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (session ? 0x80 : 0)  // 0x80: POSIX_SPAWN_SETSID
        posix_spawnattr_setflags(&attributes, Int16(flags))
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        let base = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "LC_ALL=C.UTF-8"]
        var envp: [UnsafeMutablePointer<CChar>?] = (base + environment).map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var id = pid_t()
        let status = posix_spawn(&id, path, &actions, &attributes, &argv, &envp)
        guard status == 0 else { throw Missing(description: "\(path): \(String(cString: strerror(status)))") }
        return id
    }
}

/// A gateway of its own on a free port.
final class TestGateway {
    let process: ChildProcess
    let url: String
    private let configuration: String

    /// With the members of a JSON object as configuration. `isInsecure`: everybody may do everything, and is who the
    /// URL says.
    init(port: String = "0", isInsecure: Bool = true, _ members: String = "") throws {
        configuration = try Self.write("{\(members)}")
        process = try ChildProcess(
            try Product.find("martlet"),
            ["serve", "--port", port, "--admin-port", "0", "--loops", "1", "--log-format", "json"]
                + ["--config", configuration] + (isInsecure ? ["--insecure"] : []),
            environment: ["MARTLET_CLIENT_RATE=0"], readsErrors: true)
        let name = #""listen.port":"#
        try process.wait(for: name) { $0.contains(name) && $0.hasSuffix("\n") }
        let digits = process.text.split(separator: name).last?.prefix(while: \.isNumber) ?? ""
        url = "ws://127.0.0.1:\(digits)/connection/websocket"
    }

    deinit { unlink(configuration) }

    private static func write(_ text: String) throws -> String {
        var path = Array("/tmp/martlet-chat-test-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { throw Missing(description: "no temporary file") }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard bytes.withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) == bytes.count
        else { throw Missing(description: "the configuration cannot be written") }
        return String(decoding: path.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    var port: String { String(url.split(separator: ":").last?.prefix(while: \.isNumber) ?? "") }
}
