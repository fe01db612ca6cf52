// Joins the client library, the terminal library and the operating system on one loop: what is typed becomes calls of
// the client, its events become lines or frames (ChatShell+Events). Decides when the program ends, and how.
//
// Everything runs on the loop, which runs on the main thread. Bounded: input waits in the kernel while
// `unansweredLimit` messages are unanswered.

import Bytes
import ChatTerminal
import Client
import Glibc
import Reactor
import Telemetry

/// A running martlet-chat: a full screen, or lines.
final class ChatShell {
    /// Unanswered messages above which no more input is taken.
    private static let unansweredLimit = 500
    /// How long an ESC waits for the rest of a sequence.
    private static let escapeTimeout = Duration.milliseconds(50)
    /// Members that the list beside the messages asks for; of more it shows the first ones and a number.
    private static let rosterLimit = 1000
    /// What /history asks for.
    private static let historyLines = 20

    let loop: Loop
    let client: Client
    /// Exactly one of the two views is there.
    var screen: ScreenSession?
    var lines: LineSession?
    var needsDrawing = true
    var requests = RequestLedger()
    /// Whether there is a connection now, and whether there has ever been one.
    var isConnected = false
    var wasConnected = false
    var measurement: TimerToken?
    /// What is left of `--who`; nil without it.
    var survey: Survey?
    /// One line for stderr at the end: what went wrong and how to mend it.
    private(set) var lastWords: String?
    private(set) var isEnding = false
    private var status = ExitStatus.done
    private let registry: MetricRegistry
    let rooms: [String]
    let options: ChatOptions
    /// The gateways, for people.
    private let urls: String
    /// How long the end of the input waits for answers: as long as a message is repeated, and for the last answer.
    private let answersTimeout: Duration
    private var pump: InputPump?
    /// When the end of the input has waited long enough for answers; nil while nothing waits.
    private var answersDue: MonotonicTime?
    private var tick: (token: TimerToken, at: Int64)?
    /// Whether the pump has been asked for a chunk that has not come yet.
    private var isReading = false
    private var inputEnded = false
    /// Whether the end of the input has been taken note of.
    private var isFinishing = false
    /// Input that was read and not taken yet; at most one chunk.
    private var backlog: [UInt8] = []

    init(_ settings: ClientOptions, _ options: ChatOptions, usesScreen: Bool, usesColor: Bool) throws {
        registry = MetricRegistry(loops: 1, version: MartletVersion.current)
        loop = try Loop(metrics: registry.shard(0))
        client = Client(loop: loop, options: settings)
        urls = settings.urls.map(\.description).joined(separator: ", ")
        answersTimeout = max(.seconds(30), settings.publishPatience + settings.requestTimeout)
        rooms = options.room.isEmpty ? ["lobby"] : options.room
        self.options = options
        if options.who { survey = Survey(rooms) }
        if usesScreen {
            let user = options.user ?? Main.environment("USER") ?? ""
            screen = ScreenSession(user: user, size: Self.terminalSize(), usesColor: usesColor)
        } else {
            lines = LineSession(format: options.json ? .json : .plain, rooms: rooms)
        }
    }

    // MARK: Running

    /// Runs until the user, a signal or a final failure ends it.
    func run() -> ExitStatus {
        do {
            try start()
            loop.run()
        } catch {
            end(.failed, "\(error)")
        }
        if screen != nil { TerminalMode.leave() }
        loop.dismantle()
        return status
    }

    private func start() throws {
        if screen != nil {
            TerminalMode.guardExits()
            guard TerminalMode.enter() else { throw SystemError("tcsetattr") }
        }
        client.delegate = self
        loop.addHook(self)
        try loop.onSignals(Self.signals) { [unowned self] in signal($0) }
        let shell = Unowned(self)
        pump = try InputPump(loop) { chunk in shell.value.input(chunk) }
        for room in rooms {
            _ = screen?.open(room)
            if survey == nil, !enter(room) { tell(.note("too many rooms: \(room) is left out")) }
        }
        client.connect()
        if lines != nil, options.connectTimeout > 0 {
            loop.schedule(after: .seconds(Int64(options.connectTimeout))) { [unowned self] in
                if !wasConnected { end(.network, "no connection to \(urls) in \(options.connectTimeout) s") }
            }
        }
        if survey != nil { awaitAnswers() }
        // On the screen one can type before there is a connection; lines wait in their pipe until it stands.
        if screen != nil { readMore() }
    }

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
        guard !isReading, !inputEnded, !isEnding else { return }
        isReading = true
        pump?.more()
    }

    private func input(_ chunk: [UInt8]?) {
        isReading = false
        guard !isEnding else { return }
        if screen != nil { return keys(chunk) }
        if let chunk { backlog = chunk } else { inputEnded = true }
        takeLines()
    }

    private func keys(_ chunk: [UInt8]?) {
        guard let chunk else { return end(.done) }  // the terminal is gone
        screen?.advance(to: milliseconds)
        let actions = screen?.feed(chunk, at: Self.localTime()) ?? []
        needsDrawing = true
        perform(actions)
        timePasses()
        if screen?.isWaitingForKey == true {
            loop.schedule(after: Self.escapeTimeout) { [unowned self] in
                needsDrawing = true
                perform(screen?.flushKeys(at: Self.localTime()) ?? [])
            }
        }
        readMore()
    }

    /// Takes lines while the client takes messages; asks for more input when all are taken. What is asked before there
    /// is a connection waits for it.
    func takeLines() {
        guard lines != nil, wasConnected, survey == nil else { return }
        while !backlog.isEmpty, client.unanswered < Self.unansweredLimit, !isEnding {
            let end = backlog.firstIndex(of: 0x0A).map { $0 + 1 } ?? backlog.count
            let line = Array(backlog[..<end])
            backlog.removeFirst(end)
            perform(lines?.feed(line) ?? [])
        }
        guard backlog.isEmpty else { return }
        if inputEnded { finishInput() } else { readMore() }
    }

    private func finishInput() {
        guard !isFinishing else { return endIfSettled() }
        isFinishing = true
        perform(lines?.finish() ?? [])
        guard !options.listen else { return }
        awaitAnswers()
        endIfSettled()
    }

    /// Ends the program when nothing is answered any more.
    private func awaitAnswers() {
        if answersDue == nil { answersDue = loop.now + answersTimeout }
        guard let answersDue else { return }
        loop.schedule(after: max(answersDue.since(loop.now), .zero)) { [unowned self] in
            guard let due = self.answersDue, loop.now < due else {
                return end(.network, "no answer within \(answersTimeout.wholeMilliseconds / 1000) s")
            }
            awaitAnswers()
        }
    }

    /// There was an answer, or the word that it takes `wait` until there can be one.
    func progressed(_ wait: Duration = .zero) {
        if let due = answersDue { answersDue = max(due, loop.now + wait + answersTimeout) }
    }

    private func endIfSettled() {
        guard !options.listen || hasQuit, let lines, lines.isSettled, requests.isEmpty else { return }
        end(lines.failures > 0 ? .failed : .done)
    }

    /// Whether /quit was given, which ends also what listens.
    private var hasQuit = false

    // MARK: Actions

    private func perform(_ actions: [ChatAction]) {
        for action in actions where !isEnding { perform(action) }
    }

    private func perform(_ action: ChatAction) {
        switch action {
        case .join(let room): if !enter(room) { tell(.note("too many rooms")) }
        case .part(let room): client.unsubscribe(room)
        case .publish(let room, let text, let number):
            issue(.publish(room: room, number: number)) { client.publish(MessageText.write(text), to: room) }
        case .ping: issue(.ping(isAsked: true)) { client.ping() }
        case .cancel(let room): cancel(room)
        case .who(let room): issue(.who(room: room)) { client.presence(room) }
        case .roster(let room): issue(.roster(room: room)) { client.presence(room, limit: Self.rosterLimit) }
        case .history(let room): issue(.history(room: room)) { client.history(room, limit: Self.historyLines) }
        case .reconnect: client.reconnect()
        case .suspend: suspend()
        case .quit:
            guard lines != nil else { return end(.done) }
            hasQuit = true
            backlog = []
            inputEnded = true
            finishInput()
        case .beep: StandardStream.write([0x07], to: STDOUT_FILENO)
        }
    }

    private func enter(_ room: String) -> Bool { client.subscribe(room, joinLeave: !options.noJoins) }

    private func cancel(_ room: String) {
        let count = client.cancelPublishes(in: room)
        guard screen != nil else { return }
        tell(.note(count == 0 ? "it is on its way already" : "dropped \(count) that waited"))
    }

    /// Makes a request and remembers what for.
    func issue(_ purpose: RequestLedger.Purpose, _ make: () -> RequestID) {
        requests.begin(purpose)
        let request = make()
        requests.end(request)
    }

    // MARK: Output

    /// Shows an event.
    func tell(_ event: ChatEvent) {
        screen?.advance(to: milliseconds)
        screen?.receive(event, at: Self.localTime())
        lines?.receive(event, at: Self.localTime())
        needsDrawing = true
        if screen != nil { timePasses() }
    }

    /// What the screen shows or wants because time passes: countdowns, the list of members.
    func timePasses() {
        guard !isEnding else { return }
        screen?.advance(to: milliseconds)
        perform(screen?.takeWishes() ?? [])
        guard let next = screen?.nextTick, next < tick?.at ?? .max else { return }
        if let tick { loop.cancel(tick.token) }
        let token = loop.schedule(after: .milliseconds(max(next - milliseconds, 1))) { [unowned self] in
            tick = nil
            needsDrawing = true
            timePasses()
        }
        tick = (token, next)
    }

    /// The time as the screen counts it.
    private var milliseconds: Int64 { Int64(clamping: loop.now.nanoseconds / 1_000_000) }

    private func flushView() {
        if screen != nil && (!needsDrawing || isEnding) { return }
        needsDrawing = false
        let bytes = screen?.render() ?? lines?.takeOutput() ?? []
        if !bytes.isEmpty, !StandardStream.write(bytes, to: STDOUT_FILENO) { end(.failed) }
    }
}

extension ChatShell: LoopHook {
    func beforeFlush() -> Bool {
        flushView()
        return false
    }
}

/// Carries the shell through a Sendable closure that runs on its own loop.
private struct Unowned: @unchecked Sendable {
    // Sendable is sound: the closure runs on the loop, to which the shell is confined.
    unowned let value: ChatShell
    init(_ value: ChatShell) { self.value = value }
}
