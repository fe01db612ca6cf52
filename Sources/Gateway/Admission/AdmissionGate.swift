// The gate of one loop's client listener: asks the process' account, counts refusals, and writes some of them into the
// log. Called by the reactor once a connection that comes and once a connection that goes, and by the client handler
// when a trusted proxy has named the client; bounded by being a few words and a sampler.

import Bytes
import Logging
import Reactor
import Telemetry

/// Lets client connections in, or not.
final class AdmissionGate: AcceptGate {
    private unowned let loop: Loop
    private let admission: Admission
    private let proxies: ProxySettings
    private let logger: Logger
    private var refusals = LogSampler()

    init(loop: Loop, admission: Admission, proxies: ProxySettings, logger: Logger) {
        self.loop = loop
        self.admission = admission
        self.proxies = proxies
        self.logger = logger
    }

    func admit(_ address: InternetAddress?) -> PeerAddress? {
        let peer = address.map(PeerAddress.init) ?? .uncounted
        // All clients come from a proxy's address: they are charged one by one when it has named them.
        let isTrusted = address.map(proxies.trusted.contains) ?? false
        let charged = isTrusted ? .uncounted : peer
        if proxies.expectsHeader, !isTrusted {
            refuse(.untrusted, peer)
        } else if let refusal = admission.admit(charged, at: loop.now) {
            refuse(refusal, peer)
        } else {
            return charged
        }
        return nil
    }

    /// Charges a connection of a trusted proxy to the client that the proxy names. False, counted and logged: the
    /// client has too many connections or too many new ones; the connection has to be closed.
    func charge(_ id: ConnectionID, to client: InternetAddress) -> Bool {
        guard !proxies.trusted.contains(client) else { return true }
        let peer = PeerAddress(client)
        if let refusal = admission.admitAddress(peer, at: loop.now) {
            refuse(refusal, peer)
            return false
        }
        // No gate has counted a connection that no listener accepted.
        let former = loop.recharge(id, to: peer) ?? peer
        admission.leftAddress(former, at: loop.now)
        return true
    }

    func left(_ peer: PeerAddress) { admission.left(peer, at: loop.now) }

    private func refuse(_ refusal: Labels.Refusal, _ peer: PeerAddress) {
        loop.metrics.add(.connectionsRefused(refusal))
        if let left = refusals.admit(at: loop.now) { log(refusal, peer, left) }
    }

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
