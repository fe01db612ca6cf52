// The client's side of HTTP/1.1 for tests: sends requests as they are written and takes responses apart strictly.

/// A response.
package struct HTTPAnswer: Sendable {
    /// The status code.
    package var status = 0
    /// Field lines in order; names in lower case.
    package var fields: [(name: String, value: String)] = []
    /// The body, as text.
    package var body = ""

    /// The first value of a field.
    package func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }
}

extension RawSocket {
    /// Waits for a whole response. `hasBody` is false for answers to HEAD.
    package func response(hasBody: Bool = true, _ deadline: Deadline = Deadline()) throws -> HTTPAnswer {
        while true {
            if let headEnd = headEnd() {
                var answer = try RawSocket.parse(String(decoding: buffer.prefix(headEnd - 4), as: UTF8.self))
                let length = hasBody && answer.status != 101 ? Int(answer.field("content-length") ?? "0") ?? 0 : 0
                if buffer.count >= headEnd + length {
                    _ = take(headEnd)
                    answer.body = String(decoding: take(length), as: UTF8.self)
                    return answer
                }
            }
            guard receive(deadline) else {
                throw TestFailure("no whole response, but: \(String(decoding: buffer, as: UTF8.self))")
            }
        }
    }

    private func headEnd() -> Int? {
        let bytes = Array(buffer)
        guard bytes.count >= 4 else { return nil }
        return (4...bytes.count).first {
            bytes[$0 - 4] == 13 && bytes[$0 - 3] == 10 && bytes[$0 - 2] == 13 && bytes[$0 - 1] == 10
        }
    }

    private static func parse(_ head: String) throws -> HTTPAnswer {
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)[...]
        let first = lines.removeFirst().split(separator: " ", maxSplits: 2)
        guard first.count >= 2, first[0] == "HTTP/1.1", let status = Int(first[1]) else {
            throw TestFailure("no status line: \(head)")
        }
        var answer = HTTPAnswer(status: status)
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { throw TestFailure("no field: \(line)") }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            answer.fields.append((line[..<colon].lowercased(), String(value)))
        }
        return answer
    }

    /// Sends a request for a path and waits for the response.
    package func get(_ path: String, method: String = "GET", fields: [String] = []) throws -> HTTPAnswer {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: localhost"] + fields
        try send(lines.joined(separator: "\r\n") + "\r\n\r\n")
        return try response(hasBody: method != "HEAD")
    }
}
