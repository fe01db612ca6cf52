// The gate of one loop's client listener: asks the process' account, counts refusals, and writes some of them into the
// log. Called by the reactor once a connection that comes and once a connection that goes; bounded by being a few
// words and a sampler.

import Bytes
import Logging
import Reactor
import Telemetry

/// Lets client connections in, or not.
final class AdmissionGate: AcceptGate {
    private unowned let loop: Loop
    private let admission: Admission
    private let logger: Logger
    private var refusals = LogSampler()

    init(loop: Loop, admission: Admission, logger: Logger) {
        self.loop = loop
        self.admission = admission
        self.logger = logger
    }

    func admit(_ peer: PeerAddress) -> Bool {
        guard let refusal = admission.admit(peer, at: loop.now) else { return true }
        loop.metrics.add(.connectionsRefused(refusal))
        if let left = refusals.admit(at: loop.now) { log(refusal, peer, left) }
        return false
    }

    func left(_ peer: PeerAddress) { admission.left(peer, at: loop.now) }

    private func log(_ refusal: Labels.Refusal, _ peer: PeerAddress, _ suppressed: Int) {
        guard logger.logLevel <= .info else { return }
        var metadata: Logger.Metadata = [
            "client.address": .string(peer.description), "reason": .string(refusal.name),
            "martlet.loop": .stringConvertible(loop.index),
        ]
        if suppressed > 0 { metadata["martlet.log.suppressed"] = .stringConvertible(suppressed) }
        logger.info("refused a connection", metadata: metadata)
    }
}
