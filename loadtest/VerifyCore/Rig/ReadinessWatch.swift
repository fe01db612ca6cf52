// Asks every gateway's /readyz five times a second and remembers since when the answer is what it is: how long a fault
// stays hidden from a load balancer. One short connection a question, on the driver's loop; a gateway that does not
// answer within its next turn counts as unknown, not as unready.

import Bytes
import HTTP
import Reactor

/// What a gateway says of itself.
enum Readiness: Equatable {
    case unknown, ready, unready
}

final class ReadinessWatch: ConnectionHandler {
    private final class Question {
        let gateway: Int
        var head = ByteBuffer()
        var parser = ResponseHeadParser()
        init(gateway: Int) { self.gateway = gateway }
    }

    private let loop: Loop
    private let rig: ClusterRig
    private var kind: UInt8 = 0
    private var questions: [ConnectionID: Question] = [:]
    private(set) var states: [Readiness]
    /// When a gateway last said that it is unready, for the first time since `reset`.
    private(set) var firstUnready: MonotonicTime?
    private var isRunning = false

    init(_ loop: Loop, rig: ClusterRig) {
        self.loop = loop
        self.rig = rig
        states = rig.gateways.map { _ in .unknown }
        kind = loop.register(self)
    }

    func start() {
        guard !isRunning else { return }
        isRunning = true
        ask()
    }

    /// Forgets what was seen before a fault.
    func reset() { firstUnready = nil }

    /// Whether every gateway says that it is ready.
    var isAllReady: Bool { states.allSatisfy { $0 == .ready } }

    private func ask() {
        for id in questions.keys { loop.close(id) }
        for gateway in rig.gateways {
            guard gateway.adminPort > 0, let address = SocketAddress(host: "127.0.0.1", port: gateway.adminPort),
                let id = try? loop.connect(to: address, handler: kind)
            else {
                states[gateway.number] = .unknown
                continue
            }
            questions[id] = Question(gateway: gateway.number)
        }
        loop.schedule(after: .milliseconds(200)) { [weak self] in self?.ask() }
    }

    func opened(_ id: ConnectionID) {
        let text = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        Array(text.utf8).withUnsafeBytes { loop.write(id, $0) }
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let question = questions[id] else { return }
        question.head.append(UnsafeRawBufferPointer(bytes))
        guard question.head.count < 16_384, case .complete(let head, _) = question.parser.parse(question.head.bytes)
        else { return }
        states[question.gateway] = head.status == 200 ? .ready : .unready
        if head.status == 503, firstUnready == nil { firstUnready = loop.now }
        questions[id] = nil
        loop.close(id)
    }

    func closed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let question = questions.removeValue(forKey: id) else { return }
        states[question.gateway] = .unknown
    }
}
