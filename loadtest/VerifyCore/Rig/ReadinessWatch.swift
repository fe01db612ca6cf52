// Asks every gateway's /readyz some times a second and remembers since when the answer is what it is, and what it names
// as the reason: how long a fault stays hidden from a load balancer. A gateway that does not answer counts as unknown,
// not as unready. On the driver's loop; a question that is not answered within a second is given up.

import Bytes
import Reactor

/// What a gateway says of itself.
enum Readiness: Equatable {
    case unknown, ready, unready
}

/// What was seen of one gateway since the last `reset`.
struct ReadinessRecord {
    var state = Readiness.unknown
    /// When it first said that it is unready.
    var firstUnready: MonotonicTime?
    /// What it named as the reason then.
    var reason = ""
    /// When it said that it is ready after it had been unready.
    var readyAgain: MonotonicTime?
}

final class ReadinessWatch {
    private let loop: Loop
    private let rig: ClusterRig
    private let client: AdminClient
    private(set) var records: [ReadinessRecord]
    private var isRunning = false
    /// Time between two questions.
    var interval = Duration.milliseconds(200)

    init(_ loop: Loop, rig: ClusterRig) {
        self.loop = loop
        self.rig = rig
        client = AdminClient(loop)
        records = rig.gateways.map { _ in ReadinessRecord() }
    }

    func start() {
        guard !isRunning else { return }
        isRunning = true
        for gateway in rig.gateways { ask(gateway) }
    }

    /// Forgets what was seen before a fault.
    func reset() {
        for index in records.indices {
            records[index].firstUnready = nil
            records[index].readyAgain = nil
            records[index].reason = ""
        }
    }

    /// Whether every gateway says that it is ready.
    var isAllReady: Bool { records.allSatisfy { $0.state == .ready } }
    /// When the first gateway said that it is unready.
    var firstUnready: MonotonicTime? { records.compactMap(\.firstUnready).min() }
    /// What the first one to say so named as the reason.
    var reason: String {
        records.filter { $0.firstUnready != nil && $0.firstUnready == firstUnready }.first?.reason ?? ""
    }

    private func ask(_ gateway: GatewayNode) {
        let number = gateway.number
        client.get("/readyz", port: gateway.adminPort, patience: .seconds(1)) { [weak self] answer in
            self?.note(number, answer)
        }
        // Its own clock, so that a gateway that does not answer delays no other.
        loop.schedule(after: interval) { [weak self] in self?.ask(gateway) }
    }

    private func note(_ gateway: Int, _ answer: AdminAnswer?) {
        guard let answer else {
            records[gateway].state = .unknown
            return
        }
        if answer.status == 200 {
            if records[gateway].firstUnready != nil, records[gateway].readyAgain == nil {
                records[gateway].readyAgain = loop.now
            }
            records[gateway].state = .ready
            return
        }
        records[gateway].state = .unready
        records[gateway].readyAgain = nil
        guard records[gateway].firstUnready == nil, answer.status == 503 else { return }
        records[gateway].firstUnready = loop.now
        let text = String(decoding: answer.body, as: UTF8.self)
        records[gateway].reason = text.split(separator: "\n").first { $0.hasPrefix("[-]") }.map(String.init) ?? text
    }
}
