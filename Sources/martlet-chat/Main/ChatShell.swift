// Joins the client library, the terminal library and the operating system on one loop: events of the client become
// lines or frames, what is typed becomes calls of the client. Decides when the program ends, and how.
//
// Everything runs on the loop, which runs on the main thread.

import Bytes
import CLinux
import ChatTerminal
import Client
import Glibc
import Reactor
import Telemetry

/// A running martlet-chat.
final class ChatShell {
    /// Signals that arrive as events of the loop.
    static let signals = [SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT]
    /// How long the end of the input waits for answers.
    private static let answersTimeout = Duration.seconds(30)
    /// Unanswered messages above which no more input is taken.
    private static let unansweredLimit = 500
    private static let pingInterval = Duration.seconds(15)
    /// How long an ESC waits for the rest of a sequence.
    private static let escapeTimeout = Duration.milliseconds(50)
    static let historyLines = 20

    enum View {
        case screen(ScreenSession)
        case lines(LineSession)
    }

    let loop: Loop
    let client: Client
    var view: View
    /// One line for stderr at the end: what went wrong and how to mend it.
    private(set) var lastWords: String?
    private let registry: MetricRegistry
    private let url: String
    private let rooms: [String]
    private let options: ChatOptions
    private var pump: InputPump?
    private var status = ExitStatus.done
    private var isEnding = false
    private var isConnected = false
    private var wasConnected = false
    private var inputEnded = false
    /// Whether the pump has been asked for a chunk that has not come yet.
    private var isReading = false
    /// Whether the end of the input has been taken note of.
    private var isFinishing = false
    private var backlog: [UInt8] = []
    private var needsDrawing = true
    var requests = RequestLedger()

    init(_ settings: ClientOptions, _ options: ChatOptions, usesScreen: Bool, usesColor: Bool) throws {
        registry = MetricRegistry(loops: 1, version: Main.version)
        loop = try Loop(metrics: registry.shard(0))
        client = Client(loop: loop, options: settings)
        url = settings.url.description
        rooms = options.room.isEmpty ? ["lobby"] : options.room
        self.options = options
        if usesScreen {
            let user = options.user ?? Main.environment("USER") ?? ""
            view = .screen(ScreenSession(user: user, size: Self.terminalSize(), usesColor: usesColor))
        } else {
            view = .lines(LineSession(format: options.json ? .json : .plain, rooms: rooms))
        }
    }

    // MARK: Running

    /// Runs until the user, a signal or a final failure ends it.
    func run() -> ExitStatus {
        do {
            try start()
        } catch {
            end(.failed, "\(error)")
            if isScreen { TerminalMode.leave() }
            return status
        }
        loop.run()
        if isScreen { TerminalMode.leave() }
        loop.dismantle()
        return status
    }

    private func start() throws {
        if isScreen {
            TerminalMode.guardExits()
            guard TerminalMode.enter() else { throw SystemError("tcsetattr") }
        }
        client.delegate = self
        loop.addHook(self)
        try loop.onSignals(Self.signals) { [unowned self] in self.signal($0) }
        let shell = Unowned(self)
        let pump = try InputPump(loop) { chunk in shell.value.input(chunk) }
        self.pump = pump
        for room in rooms {
            if case .screen(var screen) = view {
                _ = screen.open(room)
                view = .screen(screen)
            }
            if !client.subscribe(room) { tell(.note("too many rooms: \(room) is left out")) }
        }
        client.connect()
        if !isScreen, options.connectTimeout > 0 {
            loop.schedule(after: .seconds(Int64(options.connectTimeout))) { [unowned self] in
                if !wasConnected { end(.network, "no connection to \(url) in \(options.connectTimeout) s") }
            }
        }
        readMore()
    }

    var isScreen: Bool { if case .screen = view { true } else { false } }

    /// Says goodbye and ends the loop; the first reason counts.
    func end(_ status: ExitStatus, _ words: String? = nil) {
        guard !isEnding else { return }
        isEnding = true
        self.status = status
        lastWords = words
        client.close()
        flushView()
        loop.stop()
    }

    // MARK: Input

    private func readMore() {
        guard !isReading, !inputEnded else { return }
        isReading = true
        pump?.more()
    }

    private func input(_ chunk: [UInt8]?) {
        isReading = false
        guard !isEnding else { return }
        guard case .screen(var screen) = view else { return lineInput(chunk) }
        guard let chunk else { return end(.done) }  // the terminal is gone
        let actions = screen.feed(chunk, at: Self.localTime())
        let isWaiting = screen.isWaitingForKey
        view = .screen(screen)
        needsDrawing = true
        perform(actions)
        if isWaiting {
            loop.schedule(after: Self.escapeTimeout) { [unowned self] in
                guard case .screen(var screen) = view else { return }
                let actions = screen.flushKeys(at: Self.localTime())
                view = .screen(screen)
                needsDrawing = true
                perform(actions)
            }
        }
        readMore()
    }

    private func lineInput(_ chunk: [UInt8]?) {
        if let chunk { backlog += chunk } else { inputEnded = true }
        takeLines()
    }

    /// Takes lines while the client takes messages; asks for more input when all are taken. What is asked before there
    /// is a connection waits for it.
    private func takeLines() {
        guard case .lines(var lines) = view, wasConnected, !isEnding else { return }
        while !backlog.isEmpty, client.unanswered < Self.unansweredLimit, !isEnding {
            let end = backlog.firstIndex(of: 0x0A).map { $0 + 1 } ?? backlog.count
            let actions = lines.feed(backlog[..<end])
            backlog.removeFirst(end)
            view = .lines(lines)
            perform(actions)
            guard case .lines(let after) = view else { return }
            lines = after
        }
        guard backlog.isEmpty, !isEnding else { return }
        if inputEnded { finishInput() } else { readMore() }
        flushView()
    }

    private func finishInput() {
        guard !isFinishing, case .lines(var lines) = view else { return }
        isFinishing = true
        let actions = lines.finish()
        view = .lines(lines)
        perform(actions)
        guard !options.listen, !isEnding else { return }
        loop.schedule(after: Self.answersTimeout) { [unowned self] in
            end(.network, "messages were not answered within \(Self.answersTimeout.wholeMilliseconds / 1000) s")
        }
        endIfSettled()
    }

    private func endIfSettled() {
        guard inputEnded, backlog.isEmpty, !options.listen, case .lines(let lines) = view, lines.isSettled else {
            return
        }
        end(lines.failures > 0 ? .failed : .done)
    }

    private func perform(_ actions: [ChatAction]) {
        for action in actions where !isEnding { perform(action) }
    }

    private func perform(_ action: ChatAction) {
        switch action {
        case .join(let room):
            if !client.subscribe(room) { tell(.note("too many rooms")) }
        case .part(let room): client.unsubscribe(room)
        case .publish(let room, let text, let number):
            issue(.publish(room: room, number: number)) { client.publish(MessageText.write(text), to: room) }
        case .ping: issue(.ping(isAsked: true)) { client.ping() }
        case .who(let room): issue(.who(room: room)) { client.presence(room) }
        case .history(let room):
            issue(.history(room: room)) { client.history(room, limit: Self.historyLines) }
        case .reconnect: client.reconnect()
        case .suspend: suspend()
        case .quit:
            guard case .lines = view else { return end(.done) }
            backlog = []
            inputEnded = true
            finishInput()
        case .beep: StandardStream.write([0x07], to: STDOUT_FILENO)
        }
    }

    // MARK: Output

    /// Shows an event.
    func tell(_ event: ChatEvent) {
        switch view {
        case .screen(var screen):
            screen.receive(event, at: Self.localTime())
            view = .screen(screen)
            needsDrawing = true
        case .lines(var lines):
            lines.receive(event, at: Self.localTime())
            view = .lines(lines)
        }
    }

    private func flushView() {
        var bytes: [UInt8] = []
        switch view {
        case .screen(var screen):
            guard needsDrawing, !isEnding else { return }
            needsDrawing = false
            bytes = screen.render()
            view = .screen(screen)
        case .lines(var lines):
            bytes = lines.takeOutput()
            view = .lines(lines)
        }
        if !bytes.isEmpty, !StandardStream.write(bytes, to: STDOUT_FILENO) { end(.failed) }
    }

    // MARK: Signals

    private func signal(_ number: Int32) {
        switch number {
        case SIGWINCH: resize()
        case SIGTSTP: suspend()
        case SIGCONT: resume()
        default: end(.done)
        }
    }

    private func suspend() {
        if isScreen { TerminalMode.leave() }
        TerminalMode.stopProcess()
        resume()
    }

    private func resume() {
        guard case .screen(var screen) = view, !isEnding else { return }
        guard TerminalMode.enter() else { return end(.failed, "the terminal is gone") }
        screen.invalidate()
        view = .screen(screen)
        resize()
    }

    private func resize() {
        guard case .screen(var screen) = view else { return }
        screen.resize(Self.terminalSize())
        view = .screen(screen)
        needsDrawing = true
    }

    private static func terminalSize() -> TerminalSize {
        var (rows, columns): (UInt16, UInt16) = (0, 0)
        let isKnown = martlet_window_size(STDOUT_FILENO, &rows, &columns) == 0 && rows > 0 && columns > 0
        return isKnown ? TerminalSize(rows: Int(rows), columns: Int(columns)) : TerminalSize(rows: 24, columns: 80)
    }

    private static func localTime() -> LocalTime {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        return LocalTime(
            year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday),
            hour: Int(parts.tm_hour), minute: Int(parts.tm_min))
    }
}

extension ChatShell: LoopHook {
    func beforeFlush() -> Bool {
        flushView()
        return false
    }
}

extension ChatShell: ClientDelegate {
    func client(_ client: Client, _ event: ClientEvent) {
        guard !isEnding else { return }
        switch event {
        case .connected:
            isConnected = true
            wasConnected = true
            tell(ChatEvent(event, url: url))
            if isScreen { measure() }
        case .disconnected(let end):
            isConnected = false
            tell(ChatEvent(event, url: url))
            if end.retryIn == nil { finalEnd(end) }
        case .answered(let request, let result): answered(request, result)
        case .joined, .left: break
        default: tell(ChatEvent(event, url: url))
        }
        takeLines()
        endIfSettled()
    }

    private func answered(_ request: RequestID, _ result: Result<ClientReply, ClientError>) {
        guard let purpose = requests.take(request) else { return }
        for event in ChatEvent.answers(to: purpose, result, isScreen: isScreen) { tell(event) }
    }

    private func finalEnd(_ last: Disconnection) {
        let code = last.code > 0 ? " (\(last.code))" : ""
        let words = ShownText("the gateway does not want this connection: \(last.reason)\(code)").string
        if last.isAuthentication {
            return end(.authentication, words + "; check --token and --user")
        }
        end(last.cause == .network ? .network : .failed, words)
    }

    /// Keeps the latency in the status bar fresh.
    private func measure() {
        guard isConnected, !isEnding, !requests.isMeasuring else { return }
        issue(.ping(isAsked: false)) { client.ping() }
        loop.schedule(after: Self.pingInterval) { [unowned self] in measure() }
    }
}

/// Carries the shell through a Sendable closure that runs on its own loop.
private struct Unowned: @unchecked Sendable {
    // Sendable is sound: the closure runs on the loop, to which the shell is confined.
    unowned let value: ChatShell
    init(_ value: ChatShell) { self.value = value }
}
