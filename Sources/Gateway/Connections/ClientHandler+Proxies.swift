// Clients behind proxies: the PROXY header before the first request, and the address that a request's fields name. Here
// a connection stops being the proxy's and is charged to its client. Called on the loop, once a connection. Bounded: a
// PROXY header by what its parser accepts (4 KiB and a little) and by the deadline of the head.

import Bytes
import HTTP
import Reactor
import Telemetry

extension ClientHandler {
    /// Goes on with a PROXY header; what comes behind it in the same segment is the request.
    func readProxyHeader(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ bytes: UnsafeMutableRawBufferPointer
    ) {
        guard let partial = driver.pointee.partialHead else {
            switch ProxyHeader.parse(UnsafeRawBufferPointer(bytes)) {
            case .needMore:
                let partial = PartialHead()
                partial.bytes.append(UnsafeRawBufferPointer(bytes))
                driver.pointee.partialHead = partial
            case .complete(let source, let consumed):
                enter(id, driver, source, rest: UnsafeMutableRawBufferPointer(rebasing: bytes[consumed...]))
            case .failed: dropUnnamed(id, driver)
            }
            return
        }
        partial.bytes.append(UnsafeRawBufferPointer(bytes))
        switch ProxyHeader.parse(partial.bytes.bytes) {
        case .needMore: break
        case .complete(let source, let consumed):
            driver.pointee.partialHead = nil
            // The rest lies in its memory.
            withExtendedLifetime(partial) {
                let rest = UnsafeMutableRawBufferPointer(rebasing: partial.bytes.mutableBytes[consumed...])
                enter(id, driver, source, rest: rest)
            }
        case .failed: dropUnnamed(id, driver)
        }
    }

    /// The balancer has said whom it speaks for: the request may come.
    private func enter(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ source: InternetAddress?,
        rest: UnsafeMutableRawBufferPointer
    ) {
        if let source, !gate.charge(id, to: source) {
            metrics.add(.handshakes(.unavailable))
            return reset(id, driver)
        }
        driver.pointee.phase = .head
        if !rest.isEmpty { readHead(id, driver, rest) }
    }

    /// Ends a connection whose PROXY header is wrong or late, without an answer: nobody knows what would read it.
    func dropUnnamed(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>) {
        metrics.add(.handshakes(.proxyHeader))
        reset(id, driver)
    }

    /// Ends a connection as the listener ends those that it refuses: an orderly close would leave a TIME_WAIT entry,
    /// and a balancer, who is one address, would run out of ports for us.
    private func reset(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>) {
        driver.pointee.partialHead = nil
        driver.pointee.phase = .ended
        loop.close(id, .stalled)
    }

    /// Charges the connection to the client that a trusted proxy's fields name; false when that client has too many,
    /// and has been told so.
    func admitForwarded(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ head: borrowing RequestHead
    ) -> Bool {
        let proxies = settings.proxies
        // Whoever is charged at the listener is nobody's proxy; the PROXY header has named the client already.
        guard !proxies.expectsHeader, !proxies.trusted.isEmpty, loop.peer(id) == .uncounted,
            let client = head.client(behind: proxies.trusted), !gate.charge(id, to: client)
        else { return true }
        metrics.add(.handshakes(.unavailable))
        refuse(id, driver) { ResponseWriter.refuse(429, reason: "too many connections of this address", to: &$0) }
        return false
    }
}
