// The process' entry: parses the command line, chooses screen or lines, runs the shell and ends with its exit code.
// Nothing else here exits.

import ArgumentParser
import Bytes
import ChatTerminal
import Client
import Glibc
import Reactor

/// What the exit code says.
enum ExitStatus: Int32 {
    case done = 0
    case failed = 1
    case usage = 2
    case authentication = 3
    case network = 4
}

@main
enum Main {
    static func main() {
        let options = parse()
        if options.version { answer("martlet-chat \(MartletVersion.current)\n") }
        let settings: ClientOptions
        do {
            settings = try clientOptions(options)
        } catch {
            stop(.usage, "\(error)")
        }
        // Before any thread starts: the loop takes these as events.
        Signals.prepare(ChatShell.signals)
        let status: ExitStatus
        do {
            let shell = try ChatShell(settings, options, usesScreen: usesScreen(options), usesColor: usesColor(options))
            status = shell.run()
            if let last = shell.lastWords {
                StandardStream.write(Array("martlet-chat: \(last)\n".utf8), to: STDERR_FILENO)
            }
        } catch {
            stop(.failed, "\(error)")
        }
        exit(status.rawValue)
    }

    private static func parse() -> ChatOptions {
        do {
            return try ChatOptions.parse()
        } catch {
            if ChatOptions.exitCode(for: error).isSuccess {
                answer(ChatOptions.manual + "\n\n" + ChatOptions.fullMessage(for: error) + "\n")
            }
            let words = ChatOptions.message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
            stop(.usage, words + " (see martlet-chat --help)")
        }
    }

    private static func clientOptions(_ options: ChatOptions) throws -> ClientOptions {
        var urls: [ClientURL] = []
        for text in options.urls { urls.append(try ClientURL(text)) }
        let token = options.token ?? environment("MARTLET_TOKEN")
        // With a token the token says who we are.
        let user = options.user ?? (token == nil ? environment("USER") : nil)
        if let user, !user.isEmpty {
            for index in urls.indices { urls[index].append(query: "user", user) }
        }
        var settings = ClientOptions(urls: urls)
        settings.publishPatience = .seconds(Int64(options.retryFor))
        if options.retryFor == 0 { settings.limitPatience = .zero }
        settings.token = token
        settings.name = "martlet-chat"
        settings.version = MartletVersion.current
        return settings
    }

    private static func usesScreen(_ options: ChatOptions) -> Bool {
        guard !options.json, !options.plain, !options.who, isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1 else {
            return false
        }
        return environment("TERM").map { $0 != "dumb" } ?? false
    }

    private static func usesColor(_ options: ChatOptions) -> Bool { !options.noColor && environment("NO_COLOR") == nil }

    /// The variable's value; nil when it is not set, or set to nothing.
    static func environment(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    private static func answer(_ text: String) -> Never {
        StandardStream.write(Array(text.utf8), to: STDOUT_FILENO)
        exit(ExitStatus.done.rawValue)
    }

    private static func stop(_ status: ExitStatus, _ words: String) -> Never {
        StandardStream.write(Array("martlet-chat: \(words)\n".utf8), to: STDERR_FILENO)
        exit(status.rawValue)
    }
}

/// The standard descriptors.
enum StandardStream {
    /// Writes everything; false when the reader is gone. Waits while a pipe is full: who does not read misses nothing.
    @discardableResult
    static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                written += count
            } else if errno == EAGAIN {
                // A descriptor that somebody else has made non-blocking.
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&entry, 1, -1)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}
