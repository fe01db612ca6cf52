// From the first byte to the upgrade: the request head, its route, and the opening handshake. Whatever is refused gets
// one response and a closed connection; nothing behind a refused request is ever read as another one.

import Bytes
import HTTP
import Reactor
import Rooms
import Telemetry
import WebSocket

extension ClientHandler {
    func readHead(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let partial = driver.pointee.partialHead else {
            // The usual case: the whole head in one read, parsed where it lies.
            var parser = RequestHeadParser()
            switch parser.parse(UnsafeRawBufferPointer(bytes)) {
            case .needMore:
                let partial = PartialHead()
                partial.parser = parser
                partial.bytes.append(UnsafeRawBufferPointer(bytes))
                driver.pointee.partialHead = partial
            case .complete(let head, let consumed):
                answer(id, driver, head, rest: UnsafeMutableRawBufferPointer(rebasing: bytes[consumed...]))
            case .failed(let failure): refuse(id, driver, failure)
            }
            return
        }
        partial.bytes.append(UnsafeRawBufferPointer(bytes))
        switch partial.parser.parse(partial.bytes.bytes) {
        case .needMore: break
        case .complete(let head, let consumed):
            driver.pointee.partialHead = nil
            // Head and rest lie in its memory.
            withExtendedLifetime(partial) {
                let rest = UnsafeMutableRawBufferPointer(rebasing: partial.bytes.mutableBytes[consumed...])
                answer(id, driver, head, rest: rest)
            }
        case .failed(let failure): refuse(id, driver, failure)
        }
    }

    private func answer(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ head: RequestHead,
        rest: UnsafeMutableRawBufferPointer
    ) {
        guard admitForwarded(id, driver, head) else { return }
        let isEcho = settings.echo && head.matches("/echo")
        guard isEcho || head.matches("/connection/websocket") else {
            metrics.add(.handshakes(.notFound))
            return refuse(id, driver) { ResponseWriter.refuse(404, reason: "no such resource", to: &$0) }
        }
        let subprotocols = isEcho ? [] : ClientHandler.subprotocols
        let verdict = ServerHandshake.evaluate(
            head, subprotocols: subprotocols, origins: isEcho ? .any : settings.origins,
            compresses: shell.compression != nil, sha1: Digest.sha1)
        switch verdict {
        case .refuse(let failure): refuse(id, driver, failure)
        case .accept(let acceptance):
            guard let options = isEcho ? EndpointOptions() : endpointOptions(id, driver, head) else { return }
            scratch.removeAll()
            ServerHandshake.appendAcceptance(acceptance, subprotocols: subprotocols, to: &scratch)
            loop.write(id, scratch.bytes)
            metrics.add(.handshakes(.accepted))
            driver.pointee.phase = isEcho ? .echo : .rooms
            if let answer = acceptance.deflate { compress(driver, answer) }
            if isEcho {
                driver.pointee.wasHeard = false
                loop.setTimer(id, after: settings.echoIdleTimeout)
            } else {
                rooms.opened(id.word, user: options.user, usesPingFrames: options.usesPingFrames)
            }
            if !rest.isEmpty { readFrames(id, driver, rest) }
        }
    }

    /// From here on RSV1 means something; nothing is made for the connection.
    private func compress(_ driver: UnsafeMutablePointer<Driver>, _ answer: DeflateAnswer) {
        driver.pointee.window = answer.window
        driver.pointee.reader = FrameReader(role: .server, allowsCompression: true)
        shell.compression?.count(1)
    }

    /// What a client may ask for in the query of the endpoint.
    private struct EndpointOptions {
        var user = ""
        var usesPingFrames = false
    }

    private func endpointOptions(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ head: RequestHead
    ) -> EndpointOptions? {
        var options = EndpointOptions()
        let offers = head.fields
        if offers.contains(token: "centrifuge-protobuf", in: "sec-websocket-protocol"),
            !offers.contains(token: "centrifuge-json", in: "sec-websocket-protocol")
        {
            refuseProtobuf(id, driver)
            return nil
        }
        guard head.query != nil else { return options }
        do throws(HTTPFailure) {
            let format = try head.queryParameter("format")
            let other = try head.queryParameter("cf_protocol")
            if format == "protobuf" || other == "protobuf" {
                refuseProtobuf(id, driver)
                return nil
            }
            options.usesPingFrames = try head.queryParameter("cf_ws_frame_ping_pong") == "true"
            if settings.isInsecure { options.user = try head.queryParameter("user") ?? "" }
        } catch {
            refuse(id, driver, error)
            return nil
        }
        return options
    }

    /// Falling back to JSON without a word would leave the client to fail on its own parser.
    private func refuseProtobuf(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>) {
        metrics.add(.handshakes(.badRequest))
        refuse(id, driver) { ResponseWriter.refuse(501, reason: "Protobuf is not available", to: &$0) }
    }

    private func refuse(_ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ failure: HTTPFailure) {
        metrics.add(.handshakes(Labels.Handshake(status: failure.status)))
        refuse(id, driver) { ServerHandshake.appendRefusal(failure, to: &$0) }
    }

    /// Sends the response that `write` appends and ends the connection.
    func refuse(
        _ id: ConnectionID, _ driver: UnsafeMutablePointer<Driver>, _ write: (inout ByteBuffer) -> Void
    ) {
        driver.pointee.partialHead = nil
        driver.pointee.phase = .ended
        scratch.removeAll()
        write(&scratch)
        loop.write(id, scratch.bytes)
        loop.closeAfterFlush(id)
    }
}
