// What the client library tells, and what that means for the program: shown, counted, or the end.

import Bytes
import ChatTerminal
import Client
import Reactor

extension ChatShell: ClientDelegate {
    /// How often the latency in the status bar is measured.
    private static let measureInterval = Duration.seconds(15)

    func client(_ client: Client, _ event: ClientEvent) {
        guard !isEnding else { return }
        switch event {
        case .answered(let request, let result):
            guard let purpose = requests.take(request) else { return }
            progressed()
            if answerMembers(purpose, result) { break }
            for event in ChatEvent.answers(to: purpose, result, isScreen: screen != nil) { tell(event) }
        case .limited(let room, let request, let wait):
            guard case .publish(_, let number)? = requests.purpose(of: request) else { return }
            progressed(wait)
            tell(.limited(room: room, number: number, milliseconds: wait.wholeMilliseconds, waits: true))
        case .connected:
            isConnected = true
            wasConnected = true
            tell(ChatEvent(event))
            measure()
            whoIsThere()
        case .subscribed(let room, _):
            tell(ChatEvent(event))
            whoIsThere(afterEntering: room)
        case .subscribeFailed(let room, let error, let willRetry):
            tell(ChatEvent(event))
            if !willRetry, survey != nil { whoFailed(room, error) }
        case .disconnected(let last):
            isConnected = false
            tell(ChatEvent(event))
            if last.retryIn == nil { end(last) }
        default: tell(ChatEvent(event))
        }
        takeLines()
    }

    /// The gateway does not want us back.
    private func end(_ last: Disconnection) {
        let code = last.code > 0 ? " (\(last.code))" : ""
        let words = ShownText("the gateway does not want this connection: \(last.reason)\(code)").string
        if last.isAuthentication { return end(.authentication, words + "; check --token and --user") }
        end(last.cause == .network ? .network : .failed, words)
    }

    /// Keeps the latency in the status bar fresh.
    private func measure() {
        guard screen != nil, isConnected, !isEnding else { return }
        issue(.ping(isAsked: false)) { client.ping() }
        if let measurement { loop.cancel(measurement) }
        measurement = loop.schedule(after: Self.measureInterval) { [unowned self] in
            measurement = nil
            measure()
        }
    }
}
