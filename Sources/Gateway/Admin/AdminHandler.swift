// The admin listener: /livez, /healthz, /readyz, /metrics. On loop 0, loopback by default. HTTP/1.1 with keep-alive and
// small responses; heads are bounded by HTTP's limits, bodies are refused, idle connections end after `idleTimeout`.
// Metrics are rendered on a thread of their own, so that a large page delays no message.

import Bytes
import HTTP
import Reactor
import Synchronization
import Telemetry

/// What the health pages say.
struct HealthReport {
    /// One thing that was looked at.
    struct Check {
        let name: String
        let failure: String?
    }
    let checks: [Check]
    var isHealthy: Bool { checks.allSatisfy { $0.failure == nil } }

    /// `ok`, or what failed, one line each; `verbose` lists every check.
    func text(verbose: Bool) -> String {
        let failed = checks.filter { $0.failure != nil }
        let shown = verbose ? checks : failed
        let lines = shown.map { check in check.failure.map { "[-] \(check.name): \($0)" } ?? "[+] \(check.name): ok" }
        return (lines + [isHealthy ? "ok" : "unavailable"]).joined(separator: "\n") + "\n"
    }
}

/// Serves the admin listener's connections.
final class AdminHandler: ConnectionHandler, @unchecked Sendable {
    // Sendable is sound: everything runs on the loop; the rendering thread only carries the reference back there.
    static let idleTimeout = Duration.seconds(30)
    /// Connections at a time; one more is closed at once.
    static let connectionLimit = 256
    /// Metrics pages under way at a time; one more is answered with 503.
    static let renderingLimit = 4

    private final class State {
        var parser = RequestHeadParser()
        var bytes = ByteBuffer()
        /// A page is being rendered; what the peer pipelines behind it waits.
        var isRendering = false
        var keepsAlive = true
    }

    private let loop: Loop
    private let registry: MetricRegistry
    private let live: () -> HealthReport
    private let ready: () -> HealthReport
    private var states: [ConnectionID: State] = [:]
    private var renderings = 0

    init(loop: Loop, registry: MetricRegistry, live: @escaping () -> HealthReport, ready: @escaping () -> HealthReport)
    {
        self.loop = loop
        self.registry = registry
        self.live = live
        self.ready = ready
    }

    func opened(_ id: ConnectionID) {
        guard states.count < AdminHandler.connectionLimit else { return loop.close(id) }
        states[id] = State()
        loop.setTimer(id, after: AdminHandler.idleTimeout)
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let state = states[id] else { return }
        // While a page renders the peer waits; what it sends meanwhile is bounded like a head.
        guard state.bytes.count + bytes.count <= 4 * 16_384 else { return loop.close(id) }
        state.bytes.append(UnsafeRawBufferPointer(bytes))
        serve(id, state)
    }

    func timerFired(_ id: ConnectionID) { loop.close(id) }

    func closed(_ id: ConnectionID, _ reason: CloseReason) { states[id] = nil }

    private func serve(_ id: ConnectionID, _ state: State) {
        while !state.isRendering, state.keepsAlive, !state.bytes.isEmpty {
            switch state.parser.parse(state.bytes.bytes) {
            case .needMore: return
            case .failed(let failure):
                state.keepsAlive = false
                var response = ByteBuffer()
                ResponseWriter.refuse(failure, to: &response)
                loop.write(id, response.bytes)
                loop.closeAfterFlush(id)
            case .complete(let head, let consumed):
                loop.setTimer(id, after: AdminHandler.idleTimeout)
                answer(id, state, head)
                state.bytes.removeFirst(consumed)
                state.parser = RequestHeadParser()
            }
        }
    }

    private func answer(_ id: ConnectionID, _ state: State, _ head: RequestHead) {
        state.keepsAlive = head.keepsAlive
        let isHead = head.method == .head
        guard head.contentLength ?? 0 == 0 else {
            return respond(id, state, 413, "no body expected\n", head: isHead)
        }
        guard head.method == .get || isHead else {
            return respond(id, state, 405, "GET and HEAD are served here\n", head: false)
        }
        if head.matches("/livez") || head.matches("/healthz") {
            report(id, state, head, live(), isHead)
        } else if head.matches("/readyz") {
            report(id, state, head, ready(), isHead)
        } else if head.matches("/metrics") {
            renderMetrics(id, state, head, isHead)
        } else {
            respond(id, state, 404, "no such resource; try /livez, /readyz or /metrics\n", head: isHead)
        }
    }

    private func report(
        _ id: ConnectionID, _ state: State, _ head: RequestHead, _ report: HealthReport, _ isHead: Bool
    ) {
        let verbose = (try? head.queryParameter("verbose")) != nil
        respond(id, state, report.isHealthy ? 200 : 503, report.text(verbose: verbose), head: isHead)
    }

    private func renderMetrics(_ id: ConnectionID, _ state: State, _ head: RequestHead, _ isHead: Bool) {
        let accept = head.fields.first("accept").map { String(decoding: $0, as: UTF8.self) } ?? ""
        let format = ExpositionFormat(accept: accept)
        guard renderings < AdminHandler.renderingLimit else {
            return respond(id, state, 503, "too many pages are being rendered\n", head: isHead)
        }
        renderings += 1
        state.isRendering = true
        let loop = loop
        let registry = registry
        DetachedThread.run {
            var page = ByteBuffer()
            registry.render(into: &page, format: format, process: ProcessSample.read())
            let payload = Payload(copying: page.bytes)
            loop.execute { [weak self] in
                guard let self else { return }
                renderings -= 1
                guard let state = states[id] else { return }
                state.isRendering = false
                respond(id, state, 200, payload.bytes, type: format.contentType, head: isHead)
                serve(id, state)
            }
        }
    }

    private func respond(_ id: ConnectionID, _ state: State, _ status: Int, _ text: String, head: Bool) {
        var text = text
        text.withUTF8 {
            respond(id, state, status, UnsafeRawBufferPointer($0), type: "text/plain; charset=utf-8", head: head)
        }
    }

    private func respond(
        _ id: ConnectionID, _ state: State, _ status: Int, _ body: UnsafeRawBufferPointer, type: StaticString,
        head: Bool
    ) {
        var response = ByteBuffer(capacity: 256)
        ResponseWriter.begin(status, to: &response)
        FieldWriter.append("Content-Type", type, to: &response)
        FieldWriter.append("Cache-Control", "no-store", to: &response)
        FieldWriter.append("X-Content-Type-Options", "nosniff", to: &response)
        if status == 405 { FieldWriter.append("Allow", "GET, HEAD", to: &response) }
        if !state.keepsAlive || status >= 400 { FieldWriter.append("Connection", "close", to: &response) }
        if head {
            FieldWriter.append("Content-Length", decimal: body.count, to: &response)
            FieldWriter.end(&response)
        } else {
            ResponseWriter.end(body: body, to: &response)
        }
        loop.write(id, response.bytes)
        if !state.keepsAlive || status >= 400 {
            state.keepsAlive = false
            loop.closeAfterFlush(id)
        }
    }
}
