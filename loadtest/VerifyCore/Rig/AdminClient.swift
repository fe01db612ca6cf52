// Asks a gateway's admin listener for a page: one short connection a question, on the driver's loop. An answer that
// does not come, or is longer than `pageLimit`, is no answer.

import Bytes
import HTTP
import Reactor

/// What an admin page said.
struct AdminAnswer {
    let status: Int
    let body: [UInt8]
}

/// Fetches pages.
final class AdminClient: ConnectionHandler {
    private final class Question {
        let path: String
        let done: (AdminAnswer?) -> Void
        var bytes = ByteBuffer()
        init(path: String, done: @escaping (AdminAnswer?) -> Void) {
            self.path = path
            self.done = done
        }
    }

    static let pageLimit = 1 << 20
    private let loop: Loop
    private var kind: UInt8 = 0
    private var questions: [ConnectionID: Question] = [:]

    init(_ loop: Loop) {
        self.loop = loop
        kind = loop.register(self)
    }

    /// Fetches `path` from the listener on `port`; `done` gets nil when nothing came within `patience`.
    func get(_ path: String, port: UInt16, patience: Duration, _ done: @escaping (AdminAnswer?) -> Void) {
        guard port > 0, let address = SocketAddress(host: "127.0.0.1", port: port),
            let id = try? loop.connect(to: address, handler: kind)
        else { return done(nil) }
        questions[id] = Question(path: path, done: done)
        loop.setTimer(id, after: patience)
    }

    func opened(_ id: ConnectionID) {
        guard let question = questions[id] else { return }
        let text = "GET \(question.path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        Array(text.utf8).withUnsafeBytes { loop.write(id, $0) }
    }

    func received(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) {
        guard let question = questions[id] else { return }
        question.bytes.append(UnsafeRawBufferPointer(bytes))
        guard question.bytes.count <= AdminClient.pageLimit else { return loop.close(id) }
        var parser = ResponseHeadParser()
        guard case .complete(let head, let start) = parser.parse(question.bytes.bytes), let length = head.contentLength,
            question.bytes.count >= start + length
        else { return }
        questions[id] = nil
        loop.close(id)
        question.done(AdminAnswer(status: head.status, body: Array(question.bytes.bytes[start..<start + length])))
    }

    func timerFired(_ id: ConnectionID) { loop.close(id) }

    func closed(_ id: ConnectionID, _ reason: CloseReason) { questions.removeValue(forKey: id)?.done(nil) }
}
